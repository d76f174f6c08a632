// SPDX-License-Identifier: Apache-2.0
#include "data/permutation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <unordered_set>
#include <vector>

namespace planish {
namespace {

TEST(Permutation, IsABijectionForEverySize) {
  for (uint64_t n = 1; n < 600; n = n < 70 ? n + 1 : n + 37) {
    const Permutation permutation(/*seed=*/7, /*stream=*/n, /*epoch=*/2, n);
    std::vector<bool> seen(n);
    for (uint64_t i = 0; i < n; ++i) {
      const uint64_t image = permutation(i);
      ASSERT_LT(image, n);
      ASSERT_FALSE(seen[image]) << n;
      seen[image] = true;
    }
  }
}

TEST(Permutation, StaysInsideHugeRangesWithoutRepeating) {
  for (const uint64_t n : {(uint64_t{1} << 40) + 1, uint64_t{1} << 63, ~uint64_t{0}}) {
    const Permutation permutation(1, 2, 3, n);
    std::unordered_set<uint64_t> seen;
    for (uint64_t i = 0; i < 5000; ++i) {
      const uint64_t image = permutation(i);
      ASSERT_LT(image, n);
      ASSERT_TRUE(seen.insert(image).second);
    }
  }
}

TEST(Permutation, DependsOnSeedStreamAndEpoch) {
  const uint64_t n = 1000;
  const auto images = [&](uint64_t seed, uint64_t stream, uint64_t epoch) {
    const Permutation permutation(seed, stream, epoch, n);
    std::vector<uint64_t> out;
    for (uint64_t i = 0; i < n; ++i) out.push_back(permutation(i));
    return out;
  };
  const auto base = images(1, 2, 3);
  EXPECT_EQ(images(1, 2, 3), base);
  for (const auto& other : {images(2, 2, 3), images(1, 3, 3), images(1, 2, 4)}) {
    size_t equal = 0;
    for (uint64_t i = 0; i < n; ++i) equal += other[i] == base[i];
    EXPECT_LT(equal, 12u);  // one is expected, by chance
  }
}

// Each index goes to each place equally often: sums over many epochs, within five standard deviations.
TEST(Permutation, PlacesAreUniform) {
  for (const uint64_t n : {2u, 3u, 7u, 16u, 33u}) {
    constexpr int kEpochs = 6000;
    std::vector<int> counts(n * n);
    for (int epoch = 0; epoch < kEpochs; ++epoch) {
      const Permutation permutation(11, n, static_cast<uint64_t>(epoch), n);
      for (uint64_t i = 0; i < n; ++i) ++counts[i * n + permutation(i)];
    }
    const double p = 1.0 / static_cast<double>(n), mean = kEpochs * p;
    const double bound = 5 * std::sqrt(kEpochs * p * (1 - p));
    for (const int count : counts) EXPECT_NEAR(count, mean, bound) << n;
  }
}

}  // namespace
}  // namespace planish
