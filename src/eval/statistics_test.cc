// SPDX-License-Identifier: Apache-2.0
#include "eval/statistics.h"

#include <gtest/gtest.h>

#include <cmath>

namespace planish {
namespace {

// The formula in another language; 5 of 10 is the textbook (0.2366, 0.7634).
TEST(Statistics, WilsonIntervalsHaveKnownValues) {
  const struct {
    double hits;
    size_t n;
    double low, high;
  } kKnown[] = {{0, 10, 0.0, 0.2775401688},
                {5, 10, 0.2365895936, 0.7634104064},
                {10, 10, 0.7224598312, 1.0},
                {1, 1, 0.2065432915, 1.0},
                {850, 1000, 0.8265308860, 0.8707902850}};
  for (const auto& known : kKnown) {
    const Interval found = WilsonInterval(known.hits, known.n);
    EXPECT_NEAR(found.low, known.low, 1e-9) << known.hits << " of " << known.n;
    EXPECT_NEAR(found.high, known.high, 1e-9) << known.hits << " of " << known.n;
  }
  for (const size_t n : {1, 7, 22, 1000}) {
    EXPECT_EQ(WilsonInterval(0, n).low, 0);
    EXPECT_EQ(WilsonInterval(static_cast<double>(n), n).high, 1);
  }
  EXPECT_EQ(WilsonInterval(0, 0).low, 0);
  EXPECT_EQ(WilsonInterval(0, 0).high, 1);
}

// lm-eval's figure for 30 items of which two thirds are right (eval.md section 5).
TEST(Statistics, StandardErrorIsThatOfLmEval) {
  std::vector<double> scores(30, 0.0);
  std::fill(scores.begin(), scores.begin() + 20, 1.0);
  EXPECT_NEAR(StandardError(scores), 0.0875376, 5e-8);
  EXPECT_EQ(StandardError({1.0}), 0);
}

TEST(Statistics, QuantilesInterpolate) {
  EXPECT_EQ(Quantile({}, 0.5), 0);
  EXPECT_EQ(Quantile({7}, 0.95), 7);
  EXPECT_DOUBLE_EQ(Quantile({4, 1, 3, 2}, 0.5), 2.5);
  EXPECT_DOUBLE_EQ(Quantile({1, 2, 3, 4, 5}, 0.95), 4.8);
  EXPECT_EQ(Quantile({1, 2, 3}, 1.0), 3);
}

// The bootstrap of independent 0/1 scores agrees with Wilson's formula as far as both approximate: a few percent of the width.
TEST(Statistics, BootstrapAgreesWithWilsonOnIndependentItems) {
  std::vector<double> scores(400, 0.0);
  std::fill(scores.begin(), scores.begin() + 300, 1.0);
  const Interval boot = BootstrapInterval(scores), wilson = WilsonInterval(300, 400);
  EXPECT_NEAR(boot.low, wilson.low, 0.006);
  EXPECT_NEAR(boot.high, wilson.high, 0.006);
  EXPECT_EQ(BootstrapInterval(scores).low, boot.low);  // fixed seed
  const Interval sure = BootstrapInterval({1, 1, 1});
  EXPECT_EQ(sure.low, 1);
  EXPECT_EQ(sure.high, 1);
}

}  // namespace
}  // namespace planish
