// SPDX-License-Identifier: Apache-2.0
#include "train/run_log.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cmath>

#include "base/testing.h"

namespace planish {
namespace {

using testing::TemporaryDir;

constexpr uint64_t kMax = 1u << 20;

StepRecord Step(uint64_t step, double loss) {
  return {.step = step,
          .samples = 8 * step,
          .tokens = 8192 * step,
          .loss = loss,
          .grad_norm = 0.5,
          .param_norm = 20.5,
          .lr = 1e-3,
          .tokens_per_s = 1000.25,
          .mfu = 0.5,
          .ms = {1, 2, 3, 4, 5},
          .rss = 1u << 30,
          .skipped = 1,
          .datasets = {{"web \"a\"", 3.5, 100}, {"code", 2.5, 50}},
          .fp8 = {{"gradients", 448.5, 1000, 3, 7}}};
}

TEST(RunLog, EveryRecordComesBack) {
  const TemporaryDir folder;
  {
    RunLogWriter writer(folder / "log.jsonl");
    writer.Write(StartRecord{.name = "tiny",
                             .command = "planish pretrain",
                             .version = "0.1",
                             .isa = "amx",
                             .precision = "bf16",
                             .threads = 2,
                             .ranks = 4,
                             .parameters = 123,
                             .total_tokens = 456,
                             .peak_flops = 3e12,
                             .recipe = "[model]\nx = \"1\"\n"});
    writer.Write(Step(1, 9.25));
    writer.Write(
        EvalRecord{.step = 1, .tokens = 8192, .name = "val", .loss = 9, .bits_per_byte = 3});
    writer.Write(SampleRecord{.step = 1, .tokens = 8192, .prompt = "a", .text = "b\n\tc"});
    writer.Write(EventRecord{.step = 1, .event = "checkpoint", .message = "step-1"});
    writer.Write(EndRecord{.step = 1, .tokens = 8192, .reason = "done", .seconds = 2.5});
    EXPECT_EQ(writer.offset(), ReadFile(folder / "log.jsonl", kMax).size());
  }
  const RunLog log = ReadRunLog(folder.path());
  ASSERT_EQ(log.starts.size(), 1u);
  EXPECT_EQ(log.starts[0].name, "tiny");
  EXPECT_EQ(log.starts[0].recipe, "[model]\nx = \"1\"\n");
  EXPECT_EQ(log.starts[0].ranks, 4u);
  EXPECT_EQ(log.starts[0].peak_flops, 3e12);
  EXPECT_GT(log.starts[0].time, 1.7e9);
  ASSERT_EQ(log.steps.size(), 1u);
  const StepRecord &got = log.steps[0], want = Step(1, 9.25);
  EXPECT_EQ(got.samples, want.samples);
  EXPECT_EQ(got.tokens, want.tokens);
  EXPECT_EQ(got.loss, want.loss);
  EXPECT_EQ(got.grad_norm, want.grad_norm);
  EXPECT_EQ(got.param_norm, want.param_norm);
  EXPECT_EQ(got.lr, want.lr);
  EXPECT_EQ(got.tokens_per_s, want.tokens_per_s);
  EXPECT_EQ(got.mfu, want.mfu);
  EXPECT_EQ(got.ms.data, 1);
  EXPECT_EQ(got.ms.optimizer, 5);
  EXPECT_EQ(got.rss, want.rss);
  EXPECT_EQ(got.skipped, 1u);
  ASSERT_EQ(got.datasets.size(), 2u);
  EXPECT_EQ(got.datasets[0].name, "web \"a\"");
  EXPECT_EQ(got.datasets[1].loss, 2.5);
  EXPECT_EQ(got.datasets[1].tokens, 50u);
  ASSERT_EQ(got.fp8.size(), 1u);
  EXPECT_EQ(got.fp8[0].name, "gradients");
  EXPECT_EQ(got.fp8[0].amax, 448.5);
  EXPECT_EQ(got.fp8[0].values, 1000u);
  EXPECT_EQ(got.fp8[0].saturated, 3u);
  EXPECT_EQ(got.fp8[0].underflow, 7u);
  ASSERT_EQ(log.evals.size(), 1u);
  EXPECT_EQ(log.evals[0].bits_per_byte, 3);
  ASSERT_EQ(log.samples.size(), 1u);
  EXPECT_EQ(log.samples[0].text, "b\n\tc");
  ASSERT_EQ(log.events.size(), 1u);
  EXPECT_EQ(log.events[0].event, "checkpoint");
  ASSERT_EQ(log.ends.size(), 1u);
  EXPECT_EQ(log.ends[0].seconds, 2.5);
  EXPECT_EQ(log.bad_lines, 0u);
}

TEST(RunLog, NumbersThatAreNotFiniteComeBackAsNan) {
  const TemporaryDir folder;
  RunLogWriter writer(folder / "log.jsonl");
  writer.Write(Step(1, std::nan("")));
  writer.Write(Step(2, INFINITY));
  const RunLog log = ReadRunLog(folder / "log.jsonl");
  EXPECT_EQ(log.bad_lines, 0u);
  EXPECT_TRUE(std::isnan(log.steps.at(0).loss));
  EXPECT_TRUE(std::isnan(log.steps.at(1).loss));
}

TEST(RunLog, ContinuesAtAnOffsetAndCutsWhatFollowsIt) {
  const TemporaryDir folder;
  uint64_t offset = 0;
  {
    RunLogWriter writer(folder / "log.jsonl");
    writer.Write(Step(1, 5));
    offset = writer.offset();
    writer.Write(Step(2, 4));
    writer.Write(Step(3, 3));
  }
  {
    RunLogWriter writer(folder / "log.jsonl", offset);
    EXPECT_EQ(writer.offset(), offset);
    writer.Write(Step(2, 4.5));
  }
  const RunLog log = ReadRunLog(folder.path());
  ASSERT_EQ(log.steps.size(), 2u);
  EXPECT_EQ(log.steps[1].loss, 4.5);
  try {
    RunLogWriter writer(folder / "log.jsonl", offset * 10);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("log.jsonl"), std::string::npos) << error.what();
  }
}

TEST(RunLog, StepsWrittenAgainReplaceThoseBeforeAndBrokenLinesAreCounted) {
  const TemporaryDir folder;
  {
    RunLogWriter writer(folder / "log.jsonl");
    for (uint64_t step = 1; step <= 4; ++step) writer.Write(Step(step, 1));
    writer.Write(Step(3, 2));
  }
  std::string text = ReadFile(folder / "log.jsonl", kMax);
  text +=
      "{\"kind\":\"new kind\"}\n[1]\n{\"kind\":\"step\",\"step\":\"x\"}\n{\"kind\":\"step\",\"st";
  WriteFile(folder / "log.jsonl", text);
  const RunLog log = ReadRunLog(folder.path());
  ASSERT_EQ(log.steps.size(), 3u);
  EXPECT_EQ(log.steps[2].loss, 2);
  EXPECT_EQ(log.bad_lines, 3u);
}

TEST(RunLog, AFullDiskLosesLinesButNeverTearsThemNorThrows) {
  const TemporaryDir folder;
  RunLogWriter writer(folder / "log.jsonl");
  writer.Write(Step(1, 1));
  SetFaultHook([](std::string_view call) { return call == "write" ? ENOSPC : 0; });
  writer.Write(Step(2, 1));
  SetFaultHook(nullptr);
  writer.Write(Step(3, 1));
  const RunLog log = ReadRunLog(folder.path());
  EXPECT_EQ(log.steps.size(), 2u);
  EXPECT_EQ(log.bad_lines, 0u);
  EXPECT_EQ(writer.offset(), ReadFile(folder / "log.jsonl", kMax).size());
}

TEST(RunLog, LinesOfOtherTrainersAreStepsWhenTheySayStepAndLoss) {
  const TemporaryDir folder;
  WriteFile(folder / "log.jsonl",
            "{\"step\": 1, \"tokens\": 512, \"loss\": 9.5, \"cpu_s\": 1.5}\n{\"step\": 2}\n");
  const RunLog log = ReadRunLog(folder.path());
  ASSERT_EQ(log.steps.size(), 1u);
  EXPECT_EQ(log.steps[0].tokens, 512u);
  EXPECT_EQ(log.steps[0].loss, 9.5);
}

TEST(RunLog, FilesThatAreNoLogAreErrors) {
  const TemporaryDir folder;
  EXPECT_THROW(ReadRunLog(folder.path()), Error);
  WriteFile(folder / "log.jsonl", "hello\n");
  EXPECT_THROW(ReadRunLog(folder.path()), Error);
}

}  // namespace
}  // namespace planish
