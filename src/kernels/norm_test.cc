// SPDX-License-Identifier: Apache-2.0
#include "kernels/norm.h"

#include "kernels/kernel_testing.h"
#include "kernels/reference.h"

namespace planish {
namespace {

constexpr float kEps = 1e-5f;

// The float sum of D squares in at least four accumulators is off by (D/4 + 3) roundings; the root halves that.
double SumRoundings(size_t D) { return static_cast<double>(D) / 8 + 8; }

TEST(Norm, RmsNormMatchesReferenceForAllSizes) {
  ForEachSimdLevel([] {
    Random random(1);
    for (size_t D : kTestSizes) {
      const size_t T = 3;
      const auto x = RandomFloats(random, T * D + 1), w = RandomFloats(random, D + 1);
      std::vector<double> want(T * D);
      reference::RmsNorm(Widen(x).data() + 1, Widen(w).data() + 1, T, D, kEps, want.data());
      std::vector<float> got(T * D + 1);
      RmsNorm(x.data() + 1, w.data() + 1, T, D, kEps, got.data() + 1);
      const auto bound = [&](size_t i) { return std::abs(want[i]) * SumRoundings(D) * kRoundoff; };
      ExpectWithin(got.data() + 1, want, bound, "y");
      std::vector<float> in_place = x;
      RmsNorm(in_place.data() + 1, w.data() + 1, T, D, kEps, in_place.data() + 1);
      EXPECT_EQ(std::memcmp(&in_place[1], &got[1], T * D * sizeof(float)), 0);
    }
  });
}

TEST(Norm, GatedGroupRmsNormMatchesReferenceForAllGroupSizesAndStrides) {
  ForEachSimdLevel([] {
    Random random(2);
    for (size_t n : kTestSizes) {
      const size_t T = 2, groups = 3, d_in = groups * n, stride = d_in + 5;
      const auto y = RandomFloats(random, T * d_in), w = RandomFloats(random, d_in);
      const auto z = RandomFloats(random, T * d_in, 4.0);
      std::vector<double> want(T * d_in);
      reference::GatedGroupRmsNorm(Widen(y).data(), Widen(z).data(), Widen(w).data(), T, d_in,
                                   groups, kEps, want.data());
      // Rows inside a wider matrix, as the input projection writes z.
      std::vector<float> z_rows((T - 1) * stride + d_in);
      for (size_t t = 0; t < T; ++t) {
        std::copy_n(&z[t * d_in], d_in, &z_rows[t * stride]);
      }
      std::vector<float> got(T * d_in), in_place = y;
      GatedGroupRmsNorm(y.data(), d_in, z_rows.data(), stride, w.data(), T, d_in, groups, kEps,
                        got.data());
      // silu is off by up to eight roundings, in the element and again in the mean.
      const auto bound = [&](size_t i) {
        return std::abs(want[i]) * (16 + SumRoundings(n)) * kRoundoff;
      };
      ExpectWithin(got.data(), want, bound, "out");
      GatedGroupRmsNorm(in_place.data(), d_in, z_rows.data(), stride, w.data(), T, d_in, groups,
                        kEps, in_place.data());
      ExpectSameBits(got, in_place, "in place");
    }
  });
}

TEST(Norm, RowBitsDoNotDependOnNeighboursOrThreads) {
  Random random(3);
  const size_t T = 50, D = 1237;
  const auto x = RandomFloats(random, T * D), z = RandomFloats(random, T * D),
             w = RandomFloats(random, D);
  std::vector<float> alone(T * D), gated_alone(T * D);
  for (size_t t = 0; t < T; ++t) {
    RmsNorm(&x[t * D], w.data(), 1, D, kEps, &alone[t * D]);
    GatedGroupRmsNorm(&x[t * D], D, &z[t * D], D, w.data(), 1, D, 1, kEps, &gated_alone[t * D]);
  }
  for (int threads : {1, 2, 3}) {
    const ThreadCountScope scope(threads);
    std::vector<float> together(T * D);
    RmsNorm(x.data(), w.data(), T, D, kEps, together.data());
    ExpectSameBits(alone, together, "norm");
    GatedGroupRmsNorm(x.data(), D, z.data(), D, w.data(), T, D, 1, kEps, together.data());
    ExpectSameBits(gated_alone, together, "gated norm");
  }
}

TEST(Norm, ZeroRowsStayZeroAndEmptyInputIsFine) {
  const std::vector<float> x(7, 0.0f), w(7, 2.0f);
  std::vector<float> y(7, 1.0f);
  RmsNorm(x.data(), w.data(), 1, 7, kEps, y.data());
  EXPECT_EQ(y, x);
  RmsNorm(nullptr, nullptr, 0, 7, kEps, nullptr);
  GatedGroupRmsNorm(nullptr, 7, nullptr, 7, nullptr, 0, 7, 1, kEps, nullptr);
}

}  // namespace
}  // namespace planish
