// SPDX-License-Identifier: Apache-2.0
#include "data/round_robin.h"

#include <gtest/gtest.h>

#include <numeric>

#include "base/random.h"

namespace planish {
namespace {

using Parts = std::vector<uint64_t>;

TEST(RoundRobin, PartsAreExactFractionsOfDecimalWeights) {
  EXPECT_EQ(PartsOf({0.7, 0.2, 0.1}), (Parts{7, 2, 1}));
  EXPECT_EQ(PartsOf({1}), (Parts{1}));
  EXPECT_EQ(PartsOf({3, 6, 9}), (Parts{1, 2, 3}));
  EXPECT_EQ(PartsOf({1e-5, 1}), (Parts{1, 100'000}));
  EXPECT_EQ(PartsOf({0.123456, 0.876544}), (Parts{1929, 13'696}));
  EXPECT_EQ(PartsOf({1e300, 3e300}), (Parts{1, 3}));
}

TEST(RoundRobin, PartsOfFinerWeightsAreRoundedToLargestRemainder) {
  for (const std::vector<double>& weights :
       {std::vector<double>{1.0 / 3, 2.0 / 3}, {123'456'789, 987'654'321, 5}, {1e-9, 1}}) {
    const Parts parts = PartsOf(weights);
    const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
    const uint64_t total = std::accumulate(parts.begin(), parts.end(), uint64_t{0});
    EXPECT_LE(total, (1u << 20) + weights.size());
    for (size_t d = 0; d < parts.size(); ++d) {
      EXPECT_GE(parts[d], 1u);
      EXPECT_NEAR(static_cast<double>(parts[d]) / static_cast<double>(total), weights[d] / sum,
                  1.0 / (1 << 20));
    }
  }
}

// The definition, step by step, far beyond one period.
TEST(RoundRobin, EqualsTheGreedyRuleOverManyPeriods) {
  Random random(5);
  for (int round = 0; round < 30; ++round) {
    Parts parts(1 + random.Below(6));
    for (uint64_t& part : parts) part = 1 + random.Below(round < 10 ? 3 : 40);
    const RoundRobin robin(parts);
    const auto total = static_cast<int64_t>(robin.period());
    std::vector<int64_t> counts(parts.size());
    for (int64_t n = 0; n < 4 * total + 13; ++n) {
      size_t best = 0;
      const auto gain = [&](size_t d) {
        return static_cast<int64_t>(parts[d]) * (n + 1) - total * counts[d];
      };
      for (size_t d = 1; d < parts.size(); ++d) {
        if (gain(d) > gain(best)) best = d;
      }
      const RoundRobin::Draw draw = robin.At(static_cast<uint64_t>(n));
      ASSERT_EQ(draw.member, best) << n;
      ASSERT_EQ(draw.nth, static_cast<uint64_t>(counts[best]));
      ASSERT_EQ(robin.PositionOf(draw.member, draw.nth), static_cast<uint64_t>(n));
      for (uint32_t d = 0; d < parts.size(); ++d) {
        ASSERT_EQ(robin.CountBefore(d, static_cast<uint64_t>(n)), static_cast<uint64_t>(counts[d]));
      }
      ++counts[best];
    }
  }
}

TEST(RoundRobin, SharesAreExactAndNeverFarFromIdealAtAnyDistance) {
  const RoundRobin robin({613, 257, 101, 28, 1});  // W = 1000
  for (const uint64_t n : {uint64_t{1'000'000'000}, uint64_t{1} << 60}) {
    uint64_t sum = 0;
    for (uint32_t d = 0; d < 5; ++d) {
      const uint64_t count = robin.CountBefore(d, n);
      sum += count;
      const __int128_t error =
          static_cast<__int128_t>(count) * 1000 - static_cast<__int128_t>(n) * robin.parts()[d];
      EXPECT_LT(error, 1000 * 4);
      EXPECT_GT(error, -1000 * 4);
    }
    EXPECT_EQ(sum, n);
  }
  for (uint32_t d = 0; d < 5; ++d)
    EXPECT_EQ(robin.CountBefore(d, 1'000'000'000), robin.parts()[d] * 1'000'000);
  EXPECT_EQ(robin.PositionOf(4, ~uint64_t{0}), ~uint64_t{0});  // saturates
}

}  // namespace
}  // namespace planish
