// SPDX-License-Identifier: Apache-2.0
#include "kernels/rope.h"

#include "kernels/kernel_testing.h"
#include "kernels/reference.h"

namespace planish {
namespace {

TEST(Rope, InverseFrequenciesMatchTheFormulaForEveryScaling) {
  RopeScaling scaling;
  for (auto kind :
       {RopeScaling::Kind::kNone, RopeScaling::Kind::kLinear, RopeScaling::Kind::kLlama3}) {
    for (double factor : {2.5, 8.0, 16.0}) {
      for (size_t original : {64u, 8192u}) {
        scaling = {kind, factor, 1.0, 4.0, original};
        for (size_t rotary_dim : {2u, 24u, 64u, 128u}) {
          for (double theta : {1e4, 5e5, 1e6}) {
            const auto got = RopeInverseFrequencies(rotary_dim, theta, scaling);
            const auto want = reference::RopeInverseFrequencies(rotary_dim, theta, scaling);
            // The exponent is a float times ln(theta) < 14; the blend adds roundings of periods up to 4.
            ExpectWithin(
                got.data(), want, [&](size_t i) { return want[i] * (14 + 24) * kRoundoff; }, "f");
          }
        }
      }
    }
  }
}

TEST(Rope, Llama3ScalingHasItsThreeRegions) {
  const RopeScaling scaling{RopeScaling::Kind::kLlama3, 8.0, 1.0, 4.0, 8192};
  const auto plain = RopeInverseFrequencies(128, 5e5, {});
  const auto scaled = RopeInverseFrequencies(128, 5e5, scaling);
  EXPECT_EQ(scaled.front(), plain.front());
  EXPECT_EQ(scaled.back(), plain.back() / 8);
  size_t blended = 0;
  for (size_t i = 0; i < 64; ++i) blended += scaled[i] < plain[i] && scaled[i] > plain[i] / 8;
  EXPECT_GT(blended, 3u);
  EXPECT_LT(blended, 12u);
}

TEST(Rope, RotationMatchesReferenceUpToAMillionPositions) {
  ForEachSimdLevel([] {
    Random random(7);
    for (size_t head_dim : {2u, 6u, 14u, 16u, 24u, 34u, 64u, 80u, 128u}) {
      for (size_t rotary_dim : {head_dim, (head_dim / 4) * 2}) {
        const size_t heads = 3, half = rotary_dim / 2;
        const std::vector<int32_t> positions = {0, 1, 77, 131071, 131072 * 8 - 1};
        const size_t T = positions.size();
        const auto f =
            half == 0 ? std::vector<float>() : RopeInverseFrequencies(rotary_dim, 5e5, {});
        std::vector<double> angles(T * half);  // float products, as the oracle has them
        for (size_t t = 0; t < T; ++t) {
          for (size_t i = 0; i < half; ++i) {
            angles[t * half + i] = static_cast<float>(positions[t]) * f[i];
          }
        }
        const auto table = RopeTable(f, positions.data(), T);
        for (const bool is_backward : {false, true}) {
          auto x = RandomFloats(random, T * heads * head_dim);
          auto want = Widen(x);
          const auto magnitude = Magnitudes(x);
          std::vector<double> turns = angles;  // the gradient turns back
          for (double& angle : turns) angle = is_backward ? -angle : angle;
          reference::ApplyRope(want.data(), T, heads, head_dim, half, turns.data());
          (is_backward ? ApplyRopeBackward : ApplyRope)(x.data(), heads * head_dim, T, heads,
                                                        head_dim, table.data(), half);
          const auto bound = [&](size_t i) {
            const size_t c = i % head_dim;
            if (c >= 2 * half) return 0.0;  // channels that are not rotated stay as they are
            const size_t partner = c < half ? i + half : i - half;
            return (magnitude[i] + magnitude[partner]) * 3 * kRoundoff;
          };
          ExpectWithin(x.data(), want, bound, is_backward ? "dx" : "x");
        }
      }
    }
  });
}

TEST(Rope, StridedRowsGiveTheSameBits) {
  Random random(8);
  const size_t T = 37, heads = 2, head_dim = 24, row = heads * head_dim, stride = row + 7;
  std::vector<int32_t> positions(T);
  for (size_t t = 0; t < T; ++t) positions[t] = static_cast<int32_t>(1000 + 3 * t);
  const auto table = RopeTable(RopeInverseFrequencies(head_dim, 1e4, {}), positions.data(), T);
  auto x = RandomFloats(random, T * row);
  std::vector<float> strided((T - 1) * stride + row), gathered(T * row);
  for (size_t t = 0; t < T; ++t) std::copy_n(&x[t * row], row, &strided[t * stride]);
  ApplyRope(x.data(), row, T, heads, head_dim, table.data(), head_dim / 2);
  ApplyRope(strided.data(), stride, T, heads, head_dim, table.data(), head_dim / 2);
  for (size_t t = 0; t < T; ++t) std::copy_n(&strided[t * stride], row, &gathered[t * row]);
  ExpectSameBits(x, gathered, "x");
}

TEST(Rope, CachedTableFollowsPositionsAndFrequencies) {
  const auto f = RopeInverseFrequencies(16, 1e4, {}), g = RopeInverseFrequencies(16, 1e6, {});
  const std::vector<int32_t> near = {3, 4, 5}, far = {3, 4, 900}, longer = {3, 4, 5, 6};
  RopeTableCache cache;
  for (const auto& [inv_freq, positions] :
       {std::pair{&f, &near}, {&f, &near}, {&g, &near}, {&g, &far}, {&f, &longer}, {&f, &near}}) {
    for (const int threads : {1, 2}) {
      const ThreadCountScope scope(threads);
      const auto got = cache.Get(*inv_freq, *positions);
      ExpectSameBits({got.begin(), got.end()},
                     RopeTable(*inv_freq, positions->data(), positions->size()), "table");
    }
  }
}

}  // namespace
}  // namespace planish
