// SPDX-License-Identifier: Apache-2.0
#include "compress/cost_table.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "base/parallel.h"
#include "compress/cost_measure.h"
#include "compress/step_prediction.h"

namespace planish {
namespace {

const MixerConfig kAttention = AttentionConfig{.n_heads = 4, .n_kv_heads = 2, .head_dim = 16};
const MixerConfig kFfn = FfnConfig{.intermediate_size = 96};
constexpr CostSetting kDecode{.is_decode = true, .rows = 2, .context = 300};

ModelConfig SmallConfig() {
  ModelConfig config;
  config.hidden_size = 64;
  config.vocab_size = 512;
  config.n_layers = 3;
  config.tie_embeddings = true;
  for (size_t i = 0; i < 3; ++i) {
    config.blocks.push_back({i, Slot::kAttention, kAttention});
    config.blocks.push_back({i, Slot::kFfn, kFfn});
  }
  return config;
}

// One thread: a team that shares its cores with other tests waits longer than it works.
CostConditions Conditions() {
  SetThreadCount(1);
  return ConditionsHere(SmallConfig(), DType::kF32, ActMode::kF32, {}, 1 << 20);
}

bool Measure(const std::vector<MixerConfig>& mixers, std::span<const CostSetting> settings,
             const MeasureOptions& options, CostTable* table) {
  const ModelConfig config = SmallConfig();
  const CostRequest request{&config, mixers, table};
  return MeasureCosts({&request, 1}, settings, options);
}

TEST(SecondsOf, IntervalsByRank) {
  std::vector<double> samples;
  for (int i = 10; i >= 1; --i) samples.push_back(i);
  const Seconds ten = SecondsOf(samples);
  EXPECT_EQ(ten.median, 5.5);
  EXPECT_EQ(ten.low, 2);  // P(binomial(10, 1/2) <= 1) = 1.07 %, <= 2: 5.5 %
  EXPECT_EQ(ten.high, 9);
  EXPECT_NEAR(ten.relative_error(), 3.5 / 5.5, 1e-12);
  const Seconds three = SecondsOf({3, 1, 2});
  EXPECT_EQ(three.low, 1);
  EXPECT_EQ(three.high, 3);
  EXPECT_EQ(SecondsOf({4}).low, 4);
}

TEST(CostTable, LinearInTheContextOfAttentionOnly) {
  CostTable table(Conditions());
  const auto at = [](size_t context) { return CostSetting{true, 2, context}; };
  table.Add({kAttention, at(100), {1, 0.9, 1.1}, 8, 15});
  EXPECT_FALSE(table.Find(kAttention, at(200)));
  table.Add({kAttention, at(300), {3, 2.9, 3.1}, 8, 15});
  table.Add({kAttention, at(500), {3, 2.9, 3.1}, 8, 15});
  EXPECT_NEAR(table.Find(kAttention, at(200))->median, 2, 1e-12);
  EXPECT_NEAR(table.Find(kAttention, at(400))->median, 3, 1e-12);
  EXPECT_NEAR(table.Find(kAttention, at(50))->median, 0.5, 1e-12);
  EXPECT_NEAR(table.Find(kAttention, at(900))->median, 3, 1e-12);
  EXPECT_EQ(table.Find(kAttention, at(0))->median, 0);
  EXPECT_FALSE(table.Find(kAttention, {.is_decode = true, .rows = 3, .context = 300}));
  table.Add({kFfn, at(300), {7, 6, 8}, 8, 15});
  EXPECT_EQ(table.Find(kFfn, at(9000))->median, 7);
  table.Add({kFfn, at(77), {5, 4, 8}, 8, 15});  // the same entry
  EXPECT_EQ(table.entries().size(), 4u);
}

TEST(CostTable, StepsAddUp) {
  CostTable table(Conditions());
  table.Add({kAttention, kDecode, {1, 0.7, 1.3}, 8, 15});
  table.Add({kFfn, kDecode, {2, 1.6, 2.4}, 8, 15});
  EXPECT_THROW(table.Step({}, kDecode), Error);
  table.Add({std::nullopt, kDecode, {10, 10, 10}, 1, 15});
  const std::vector<std::optional<MixerConfig>> blocks{kAttention, std::nullopt, kFfn, kAttention};
  const Seconds sum = table.Step(blocks, kDecode);
  EXPECT_NEAR(sum.median, 14, 1e-12);
  // Two attention blocks err together (0.6), independently of the FFN (0.4).
  EXPECT_NEAR(sum.high - sum.median, std::sqrt(0.36 + 0.16), 1e-12);
  const CostTable read = CostTable::FromJson(table.ToJson(), "costs.json");
  EXPECT_TRUE(read.conditions() == table.conditions());
  EXPECT_EQ(DumpJson(read.ToJson()), DumpJson(table.ToJson()));
}

TEST(CostTable, PromptsAreCutAsTheEngineDoes) {
  CostTable table(Conditions());
  const auto slices = PromptSettings(1300);
  ASSERT_EQ(slices.size(), 3u);
  EXPECT_EQ(slices[2].context, 1024u);
  table.Add({kAttention, slices[0], {1, 1, 1}, 8, 15});
  table.Add({kAttention, slices[2], {3, 3, 3}, 8, 15});
  table.Add({std::nullopt, slices[0], {0.5, 0.5, 0.5}, 1, 15});
  table.Add({std::nullopt, slices[1], {4, 4, 4}, 1, 15});
  const std::vector<std::optional<MixerConfig>> blocks{kAttention};
  const double short_one = 276.0 / 512;
  EXPECT_NEAR(table.Prompt(blocks, 1300).median, 1 + 2 + 3 * short_one + 0.5 * (2 + short_one) + 4,
              1e-12);
}

TEST(CostTable, HostileFiles) {
  CostTable table(Conditions());
  table.Add({kAttention, kDecode, {1, 0.7, 1.3}, 8, 15});
  const std::string good = DumpJson(table.ToJson());
  const auto broken = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    EXPECT_THROW(CostTable::FromJson(ParseJson(text, "t"), "t"), Error) << to;
  };
  broken("\"version\":1", "\"version\":2");
  broken("\"rows\":2", "\"rows\":-2");
  broken("\"rows\":2", "\"rows\":1e300");
  broken("\"median\":1.0", "\"median\":\"1\"");
  broken("\"median\":1.0", "\"median\":9.0");
  broken("\"n_kv_heads\":2", "\"n_kv_heads\":3");
  broken("\"phase\":\"decode\"", "\"phase\":\"think\"");
  broken("\"entries\":[{", "\"entries\":[7,{");
  broken("\"weights\":\"f32\"", "\"weights\":\"f33\"");
}

TEST(CostMeasure, FillsWhatIsMissingAndResumes) {
  CostTable table(Conditions());
  const std::vector<MixerConfig> mixers{kAttention, kFfn, kAttention};
  const std::vector<CostSetting> settings{kDecode, {.is_decode = false, .rows = 40, .context = 0}};
  size_t saved = 0;
  MeasureOptions options{.samples = 5, .warm_ups = 1, .copies = 3};
  options.save = [&] { ++saved; };
  EXPECT_TRUE(Measure(mixers, settings, options, &table));
  EXPECT_EQ(saved, 2u);
  ASSERT_EQ(table.entries().size(), 6u);
  for (const CostEntry& entry : table.entries()) {
    EXPECT_LE(entry.seconds.low, entry.seconds.median);
    EXPECT_LT(entry.seconds.median, 1.0);
    EXPECT_EQ(entry.samples, 5u);
    EXPECT_EQ(entry.copies, entry.mixer ? 3u : 1u);
  }
  const std::string before = DumpJson(table.ToJson());
  EXPECT_TRUE(Measure(mixers, settings, options, &table));
  EXPECT_EQ(saved, 2u);
  EXPECT_EQ(DumpJson(table.ToJson()), before);
  options.deadline = std::chrono::steady_clock::now() - std::chrono::seconds(1);
  const std::vector<MixerConfig> more{LinearConfig{}};
  EXPECT_FALSE(Measure(more, settings, options, &table));
}

TEST(CostMeasure, WholeModelsAndShortMemory) {
  const CostConditions conditions = Conditions();
  MeasureOptions options{.samples = 3, .warm_ups = 1, .copies = 3, .memory = 1};
  EXPECT_GT(MeasureStep(SmallConfig(), conditions, kDecode, options).median, 0);
  EXPECT_GT(MeasurePrompt(SmallConfig(), conditions, 600, options).median, 0);
  CostTable table(conditions);
  const std::vector<MixerConfig> mixers{kFfn};
  EXPECT_TRUE(Measure(mixers, {&kDecode, 1}, options, &table));
  EXPECT_EQ(table.entries()[1].copies, 2u);
}

TEST(StepPrediction, OfSeveralShapesInTheirOrder) {
  SetThreadCount(1);
  ModelConfig wide = SmallConfig(), narrow = SmallConfig();
  wide.hidden_size = 512;
  for (BlockConfig& block : wide.blocks)
    if (block.slot == Slot::kFfn) block.mixer = FfnConfig{.intermediate_size = 4096};
  const std::vector<ModelConfig> configs{wide, narrow, wide};
  const std::vector<Seconds> steps =
      PredictSteps(configs, {.weights = DType::kF32, .act = ActMode::kF32}, kDecode,
                   {.samples = 3, .warm_ups = 1, .copies = 2});
  ASSERT_EQ(steps.size(), 3u);
  // 100 times the arithmetic: more than other work on the machine can hide.
  EXPECT_GT(steps[0].median, 2 * steps[1].median);
  EXPECT_GT(steps[2].median, 2 * steps[1].median);
}

}  // namespace
}  // namespace planish
