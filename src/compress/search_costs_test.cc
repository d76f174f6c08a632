// SPDX-License-Identifier: Apache-2.0
#include "compress/search_costs.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"

namespace planish {
namespace {

const MixerConfig kWide = AttentionConfig{.n_heads = 4, .n_kv_heads = 2, .head_dim = 16};
const MixerConfig kNarrow = AttentionConfig{.n_heads = 4, .n_kv_heads = 1, .head_dim = 16};
const MixerConfig kFfn = FfnConfig{.intermediate_size = 100};
const MixerConfig kHalf = FfnConfig{.intermediate_size = 50};

ModelConfig Parent(size_t layers) {
  ModelConfig config;
  config.hidden_size = 64;
  config.vocab_size = 512;
  config.n_layers = layers;
  config.tie_embeddings = true;
  for (size_t i = 0; i < layers; ++i) {
    config.blocks.push_back({i, Slot::kAttention, kWide});
    config.blocks.push_back({i, Slot::kFfn, kFfn});
  }
  return config;
}

std::vector<CandidateBlock> Candidates(size_t layers) {
  std::vector<CandidateBlock> blocks;
  for (size_t i = 0; i < layers; ++i) {
    const double harm = 1 + static_cast<double>(i);
    blocks.push_back({2 * i,
                      {{.name = "parent", .mixer = kWide, .is_parent = true, .score = 0},
                       {.name = "kv=1", .mixer = kNarrow, .score = 0.1 * harm},
                       {.name = "none", .mixer = std::nullopt, .score = harm}}});
    blocks.push_back({2 * i + 1,
                      {{.name = "parent", .mixer = kFfn, .is_parent = true, .score = 0},
                       {.name = "ffn=50%", .mixer = kHalf, .score = 0.5 * harm},
                       {.name = "none", .mixer = std::nullopt, .score = 2 * harm}}});
  }
  return blocks;
}

// Attention 4 ms and 3 ms, FFN 6 ms and 2 ms, nothing 1 ms, in every setting that is asked for.
CostTable Table(const SearchTargets& targets) {
  CostConditions conditions;
  conditions.hidden_size = 64;
  conditions.vocab_size = 512;
  conditions.weights = DType::kBF16;
  conditions.states = {.kv = DType::kBF16};
  CostTable table(conditions);
  const auto add = [&](const std::optional<MixerConfig>& mixer, double s) {
    for (const CostSetting& setting : SettingsFor(targets))
      table.Add({mixer, setting, {s, s, s}, 8, 15});
  };
  add(kWide, 0.004);
  add(kNarrow, 0.003);
  add(kFfn, 0.006);
  add(kHalf, 0.002);
  add(std::nullopt, 0.001);
  return table;
}

TEST(SearchCosts, TotalsOfTheParent) {
  SearchTargets targets{.batch = 2, .context = 100};
  const auto blocks = Candidates(3);
  const SearchProblem problem = MakeProblem(Parent(3), blocks, Table(targets), targets);
  const SearchSolution parent = SolutionOf(problem, blocks, ParentChoice(blocks));
  EXPECT_NEAR(parent.totals[0], 0.001 + 3 * 0.010, 1e-12);
  // q and o 64 x 64, k and v 32 x 64; gate, up, down 100 x 64; a norm each; embedding and last norm.
  const double parameters = 3 * (2 * 4096 + 2 * 2048 + 64 + 3 * 6400 + 64) + 512 * 64 + 64;
  EXPECT_EQ(parent.totals[2], parameters);
  EXPECT_EQ(parent.totals[1], 2 * parameters + 2.0 * 3 * 100 * (2 * 2 * 16) * 2);
  EXPECT_EQ(problem.limits[3].name, "attention blocks");
  EXPECT_EQ(parent.totals[3], 3);
}

TEST(SearchCosts, SharesAndCountsLimit) {
  SearchTargets targets{.batch = 2, .context = 100};
  targets.latency = Target{0.5, true};
  targets.counts = {ParseCount("attention>=3"), ParseCount("ffn<=2")};
  const auto blocks = Candidates(3);
  const SearchProblem problem = MakeProblem(Parent(3), blocks, Table(targets), targets);
  EXPECT_NEAR(problem.limits[0].high, 0.0155, 1e-12);
  const auto solutions = SolveSearch(problem, {.gap = 0});
  ASSERT_FALSE(solutions.empty());
  EXPECT_LE(solutions[0].totals[0], 0.0155 + 1e-12);
  const Choice choice = ChoiceOf(blocks, solutions[0]);
  const auto mixers = MixersOf(blocks, choice);
  size_t attention = 0, ffn = 0;
  for (const auto& mixer : mixers) {
    attention += mixer && mixer->index() == 0;
    ffn += mixer && mixer->index() == 2;
  }
  EXPECT_EQ(attention, 3u);
  EXPECT_LE(ffn, 2u);
  EXPECT_EQ(SolutionOf(problem, blocks, choice).score, solutions[0].score);
}

TEST(SearchCosts, ThroughputAndFirstToken) {
  SearchTargets targets{.batch = 4, .context = 100, .prompt = 600, .new_tokens = 10};
  targets.throughput = Target{1.5, true};
  targets.first_token = Target{0.8, true};
  const auto blocks = Candidates(2);
  const CostTable table = Table(targets);
  const SearchProblem problem = MakeProblem(Parent(2), blocks, table, targets);
  const SearchSolution parent = SolutionOf(problem, blocks, ParentChoice(blocks));
  const double prompt = (1 + 88.0 / 512) * 0.021 + 0.001, step = 0.021;
  EXPECT_EQ(problem.limits[3].name, "request time");
  EXPECT_NEAR(parent.totals[3], 4 * prompt + 10 * step, 1e-12);
  EXPECT_NEAR(parent.totals[4], prompt, 1e-12);
  EXPECT_NEAR(problem.limits[3].high, parent.totals[3] / 1.5, 1e-12);
  const auto solutions = SolveSearch(problem, {});
  ASSERT_FALSE(solutions.empty());
  EXPECT_GE(ThroughputOf(targets, solutions[0].totals[3]),
            1.5 * ThroughputOf(targets, parent.totals[3]) * (1 - 1e-9));
  SearchTargets longer = targets;
  longer.prompt = 300;  // another slice: not measured
  EXPECT_THROW(MakeProblem(Parent(2), blocks, table, longer), Error);
}

TEST(SearchCosts, Baselines) {
  SearchTargets targets{.batch = 2, .context = 100};
  const auto blocks = Candidates(4);
  const SearchProblem problem = MakeProblem(Parent(4), blocks, Table(targets), targets);
  const Choice none{2, 2, 0, 0, 0, 0, 0, 0};  // the first layer harms least
  EXPECT_EQ(DepthBaseline(Parent(4), blocks, problem, 0.031, false), none);
  const Choice even{0, 0, 2, 2, 0, 0, 2, 2};  // two of four, evenly
  EXPECT_EQ(DepthBaseline(Parent(4), blocks, problem, 0.025, true), even);
  EXPECT_FALSE(DepthBaseline(Parent(4), blocks, problem, 0.0005, true));
  const Choice width{1, 1, 1, 1, 1, 1, 1, 1};
  EXPECT_EQ(WidthBaseline(blocks, problem, 0.022), width);
  const Choice heads{1, 0, 1, 0, 1, 0, 1, 0};
  EXPECT_EQ(WidthBaseline(blocks, problem, 0.038), heads);
  EXPECT_FALSE(WidthBaseline(blocks, problem, 0.02));
}

TEST(SearchCosts, Counts) {
  const CountTarget count = ParseCount("mamba2<=10");
  EXPECT_EQ(count.kind, 1u);
  EXPECT_FALSE(count.is_least);
  EXPECT_EQ(count.count, 10u);
  for (const char* bad : {"", ">", "attention", "attention>4", "heads>=4", "ffn>=", "ffn>=x",
                          "ffn>=-1", "ffn>=1.5", "ffn>=99999999999999999999"})
    EXPECT_THROW(ParseCount(bad), Error) << bad;
}

TEST(SearchCosts, Spearman) {
  EXPECT_NEAR(SpearmanOf({1, 2, 3}, {10, 20, 1000}), 1, 1e-12);
  EXPECT_NEAR(SpearmanOf({1, 2, 3}, {3, 2, 1}), -1, 1e-12);
  EXPECT_NEAR(SpearmanOf({1, 2, 3, 4, 5}, {5, 6, 7, 8, 7}), 0.8207826816681233, 1e-12);
  EXPECT_TRUE(std::isnan(SpearmanOf({1, 2}, {1, 2})));
  EXPECT_TRUE(std::isnan(SpearmanOf({1, 1, 1}, {1, 2, 3})));
}

}  // namespace
}  // namespace planish
