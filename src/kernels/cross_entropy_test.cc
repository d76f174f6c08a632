// SPDX-License-Identifier: Apache-2.0
// Cross entropy against the formula in double. Bounds: an exponential is off by 1.5 ulp and by the rounding of x - max (half an
// ulp of it, relative to the result as large as |x - max| 2^-24); a sum of at most 1024 floats by 1024 / lanes roundings, which
// the bound takes as 64 + 4 levels of lanes.
#include "kernels/cross_entropy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/kernel_testing.h"
#include "tensor/dtype.h"

namespace planish {
namespace {

struct Wanted {
  double loss, lse;
  std::vector<double> gradient;
};
Wanted Formula(const float* x, size_t V, size_t target, double weight, double z_coef) {
  double max = -INFINITY, sum = 0;
  for (size_t v = 0; v < V; ++v) max = std::max<double>(max, x[v]);
  for (size_t v = 0; v < V; ++v) sum += std::exp(x[v] - max);
  Wanted wanted;
  wanted.lse = max + std::log(sum);
  wanted.loss = wanted.lse - x[target];
  for (size_t v = 0; v < V; ++v) {
    const double p = std::exp(x[v] - wanted.lse);
    wanted.gradient.push_back(weight * ((1 + 2 * z_coef * wanted.lse) * p - (v == target)));
  }
  return wanted;
}

void ExpectRow(const float* logits, size_t V, size_t target, float weight, float z_coef,
               double loss, double lse, const float* f32, const uint16_t* bf16) {
  const Wanted wanted = Formula(logits, V, target, weight, z_coef);
  double spread = 0;  // greatest x - max that still counts, in ulps of the exponent
  const float max = *std::max_element(logits, logits + V);
  for (size_t v = 0; v < V; ++v) spread = std::max<double>(spread, max - logits[v]);
  const double relative = (std::min(spread, 86.0) + 2 * 1.5 + 70 + 4) * kRoundoff;
  // Terms below exp(-86) are left out: V of them at most.
  const double lost = static_cast<double>(V) * std::exp(-86.0);
  EXPECT_NEAR(lse, wanted.lse, relative + lost + 1e-15 * std::abs(wanted.lse));
  EXPECT_NEAR(loss, wanted.loss, relative + lost + 1e-15 * std::abs(wanted.lse));
  const double z = std::abs(weight) * (1 + 2 * std::abs(z_coef * wanted.lse));
  for (size_t v = 0; v < V; ++v) {
    const double p = std::exp(logits[v] - wanted.lse);
    const double bound = z * (p * (2 * relative + 4 * kRoundoff) + lost) +
                         kRoundoff * std::abs(wanted.gradient[v]) + 1e-37;
    ASSERT_NEAR(f32[v], wanted.gradient[v], bound) << v << " of " << V;
    ASSERT_EQ(FloatFromBF16(bf16[v]), FloatFromBF16(BF16FromFloat(f32[v]))) << v << " of " << V;
  }
}

void ExpectRows(size_t R, size_t V, double scale, float z_coef, bool has_weights) {
  SCOPED_TRACE(testing::Message() << R << " x " << V << ", scale " << scale);
  Random random(R * 1000 + V);
  const size_t stride = V + 3;
  const std::vector<float> logits = RandomFloats(random, R * stride + 1, scale);
  std::vector<int32_t> targets(R);
  std::vector<float> weights(R);
  for (size_t r = 0; r < R; ++r) {
    targets[r] = static_cast<int32_t>(random.Bits() % V);
    weights[r] = static_cast<float>(random.Normal());
  }
  weights[0] = 0;
  std::vector<float> f32 = logits, bf16 = logits, none = logits;
  std::vector<double> losses(R), lse(R), other(R), evaluated(R);
  CrossEntropyRows rows = {.stride = stride, .targets = targets.data(), .z_coef = z_coef};
  rows.weights = has_weights ? weights.data() : nullptr;
  rows.R = R;
  rows.V = V;
  rows.lse = lse.data();
  rows.logits = f32.data() + 1;
  rows.losses = losses.data();
  CrossEntropy(rows, CrossEntropyGradient::kF32);
  rows.logits = bf16.data() + 1;
  rows.losses = other.data();
  CrossEntropy(rows, CrossEntropyGradient::kBf16);
  rows.lse = nullptr;
  rows.logits = none.data() + 1;
  rows.losses = evaluated.data();
  CrossEntropy(rows, CrossEntropyGradient::kNone);
  EXPECT_EQ(losses, other);
  EXPECT_EQ(losses, evaluated);
  for (size_t r = 0; r < R; ++r) {
    const size_t at = r * stride + 1;
    ExpectRow(logits.data() + at, V, static_cast<size_t>(targets[r]), has_weights ? weights[r] : 1,
              z_coef, losses[r], lse[r], f32.data() + at,
              reinterpret_cast<const uint16_t*>(bf16.data() + at));
    for (size_t v = V; v < stride && at + v < f32.size(); ++v)
      ASSERT_EQ(f32[at + v], logits[at + v]) << "between rows";
  }
}

TEST(CrossEntropy, LossAndGradientMatchTheFormulaAtEveryLevel) {
  ForEachSimdLevel([] {
    for (const size_t V : kTestSizes) ExpectRows(3, V, 2.0, 0.0f, false);
    ExpectRows(2, 2500, 3.0, 0.01f, true);
    ExpectRows(5, 33, 40.0, 0.0f, true);   // differences beyond 86
    ExpectRows(5, 31, 500.0, 0.0f, true);  // exp(x) overflows
  });
}

TEST(CrossEntropy, RowsDoNotDependOnThreadsOrNeighbours) {
  constexpr size_t R = 150, V = 700;
  Random random(1);
  const std::vector<float> logits = RandomFloats(random, R * V);
  const std::vector<int32_t> targets(R, 5);
  std::vector<float> first;
  for (const int threads : {1, 2, 3}) {
    const ThreadCountScope scope(threads);
    std::vector<float> x = logits;
    std::vector<double> losses(R);
    CrossEntropy({.logits = x.data(),
                  .stride = V,
                  .targets = targets.data(),
                  .R = R,
                  .V = V,
                  .losses = losses.data()},
                 CrossEntropyGradient::kF32);
    if (threads == 1) first = x;
    ExpectSameBits(x, first, "gradient");
  }
  std::vector<float> one(logits.begin() + 77 * V, logits.begin() + 78 * V);
  double loss;
  CrossEntropy({.logits = one.data(),
                .stride = V,
                .targets = targets.data(),
                .R = 1,
                .V = V,
                .losses = &loss},
               CrossEntropyGradient::kF32);
  ExpectSameBits(one, {first.begin() + 77 * V, first.begin() + 78 * V}, "row 77");
}

TEST(CrossEntropy, WhatIsNotFiniteShowsInTheLossAndMinusInfinityIsAProbabilityOfZero) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  ForEachSimdLevel([&] {
    for (const size_t V : {size_t{3}, size_t{40}}) {
      for (const float bad : {nan, kInf}) {
        for (const size_t place : {size_t{0}, V - 1}) {
          std::vector<float> x(V, 1.0f);
          x[place] = bad;
          const int32_t target = 1;
          double loss = 0;
          CrossEntropyRows rows = {.logits = x.data(), .stride = V, .targets = &target};
          rows.R = 1;
          rows.V = V;
          rows.losses = &loss;
          CrossEntropy(rows, CrossEntropyGradient::kF32);
          EXPECT_TRUE(std::isnan(loss));
          EXPECT_TRUE(std::isnan(x[0]) && std::isnan(x[V - 1]));
          const float zero = 0;
          rows.weights = &zero;
          CrossEntropy(rows, CrossEntropyGradient::kF32);
          EXPECT_EQ(x, std::vector<float>(V, 0.0f)) << "weight 0";
        }
      }
      std::vector<float> x(V, -kInf);
      x[1] = 3;
      x[2] = 3;
      const int32_t target = 2;
      double loss = 0;
      CrossEntropy(
          {.logits = x.data(), .stride = V, .targets = &target, .R = 1, .V = V, .losses = &loss},
          CrossEntropyGradient::kF32);
      EXPECT_NEAR(loss, std::log(2.0), 1e-7);
      EXPECT_EQ(x[0], 0);
      EXPECT_EQ(x[1], 0.5f);
      EXPECT_EQ(x[2], -0.5f);
    }
  });
}

TEST(CrossEntropy, NoRowsAreNoWork) { CrossEntropy({.V = 4}, CrossEntropyGradient::kF32); }

}  // namespace
}  // namespace planish
