// SPDX-License-Identifier: Apache-2.0
#include "kernels/sum_squares.h"

#include <limits>

#include "kernels/kernel_testing.h"

namespace planish {
namespace {

// As the header says: sixteen sums, then their sum.
double InOrder(const std::vector<float>& x) {
  double sums[16] = {};
  for (size_t i = 0; i < x.size(); ++i) sums[i % 16] += double{x[i]} * x[i];
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

TEST(SumSquares, EveryLevelGivesTheBitsOfTheStatedOrder) {
  ForEachSimdLevel([] {
    EXPECT_EQ(SumOfSquares(nullptr, 0), 0.0);
    Random random(11);
    for (const size_t n : kTestSizes) {
      const auto padded = RandomFloats(random, n + 1, 1e3);
      const std::vector<float> x(padded.begin() + 1, padded.end());
      EXPECT_EQ(SumOfSquares(padded.data() + 1, n), InOrder(x)) << n;
    }
  });
}

TEST(SumSquares, IsFiniteExactlyWhenEveryElementIs) {
  ForEachSimdLevel([] {
    const float largest = std::numeric_limits<float>::max();
    for (const size_t n : {1, 16, 37, 1280}) {
      std::vector<float> x(n, largest);
      EXPECT_TRUE(std::isfinite(SumOfSquares(x.data(), n)));
      for (const float bad : {std::numeric_limits<float>::infinity(), std::nanf("")}) {
        for (const size_t place : {size_t{0}, n / 2, n - 1}) {
          x[place] = bad;
          EXPECT_FALSE(std::isfinite(SumOfSquares(x.data(), n))) << bad << " at " << place;
          x[place] = largest;
        }
      }
    }
  });
}

}  // namespace
}  // namespace planish
