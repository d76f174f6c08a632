// SPDX-License-Identifier: Apache-2.0
#include "compress/mip.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <optional>

#include "base/random.h"

namespace planish {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::vector<bool> BitsOf(size_t value, size_t n) {
  std::vector<bool> x(n);
  for (size_t i = 0; i < n; ++i) x[i] = (value >> i & 1) != 0;
  return x;
}

std::optional<double> BruteForce(const BinaryProgram& program) {
  std::optional<double> best;
  const size_t n = program.cost.size();
  for (size_t value = 0; value < size_t{1} << n; ++value) {
    const std::vector<bool> x = BitsOf(value, n);
    if (Satisfies(program, x) && (!best || CostOf(program, x) < *best)) best = CostOf(program, x);
  }
  return best;
}

// Rows of every shape: upper, lower, both, equal; magnitudes from 1e-6 to 1e9.
BinaryProgram RandomProgram(uint64_t seed) {
  Random random(seed);
  BinaryProgram program;
  const size_t n = 1 + random.Below(11), m = random.Below(5);
  for (size_t i = 0; i < n; ++i) program.AddVariable(random.Normal());
  for (size_t r = 0; r < m; ++r) {
    LinearRow row{.name = "row", .terms = {}};
    const double magnitude = std::pow(10.0, random.Uniform() * 15 - 6);
    double all = 0;
    for (size_t i = 0; i < n; ++i) {
      if (random.Below(4) == 0) continue;
      const double whole = static_cast<double>(random.Below(19)) - 9;
      row.terms.emplace_back(i, (r % 2 == 0 ? whole : random.Normal()) * magnitude);
      all += std::abs(row.terms.back().second);
    }
    const double middle = (random.Uniform() - 0.5) * all;
    switch (random.Below(4)) {
      case 0:
        row.high = middle;
        break;
      case 1:
        row.low = middle;
        break;
      case 2:
        row.low = middle - 0.2 * all;
        row.high = middle + 0.1 * all;
        break;
      default:  // an attainable value
        row.low = row.high = 0;
        for (const auto& [variable, coefficient] : row.terms)
          if (random.Below(2) == 0) row.high = row.low = row.low + coefficient;
    }
    program.rows.push_back(std::move(row));
  }
  return program;
}

TEST(Mip, EqualsBruteForceOnRandomPrograms) {
  size_t solved = 0, infeasible = 0;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    const BinaryProgram program = RandomProgram(seed);
    const std::optional<double> best = BruteForce(program);
    const MipResult result = SolveBinary(program, {.gap = 0, .start = {}});
    if (!best) {
      EXPECT_EQ(result.status, MipStatus::kInfeasible) << "seed " << seed;
      ++infeasible;
      continue;
    }
    ASSERT_EQ(result.status, MipStatus::kOptimal) << "seed " << seed;
    ASSERT_TRUE(Satisfies(program, result.x)) << "seed " << seed;
    // The solver's own tolerance on a cost that is scaled to 1e3.
    double largest = 0;
    for (const double c : program.cost) largest = std::max(largest, std::abs(c));
    EXPECT_NEAR(result.cost, *best, 1e-6 * largest) << "seed " << seed;
    EXPECT_DOUBLE_EQ(result.cost, CostOf(program, result.x));
    ++solved;
  }
  EXPECT_GT(solved, 40u);
  EXPECT_GT(infeasible, 20u);
}

TEST(Mip, EmptyProgramsAndRows) {
  EXPECT_EQ(SolveBinary({}).status, MipStatus::kOptimal);
  BinaryProgram impossible;
  impossible.rows.push_back({.name = "empty", .terms = {}, .low = 1});
  EXPECT_EQ(SolveBinary(impossible).status, MipStatus::kInfeasible);
  impossible.AddVariable(1);
  EXPECT_EQ(SolveBinary(impossible).status, MipStatus::kInfeasible);
  BinaryProgram zero;
  zero.AddVariable(0);
  zero.rows.push_back({.name = "zero", .terms = {{0, 0.0}}, .high = 0});
  EXPECT_EQ(SolveBinary(zero).status, MipStatus::kOptimal);
}

TEST(Mip, AStartThatFitsIsNeverBeaten) {
  BinaryProgram program;
  LinearRow row{.name = "weight", .terms = {}, .high = 100};
  Random random(3);
  for (size_t i = 0; i < 40; ++i) {
    program.AddVariable(-1 - random.Uniform());
    row.terms.emplace_back(i, 5 + 20 * random.Uniform());
  }
  program.rows.push_back(row);
  const MipResult best = SolveBinary(program, {.gap = 0, .start = {}});
  // A wide gap would accept a worse answer, were it not for the start.
  const MipResult again = SolveBinary(program, {.gap = 0.9, .start = best.x});
  EXPECT_EQ(again.cost, best.cost);
  std::vector<bool> too_heavy(40, true);
  EXPECT_LE(SolveBinary(program, {.gap = 0, .start = too_heavy}).cost, best.cost + 1e-6);
}

TEST(Mip, SameProgramSameAnswer) {
  const BinaryProgram program = RandomProgram(7);
  const MipResult a = SolveBinary(program), b = SolveBinary(program);
  EXPECT_EQ(a.x, b.x);
}

TEST(Mip, PrintsNothing) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  for (uint64_t seed = 1; seed <= 20; ++seed) SolveBinary(RandomProgram(seed));
  std::fputs("after\n", stdout);
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "after\n");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(Mip, BoundsAreOfNoAnswer) {
  BinaryProgram program;
  program.AddVariable(1);
  program.rows.push_back(
      {.name = "both", .terms = {{0, 1.0}}, .low = -kInfinity, .high = kInfinity});
  const MipResult result = SolveBinary(program);
  EXPECT_EQ(result.status, MipStatus::kOptimal);
  EXPECT_EQ(result.cost, 0);
}

}  // namespace
}  // namespace planish
