// SPDX-License-Identifier: Apache-2.0
// Philox against the known answers of its authors, and that the derived numbers have the
// distribution they claim.
#include "base/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "base/hash.h"

namespace planish {
namespace {

// kat_vectors of Random123 1.14, "philox4x32 10": counter, key, result.
TEST(Philox, GivesTheKnownAnswersOfRandom123) {
  using Four = std::array<uint32_t, 4>;
  EXPECT_EQ(Philox(0, 0, 0), (Four{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const uint64_t ones = ~uint64_t{0};
  EXPECT_EQ(Philox(ones, ones, ones), (Four{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox(0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88),
            (Four{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, IsAPureFunctionOfSeedStreamAndPosition) {
  Random a(1, 2), b(1, 2);
  for (uint64_t i = 0; i < 100; ++i) {
    const double x = a.Uniform();
    EXPECT_EQ(x, b.Uniform());
    EXPECT_EQ(x, UniformAt(1, 2, i));
  }
  std::set<double> seen;
  for (uint64_t seed = 0; seed < 10; ++seed) {
    for (uint64_t stream = 0; stream < 10; ++stream) {
      for (uint64_t position = 0; position < 10; ++position)
        seen.insert(UniformAt(seed, stream, position));
    }
  }
  EXPECT_EQ(seen.size(), 1000u);
}

// Chi-square of counts against equal shares stays below mean + 5 standard deviations (chance below
// 1e-5 at these degrees of freedom; the seeds are fixed, so this either holds for ever or never).
void ExpectEven(const std::vector<size_t>& counts) {
  size_t n = 0;
  for (const size_t count : counts) n += count;
  const double expected = static_cast<double>(n) / static_cast<double>(counts.size());
  double chi = 0;
  for (const size_t count : counts)
    chi += std::pow(static_cast<double>(count) - expected, 2) / expected;
  const auto freedom = static_cast<double>(counts.size() - 1);
  EXPECT_LT(chi, freedom + 5 * std::sqrt(2 * freedom));
  EXPECT_GT(chi, freedom - 5 * std::sqrt(2 * freedom)) << "too even to be random";
}

TEST(Random, UniformIsEvenAlongPositionsStreamsAndSeeds) {
  constexpr size_t kBins = 128, kDraws = 50'000;
  std::vector<size_t> by_position(kBins), by_stream(kBins), by_seed(kBins);
  for (uint64_t i = 0; i < kDraws; ++i) {
    for (const auto& [bins, u] : {std::pair{&by_position, UniformAt(3, 0, i)},
                                  {&by_stream, UniformAt(3, i, 0)},
                                  {&by_seed, UniformAt(i, 0, 3)}}) {
      ASSERT_TRUE(u >= 0.0 && u < 1.0);
      ++(*bins)[static_cast<size_t>(u * kBins)];
    }
  }
  ExpectEven(by_position);
  ExpectEven(by_stream);
  ExpectEven(by_seed);
}

TEST(Random, BelowIsEvenAndNeverReachesItsBound) {
  for (const uint64_t n : {1u, 2u, 3u, 100u}) {
    Random random(n);
    std::vector<size_t> counts(n);
    for (int i = 0; i < 20'000; ++i) {
      const uint64_t value = random.Below(n);
      ASSERT_LT(value, n);
      ++counts[value];
    }
    if (n >= 100)
      ExpectEven(counts);
    else
      for (const size_t count : counts)
        EXPECT_NEAR(static_cast<double>(count), 20'000.0 / n, 5 * std::sqrt(20'000.0 / n));
  }
  EXPECT_DEATH(Random(1).Below(0), "n > 0");
}

TEST(Random, NormalHasMeanZeroVarianceOneAndNoSkewOrExcess) {
  Random random(5);
  constexpr int kDraws = 50'000;
  double moments[5] = {};
  for (int i = 0; i < kDraws; ++i) {
    const double x = random.Normal();
    ASSERT_TRUE(std::isfinite(x));
    double power = 1;
    for (double& moment : moments) moment += power, power *= x;
  }
  // The k-th moment of n draws has variance (E x^2k - (E x^k)^2) / n: 1, 2, 15, 96.
  const double expected[5] = {1, 0, 1, 0, 3}, variance[5] = {0, 1, 2, 15, 96};
  for (int k = 0; k < 5; ++k)
    EXPECT_NEAR(moments[k] / kDraws, expected[k], 5 * std::sqrt(variance[k] / kDraws) + 1e-12)
        << "moment " << k;
}

// Mean, variance, third and fourth moment of n numbers: variances as above.
TEST(FillNormal, HasTheMomentsAndTailsOfANormalDistribution) {
  constexpr size_t kRows = 1000, kColumns = 1000;
  constexpr double n = kRows * kColumns;
  std::vector<float> row(kColumns);
  double moments[5] = {}, beyond[5] = {}, neighbours = 0;
  for (size_t r = 0; r < kRows; ++r) {
    FillNormal(11, 7, r, row);
    for (size_t i = 0; i < kColumns; ++i) {
      const double x = row[i];
      ASSERT_TRUE(std::abs(x) < 6.67) << x;
      double power = 1;
      for (double& moment : moments) moment += power, power *= x;
      for (int k = 0; k < 5; ++k) beyond[k] += x > k;
      neighbours += i > 0 ? x * row[i - 1] : 0;
    }
  }
  const double expected[5] = {1, 0, 1, 0, 3}, variance[5] = {0, 1, 2, 15, 96};
  for (int k = 0; k < 5; ++k) {
    EXPECT_NEAR(moments[k] / n, expected[k], 5 * std::sqrt(variance[k] / n) + 1e-12) << k;
    const double share = 0.5 * std::erfc(k / std::sqrt(2.0));
    EXPECT_NEAR(beyond[k], n * share, 5 * std::sqrt(n * share) + 1) << "above " << k;
  }
  EXPECT_NEAR(neighbours / n, 0, 5 / std::sqrt(n));
}

// The same words through the library's logarithm, sine and cosine in double.
TEST(FillNormal, IsTheBoxMullerTransformOfPhiloxWords) {
  const uint64_t seed = 0x123456789ABCDEF0u, stream = 0xFEDCBA9876543210u, row = 0xFFFFFFFFu;
  std::vector<float> found(3 * 256);
  FillNormal(seed, stream, row, found);
  for (size_t block = 0; block < 3; ++block) {
    for (size_t lane = 0; lane < 64; ++lane) {
      const auto words = Philox(seed, stream, row << 32 | (block * 64 + lane));
      for (size_t pair = 0; pair < 4; pair += 2) {
        const double u = (words[pair] + 0.5) * 0x1p-32, angle = words[pair + 1] * 0x1p-31 * M_PI;
        const double r = std::sqrt(-2 * std::log(u));
        const float* at = &found[block * 256 + pair * 64 + lane];
        // u, a float near 1, has an error of 2^-25, so r one of 2^-25 / r; the rest is relative.
        const double bound = 1e-6 * (r + 1) + std::min(0x1p-24 / r, 4e-4);
        ASSERT_NEAR(at[0], r * std::cos(angle), bound) << block << " " << lane;
        ASSERT_NEAR(at[64], r * std::sin(angle), bound) << block << " " << lane;
      }
    }
  }
}

TEST(FillNormal, DependsOnSeedStreamRowAndPlaceOnly) {
  std::vector<float> whole(1000);
  FillNormal(3, 5, 8, whole);
  for (const size_t size : {0, 1, 2, 255, 256, 257, 999}) {
    std::vector<float> part(size + 1, -100.0f);
    FillNormal(3, 5, 8, std::span(part).first(size));
    EXPECT_EQ(part[size], -100.0f) << "writes past the end";
    for (size_t i = 0; i < size; ++i) ASSERT_EQ(part[i], whole[i]) << size;
  }
  std::set<float> seen(whole.begin(), whole.end());
  const std::array<uint64_t, 3> others[] = {{4, 5, 8}, {3, 6, 8}, {3, 5, 9}};
  for (const auto& [seed, stream, row] : others) {
    std::vector<float> other(1000);
    FillNormal(seed, stream, row, other);
    seen.insert(other.begin(), other.end());
  }
  EXPECT_GT(seen.size(), 3990u) << "other places give other numbers";
}

// The numbers are part of what `init --seed` promises: the same on every machine and in every version.
TEST(FillNormal, GivesTheNumbersItAlwaysGave) {
  std::vector<float> row(300);
  FillNormal(1, 2, 3, row);
  const std::string bytes(reinterpret_cast<const char*>(row.data()), row.size() * sizeof(float));
  EXPECT_EQ(Fnv1a(bytes), 547542035437056007u);
}

}  // namespace
}  // namespace planish
