// SPDX-License-Identifier: Apache-2.0
// No speed is asserted: that each test runs, counts what it did, and that the formulas agree with counts by hand.
#include "infer/throughput.h"

#include <gtest/gtest.h>

#include "model/planner.h"
#include "model/pretrained.h"

namespace planish {
namespace {

Pretrained Tiny(const std::string& name) {
  return OpenPretrained(PLANISH_SOURCE_DIR "/tests/golden/models/" + name,
                        {.needs_tokenizer = false});
}

TEST(Throughput, PromptsAndDecodeRunAtEveryDepthAndBatchOnAHybridAndATransformer) {
  for (const char* name : {"nemotron_h_a", "llama_a"}) {
    const Pretrained opened = Tiny(name);
    for (const size_t depth : {0, 5, 256, 700}) {
      for (const size_t batch : {1, 3}) {
        SCOPED_TRACE(fmt::format("{} depth {} batch {}", name, depth, batch));
        Throughput throughput(opened.model.get(), depth, batch, 20);
        const ThroughputResult prompt =
            throughput.Measure({.n_prompt = 20, .depth = depth, .batch = batch}, 2, false);
        EXPECT_EQ(prompt.steps, 1u) << "short prompts share a step";
        EXPECT_EQ(prompt.seconds.size(), 2u);
        EXPECT_GT(prompt.median_ts(), 0);
        EXPECT_FALSE(prompt.phases.has_value());
        const ThroughputResult decode =
            throughput.Measure({.n_gen = 7, .depth = depth, .batch = batch}, 3, true);
        EXPECT_EQ(decode.steps, 7u);
        EXPECT_EQ(decode.seconds.size(), 3u);
        EXPECT_GT(decode.median_ts(), 0);
        ASSERT_TRUE(decode.phases.has_value());
        const auto calls = [&](Phase phase) {
          return decode.phases->phases[static_cast<size_t>(phase)].calls;
        };
        EXPECT_EQ(calls(Phase::kHead), 3u * 7);
        EXPECT_EQ(calls(Phase::kAttention), 3 * 7 * opened.config.CountBlocks(0));
        EXPECT_EQ(calls(Phase::kScan), 3 * 7 * opened.config.CountBlocks(1));
      }
    }
  }
}

TEST(Throughput, LongPromptsTakeSeveralSteps) {
  const Pretrained opened = Tiny("nemotron_h_a");
  Throughput throughput(opened.model.get(), 0, 2, 1100);
  EXPECT_EQ(throughput.Measure({.n_prompt = 1100, .batch = 2}, 1, false).steps, 2u * 3);
}

TEST(Throughput, WorkOfADecodeStepIsTheRooflineFormula) {
  for (const char* name : {"nemotron_h_a", "llama_a"}) {
    SCOPED_TRACE(name);
    const Pretrained opened = Tiny(name);
    Model* model = opened.model.get();
    double weights = 0, recurrent = 0, kv = 0, attention = 0;
    model->VisitParams([&](const Param& param) {
      const bool counts = param.role != ParamRole::kEmbedding || opened.config.tie_embeddings;
      if (counts)
        weights += static_cast<double>(param.weight != nullptr ? param.weight->bytes()
                                                               : param.vector->bytes());
    });
    for (const BlockConfig& block : opened.config.blocks) {
      const MixerCost cost = CostOf(block.mixer, opened.config.hidden_size);
      recurrent += static_cast<double>(4 * (cost.ssm_elements + cost.conv_elements));
      kv += static_cast<double>(4 * cost.kv_elements_per_token);
      attention += cost.attention_flops_per_token_and_context;
    }
    constexpr double kDepth = 100, kBatch = 3;
    // Step i of two reads depth + i + 1 positions.
    const ThroughputWork work = WorkOf(model, {.n_gen = 2, .depth = 100, .batch = 3});
    EXPECT_NEAR(work.bytes, 2 * weights + kBatch * (kv * (2 * kDepth + 3) + 2 * 2 * recurrent),
                1e-9 * work.bytes);
    const double flops = MakePlan(opened.config, {}).flops_per_token;
    EXPECT_NEAR(work.flops, kBatch * (2 * flops + attention * (2 * kDepth + 3)), 1e-9 * work.flops);
    // A prompt needs the head once.
    const double head =
        2.0 * static_cast<double>(opened.config.hidden_size * opened.config.vocab_size);
    const ThroughputWork prompt = WorkOf(model, {.n_prompt = 10, .depth = 100});
    EXPECT_NEAR(prompt.flops, 10 * (flops - head) + attention * (1000 + 55) + head,
                1e-9 * prompt.flops);
  }
}

TEST(Throughput, CachesThatDoNotFitAreRefused) {
  const Pretrained opened = Tiny("llama_a");
  try {
    Throughput(opened.model.get(), size_t{1} << 34, 64, 1);
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kNoMemory);
  }
}

// The states behind the depth: as long as asked, shared with nobody.
TEST(Throughput, SyntheticLengthMakesPagesOfItsOwn) {
  const Pretrained opened = Tiny("nemotron_h_a");
  const Model& model = *opened.model;
  SequenceState one = model.NewSequence();
  const std::vector<int32_t> ids(64, 1);
  std::vector<float> hidden(64 * opened.config.hidden_size);
  Workspace workspace;
  const StepRun run{0, 64, &one};
  model.Step(ids, {&run, 1}, hidden.data(), &workspace);
  const size_t short_bytes = one.bytes();
  one.SetSyntheticLength(1000);
  EXPECT_EQ(one.length(), 1000u);
  EXPECT_GT(one.bytes(), short_bytes);
  one.SetSyntheticLength(64);
  EXPECT_EQ(one.bytes(), short_bytes);
}

}  // namespace
}  // namespace planish
