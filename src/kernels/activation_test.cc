// SPDX-License-Identifier: Apache-2.0
#include "kernels/activation.h"

#include <limits>

#include "kernels/kernel_testing.h"
#include "kernels/reference.h"

namespace planish {
namespace {

// Random values and the places where the formulas change.
std::vector<float> Inputs(Random& random, size_t n) {
  const float special[] = {0.0f,  -0.0f,  1e-30f, -1e-30f, 19.999998f, 20.0f,  20.000002f, -20.0f,
                           88.0f, -88.0f, 104.0f, -104.0f, 1e30f,      -1e30f, 3e-4f,      -3e-4f};
  auto x = RandomFloats(random, n, 8.0);
  for (size_t i = 0; i < n; i += 3) x[i] = special[i / 3 % std::size(special)];
  return x;
}

template <class Kernel, class Formula>
void CheckAgainst(const Kernel& kernel, const Formula& formula, double roundings,
                  double vanishing = 0) {
  ForEachSimdLevel([&] {
    Random random(4);
    for (size_t n : kTestSizes) {
      const auto x = Inputs(random, n + 1);  // +1: an unaligned start
      std::vector<float> out(n + 1);
      kernel(x.data() + 1, n, out.data() + 1);
      std::vector<double> want(n);
      for (size_t i = 0; i < n; ++i) want[i] = formula(static_cast<double>(x[i + 1]));
      ExpectWithin(
          out.data() + 1, want,
          [&](size_t i) { return std::abs(want[i]) * roundings * kRoundoff + vanishing; }, "out");
    }
  });
}

TEST(Activation, SiluMatchesReference) {
  // Below -86 the kernel says zero.
  CheckAgainst(Silu, reference::Silu, 8, -reference::Silu(-86));
}

TEST(Activation, SoftplusMatchesReferenceOnBothSidesOfItsThreshold) {
  CheckAgainst(Softplus, reference::Softplus, 10);
}

TEST(Activation, ReluSquaredMatchesReference) {
  const auto kernel = [](const float* x, size_t n, float* out) {
    std::copy_n(x, n, out);
    for (size_t i = 0; i < n; ++i) out[i] = std::min(out[i], 1e18f);  // its square is a float
    ReluSquared(out, n);
  };
  CheckAgainst(
      kernel, [](double a) { return reference::ReluSquared(std::min(a, double{1e18f})); }, 1);
}

TEST(Activation, SiluMulIsTheProductAndRowsAreTheHalves) {
  ForEachSimdLevel([] {
    Random random(5);
    for (size_t F : kTestSizes) {
      const size_t T = 3;
      const auto gate_up = RandomFloats(random, T * 2 * F, 3.0);
      std::vector<float> rows(T * F), each(T * F);
      std::vector<double> want(T * F);
      for (size_t t = 0; t < T; ++t) {
        const float* gate = &gate_up[t * 2 * F];
        SiluMul(gate, gate + F, &each[t * F], F);
        for (size_t i = 0; i < F; ++i) want[t * F + i] = reference::Silu(gate[i]) * gate[F + i];
      }
      SiluMulRows(gate_up.data(), T, F, rows.data());
      ExpectSameBits(each, rows, "rows");
      ExpectWithin(
          each.data(), want, [&](size_t i) { return std::abs(want[i]) * 9 * kRoundoff; },
          "product");
    }
  });
}

TEST(Activation, NanShows) {
  ForEachSimdLevel([] {
    std::vector<float> x(5, std::numeric_limits<float>::quiet_NaN()), out(5);
    Silu(x.data(), 5, out.data());
    for (float v : out) EXPECT_TRUE(std::isnan(v));
    Softplus(x.data(), 5, out.data());
    for (float v : out) EXPECT_TRUE(std::isnan(v));
    ReluSquared(x.data(), 5);
    for (float v : x) EXPECT_TRUE(std::isnan(v));
  });
}

TEST(Activation, BitsDoNotDependOnThreads) {
  Random random(6);
  const auto x = RandomFloats(random, 100'003);
  std::vector<float> one(x.size()), many(x.size());
  {
    const ThreadCountScope scope(1);
    Silu(x.data(), x.size(), one.data());
  }
  const ThreadCountScope scope(3);
  Silu(x.data(), x.size(), many.data());
  ExpectSameBits(one, many, "silu");
}

}  // namespace
}  // namespace planish
