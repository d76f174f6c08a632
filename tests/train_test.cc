// SPDX-License-Identifier: Apache-2.0
// `planish pretrain` and `sft` as a user runs them: kills at any moment, Ctrl-C, refusals, the tiny recipe.
#include <chrono>
#include <cmath>
#include <thread>

#include "background_run.h"
#include "run_program.h"
#include "train/train_testing.h"

namespace planish::testing {
namespace {

using Seconds = std::chrono::duration<double>;

// A training process that goes on in the background.
class Training : public BackgroundRun {
 public:
  using BackgroundRun::BackgroundRun;
  // The exit status, or minus the signal that ended it. The signal is sent `delay` after the log of the run has reached
  // `step` (0: from the start), unless it has ended by then.
  int EndBy(int signal, const std::string& log, size_t step, Seconds delay) {
    const std::string line = fmt::format("\"step\":{},", step);
    for (int i = 0; step > 0 && i < 60000 && !HasEnded(); ++i) {
      if (FileExists(log) && ReadFilePrefix(log, 1 << 24).find(line) != std::string::npos) break;
      std::this_thread::sleep_for(Seconds(0.001));
    }
    std::this_thread::sleep_for(delay);
    return End(signal);
  }
};

double SecondsOf(const std::vector<std::string>& arguments) {
  const auto begin = std::chrono::steady_clock::now();
  OutputOf(arguments);
  return Seconds(std::chrono::steady_clock::now() - begin).count();
}

void ExpectSameEnd(const std::string& a, const std::string& b) {
  const RunBits x = BitsOf(a), y = BitsOf(b);
  EXPECT_EQ(x.masters, y.masters);
  EXPECT_EQ(x.moments, y.moments);
  EXPECT_EQ(x.state.samples, y.state.samples);
  EXPECT_EQ(x.state.loss_ema, y.state.loss_ema);
  EXPECT_EQ(MetricsOf(a), MetricsOf(b));
}

// Kills a run of `steps` at `kills` random moments, changing threads on the way, and compares its end with an undisturbed run.
void Drill(size_t kills, size_t steps, uint64_t seed) {
  const TinyRun run;
  const auto arguments = [&](const std::string& name, const std::string& threads) {
    return std::vector<std::string>{"pretrain",
                                    run.dir() / "tiny.toml",
                                    "-o",
                                    run.dir() / name,
                                    "-q",
                                    "--threads",
                                    threads,
                                    "--set",
                                    fmt::format("schedule.steps={}", steps),
                                    "--set",
                                    "checkpoint.async=true"};
  };
  auto first = arguments("start", "1");
  first.insert(first.end(), {"--steps", "1"});
  const double start_s = SecondsOf(first);
  const double whole_s = std::max(SecondsOf(arguments("whole", "1")), start_s);
  Random random(seed);
  size_t killed = 0;
  for (size_t i = 0; i < kills; ++i) {
    // One in four while it starts, the others spread over the steps, each at any moment of a step.
    const bool starts = random.Uniform() < 0.25;
    const double share = (static_cast<double>(i) + random.Uniform()) / static_cast<double>(kills);
    const auto step =
        starts ? 0 : 1 + static_cast<size_t>(0.8 * share * static_cast<double>(steps));
    const double step_s = (whole_s - start_s) / static_cast<double>(steps);
    Training training(arguments("killed", i % 2 == 0 ? "1" : "2"));
    const int status = training.EndBy(SIGKILL, run.dir() / "killed/log.jsonl", step,
                                      Seconds(random.Uniform() * (starts ? start_s : step_s)));
    ASSERT_TRUE(status == -SIGKILL || status == 0) << status;
    killed += status == -SIGKILL ? 1 : 0;
  }
  EXPECT_GE(2 * killed, kills) << "most kills must have come before the end";
  OutputOf(arguments("killed", "2"));
  ExpectSameEnd(run.dir() / "whole", run.dir() / "killed");
}

TEST(Train, TwoKillsLeaveTheBitsOfAnUndisturbedRun) { Drill(2, 12, 3); }

TEST(Train, TwentyKillsAtRandomMomentsLeaveTheBitsOfAnUndisturbedRunSlow) { Drill(20, 300, 4); }

TEST(Train, AnInterruptFinishesTheStepSavesAndEndsWithZero) {
  const TinyRun run;
  for (const int signal : {SIGINT, SIGTERM}) {
    const std::string folder = run.dir() / fmt::format("run{}", signal);
    Training training({"pretrain", run.dir() / "tiny.toml", "-o", folder, "--set",
                       "schedule.steps=1000000", "--set", "checkpoint.every_steps=0"});
    // Not before it trains: its log has a step then.
    for (int i = 0; i < 600 && ReadFilePrefix(folder + "/log.jsonl", 1 << 20).find("\"step\":2,") ==
                                   std::string::npos;
         ++i)
      std::this_thread::sleep_for(Seconds(0.05));
    EXPECT_EQ(training.EndBy(signal, "", 0, Seconds(0)), 0);
    const RunLog log = ReadRunLog(folder);
    ASSERT_EQ(log.ends.size(), 1u);
    EXPECT_EQ(log.ends[0].reason, "stopped");
    EXPECT_EQ(BitsOf(folder).state.step, log.steps.back().step);
  }
}

TEST(Train, WhatIsWrongIsRefusedInOneLineWithTheDocumentedStatus) {
  const TinyRun run;
  const auto refused = [&](const std::vector<std::string>& more, int status,
                           const std::vector<std::string>& words) {
    std::vector<std::string> all = {"pretrain", run.dir() / "tiny.toml", "-o", run.dir() / "run"};
    all.insert(all.end(), more.begin(), more.end());
    const Outcome outcome = RunProgram(all);
    EXPECT_EQ(outcome.status, status) << outcome.err;
    EXPECT_EQ(Lines(outcome.err).size(), 1u) << outcome.err;
    for (const std::string& word : words)
      EXPECT_NE(outcome.err.find(word), std::string::npos) << word << " is not in " << outcome.err;
    EXPECT_FALSE(FileExists(run.dir() / "run/log.jsonl")) << "refused before work began";
  };
  refused({"--set", "schedule.rl=1"}, 2, {"'schedule.rl'", "Try: schedule.lr"});
  refused({"--set", "schedule.tokens=5000"}, 2, {"schedule.tokens", "schedule.steps"});
  refused({"--set", "data.phases=[{datasets=[{path='none.tok'}]}]"}, 3, {"none.tok"});
  refused({"--memory", "1MiB"}, 4, {"MiB", "Try: "});
  refused({"--resume", run.dir() / "nowhere"}, 3, {"nowhere"});
  const Outcome sft = RunProgram({"sft", run.dir() / "tiny.toml"});
  EXPECT_EQ(sft.status, 2);
  EXPECT_NE(sft.err.find("model.init"), std::string::npos) << sft.err;
}

TEST(Train, DryRunAndPrintConfigShowTheRunWithoutWork) {
  const TinyRun run;
  const std::string plan =
      OutputOf({"pretrain", run.dir() / "tiny.toml", "-o", run.dir() / "run", "--dry-run"});
  for (const char* word : {"parameters", "12 steps of 144", "a: 48 rows", "epochs", "targets"})
    EXPECT_NE(plan.find(word), std::string::npos) << word << " is not in " << plan;
  const std::string config = OutputOf({"pretrain", run.dir() / "tiny.toml", "--print-config",
                                       "--precision", "f32", "--set", "optimizer.clip=0.5"});
  EXPECT_NE(config.find("mode = \"f32\""), std::string::npos) << config;
  EXPECT_NE(config.find("clip = 0.5"), std::string::npos) << config;
  EXPECT_NE(config.find("[--set optimizer.clip]"), std::string::npos) << config;
  EXPECT_FALSE(FileExists(run.dir() / "run"));
}

TEST(Train, FineTuningGoesOnFromAPretrainedCheckpointOnMaskedExamples) {
  const TinyRun run;
  OutputOf({"pretrain", run.dir() / "tiny.toml", "-o", run.dir() / "base", "-q"});
  const std::string base = run.dir() / "base/checkpoints/step-00000012";
  WriteFile(run.dir() / "sft.toml", fmt::format(R"(
[model]
init = "{}"
[[data.phases]]
datasets = [{{ path = "masked.tok" }}]
[batch]
seq_len = 64
tokens = 128
[schedule]
kind = "linear"
lr = 1e-3
epochs = 2
)",
                                                base));
  OutputOf({"sft", run.dir() / "sft.toml", "-o", run.dir() / "sft", "-q"});
  const RunLog log = ReadRunLog(run.dir() / "sft");
  ASSERT_GT(log.steps.size(), 4u);
  EXPECT_LT(log.steps.back().loss, log.steps.front().loss);
  EXPECT_LT(log.steps.front().loss, 0.9 * std::log(264.0)) << "it began from what was learned";
  for (const StepRecord& step : log.steps) EXPECT_LT(step.datasets.at(0).tokens, 90u);
}

TEST(Train, TheTinyRecipeLearnsItsBatchByHeart) {
  const TemporaryDir dir;
  const std::string folder = PLANISH_SOURCE_DIR "/recipes/tiny/";
  const Pretrained model = DescribeForTraining({.config = folder + "config.json"});
  std::string text = ReadFile(folder + "text.txt", 1 << 20);
  std::vector<TokenId> ids = model.tokenizer->Encode(text);
  ids.push_back(model.eos_ids.at(0));
  TokenFileWriter writer(dir / "text.tok", {.vocab_size = model.config.vocab_size,
                                            .tokenizer_hash = TokenizerHash(*model.tokenizer)});
  writer.Append(ids, text.size());
  writer.Commit();
  OutputOf({"pretrain", folder + "tiny.toml", "-o", dir / "run", "-q", "--set",
            "data.phases=[{datasets=[{path='" + dir / "text.tok" + "'}]}]"});
  const RunLog log = ReadRunLog(dir / "run");
  ASSERT_EQ(log.steps.size(), 200u);
  EXPECT_LT(log.steps.back().loss, 0.05);
  ASSERT_EQ(log.samples.size(), 2u);
}

}  // namespace
}  // namespace planish::testing
