// SPDX-License-Identifier: Apache-2.0
#include "compress/search_problem.h"

#include <gtest/gtest.h>

#include <cmath>
#include <optional>

#include "base/random.h"

namespace planish {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// `choices` options a block, the first of them a parent of score 0 that costs most; three resources.
SearchProblem RandomProblem(uint64_t seed, size_t blocks, size_t choices) {
  Random random(seed);
  SearchProblem problem;
  problem.block_count = blocks;
  problem.limits = {
      {.name = "latency", .unit = "ms", .per_unit = 1e3, .fixed = 1e-3, .amounts = {}},
      {.name = "memory", .unit = "MiB", .per_unit = 0x1p-20, .fixed = 5e6, .amounts = {}},
      {.name = "attention blocks", .amounts = {}}};
  for (size_t block = 0; block < blocks; ++block) {
    for (size_t j = 0; j < choices; ++j) {
      const double kept = j == 0 ? 1.0 : random.Uniform();
      problem.options.push_back(
          {"o", {block}, j == 0 ? 0.0 : (1 - kept) * (0.01 + random.Uniform())});
      problem.limits[0].amounts.push_back(1e-3 * kept * (0.8 + 0.4 * random.Uniform()));
      problem.limits[1].amounts.push_back(std::floor(3e7 * kept));
      problem.limits[2].amounts.push_back(block % 2 == 0 && kept > 0.5 ? 1 : 0);
    }
  }
  return problem;
}

std::optional<double> BruteForce(const SearchProblem& problem, size_t choices) {
  std::optional<double> best;
  std::vector<size_t> digits(problem.block_count, 0);
  for (;;) {
    std::vector<size_t> options;
    for (size_t block = 0; block < digits.size(); ++block)
      options.push_back(block * choices + digits[block]);
    if (IsSolution(problem, options)) {
      const double score = TotalsOf(problem, options).score;
      if (!best || score < *best) best = score;
    }
    size_t at = 0;
    while (at < digits.size() && ++digits[at] == choices) digits[at++] = 0;
    if (at == digits.size()) return best;
  }
}

// `kind`: 0 latency, 1 memory, 2 at least so many, 3 at most so many, 4 all of it.
void SetLimits(SearchProblem* problem, int kind, double tightness) {
  const auto blocks = static_cast<double>(problem->block_count);
  if (kind == 0 || kind == 4) problem->limits[0].high = 1e-3 * (1 + tightness * blocks);
  if (kind == 1 || kind == 4) problem->limits[1].high = 5e6 + 3e7 * tightness * blocks;
  if (kind == 2 || kind == 4) problem->limits[2].low = std::ceil(blocks / 4);
  if (kind == 3) problem->limits[2].high = 1;
}

TEST(SearchProblem, EqualsBruteForceForEachKindOfLimit) {
  const SolveOptions exact{.gap = 0};
  size_t solved = 0, infeasible = 0;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    const size_t blocks = seed == 50 ? 8 : 1 + seed % 6, choices = 2 + seed % 3;
    SearchProblem problem = RandomProblem(seed, blocks, choices);
    SetLimits(&problem, static_cast<int>(seed % 5), seed % 7 == 0 ? 0.05 : 0.6);
    const std::optional<double> best = BruteForce(problem, choices);
    const std::vector<SearchSolution> solutions = SolveSearch(problem, exact);
    ASSERT_EQ(solutions.empty(), !best) << "seed " << seed;
    const SearchSolution greedy = SolveGreedily(problem);
    if (!best) {
      EXPECT_TRUE(greedy.options.empty());
      EXPECT_FALSE(ExplainInfeasible(problem, exact).empty());
      ++infeasible;
      continue;
    }
    ++solved;
    EXPECT_NEAR(solutions[0].score, *best, 1e-6) << "seed " << seed;
    EXPECT_LE(solutions[0].bound, solutions[0].score + 1e-6);
    if (!greedy.options.empty()) {
      EXPECT_LE(solutions[0].score, greedy.score) << "seed " << seed;
    }
  }
  EXPECT_GT(solved, 30u);
  EXPECT_GT(infeasible, 2u);
}

TEST(SearchProblem, FourToTheEighth) {
  SearchProblem problem = RandomProblem(99, 8, 4);
  SetLimits(&problem, 4, 0.5);
  const std::optional<double> best = BruteForce(problem, 4);
  ASSERT_TRUE(best);
  EXPECT_NEAR(SolveSearch(problem, {.gap = 0})[0].score, *best, 1e-6);
}

TEST(SearchProblem, NeverWorseThanGreedyOnLargerOnes) {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    SearchProblem problem = RandomProblem(seed, 30, 6);
    SetLimits(&problem, seed % 2 == 0 ? 4 : 0, 0.55);
    const SearchSolution greedy = SolveGreedily(problem);
    const std::vector<SearchSolution> solutions = SolveSearch(problem, {});
    ASSERT_FALSE(solutions.empty());
    ASSERT_FALSE(greedy.options.empty());
    EXPECT_LE(solutions[0].score, greedy.score);
    EXPECT_TRUE(IsSolution(problem, solutions[0].options));
    EXPECT_LE(solutions[0].totals[0], problem.limits[0].high * (1 + 1e-9));
  }
}

TEST(SearchProblem, NanCandidatesAreDropped) {
  SearchProblem problem = RandomProblem(5, 4, 3);
  SetLimits(&problem, 0, 0.8);
  problem.options[1].score = kNan;
  problem.options[4].score = -std::numeric_limits<double>::infinity();
  problem.limits[1].amounts[7] = kNan;
  const std::vector<SearchSolution> solutions = SolveSearch(problem, {.gap = 0});
  ASSERT_FALSE(solutions.empty());
  for (const size_t bad : {1u, 4u, 7u})
    for (const size_t option : solutions[0].options) EXPECT_NE(option, bad);
  EXPECT_NEAR(solutions[0].score, *BruteForce(problem, 3), 1e-6);
  for (size_t i = 0; i < 3; ++i) problem.options[i].score = kNan;
  EXPECT_TRUE(SolveSearch(problem, {}).empty());
}

TEST(SearchProblem, SolutionsDiffer) {
  SearchProblem problem = RandomProblem(11, 10, 4);
  SetLimits(&problem, 0, 0.6);
  const std::vector<SearchSolution> solutions =
      SolveSearch(problem, {.count = 4, .diversity = 0.3, .gap = 0});
  ASSERT_EQ(solutions.size(), 4u);
  for (size_t a = 0; a < 4; ++a) {
    for (size_t b = 0; b < a; ++b) {
      EXPECT_LE(solutions[b].score, solutions[a].score + 1e-6);
      size_t same = 0;
      for (size_t i = 0; i < 10; ++i) same += solutions[a].options[i] == solutions[b].options[i];
      EXPECT_LE(same, 7u);
    }
  }
}

TEST(SearchProblem, OneSolutionWhereThereIsOneChoice) {
  SearchProblem problem = RandomProblem(1, 5, 1);
  EXPECT_EQ(SolveSearch(problem, {.count = 3}).size(), 1u);
}

TEST(SearchProblem, OptionsOfSeveralBlocks) {
  SearchProblem problem = RandomProblem(3, 4, 2);
  // Blocks 1 and 2 together, better than anything for either; then one that covers all but costs too much.
  problem.options.push_back({"pair", {1, 2}, -1.0});
  problem.options.push_back({"all", {0, 1, 2, 3}, -100.0});
  for (SearchLimit& limit : problem.limits) {
    limit.amounts.push_back(0);
    limit.amounts.push_back(1e12);
  }
  problem.limits[1].high = 1e11;
  const std::vector<SearchSolution> solutions = SolveSearch(problem, {.gap = 0});
  ASSERT_FALSE(solutions.empty());
  EXPECT_EQ(solutions[0].options, (std::vector<size_t>{0, 8, 6}));
}

TEST(SearchProblem, ExplainsWhatIsPossible) {
  SearchProblem problem;
  problem.block_count = 2;
  problem.options = {{"a", {0}, 0}, {"b", {0}, 1}, {"c", {1}, 0}, {"d", {1}, 1}};
  problem.limits = {{.name = "latency",
                     .unit = "ms",
                     .per_unit = 1e3,
                     .fixed = 0.001,
                     .amounts = {0.004, 0.002, 0.004, 0.003},
                     .high = 0.005},
                    {.name = "attention blocks", .amounts = {1, 0, 1, 1}, .low = 2}};
  EXPECT_TRUE(SolveSearch(problem, {}).empty());
  const std::vector<NearestValue> values = ExplainInfeasible(problem, {});
  ASSERT_EQ(values.size(), 2u);
  EXPECT_NEAR(values[0].alone, 0.006, 1e-9);
  EXPECT_NEAR(values[0].with_others, 0.008, 1e-9);
  EXPECT_NEAR(values[1].alone, 2, 1e-9);
  EXPECT_FALSE(values[1].is_reachable_with_others);
  EXPECT_EQ(DescribeInfeasible(problem, values),
            "no choice of candidates meets all limits: latency <= 5 ms was asked, 6 ms is possible "
            "alone, 8 ms with the other limits; attention blocks >= 2 was asked, 2 is possible "
            "alone, nothing with the other limits");
}

TEST(SearchProblem, SameProblemSameSolutions) {
  SearchProblem problem = RandomProblem(21, 20, 5);
  SetLimits(&problem, 4, 0.5);
  const auto a = SolveSearch(problem, {.count = 2}), b = SolveSearch(problem, {.count = 2});
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i].options, b[i].options);
}

}  // namespace
}  // namespace planish
