// SPDX-License-Identifier: Apache-2.0
#include "train/trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "base/parallel.h"
#include "train/train_testing.h"

namespace planish {
namespace {

using testing::BitsOf;
using testing::MetricsOf;
using testing::RunBits;
using testing::TinyRun;

void ExpectSameRun(const std::string& a, const std::string& b) {
  const RunBits x = BitsOf(a), y = BitsOf(b);
  EXPECT_EQ(x.masters, y.masters);
  EXPECT_EQ(x.moments, y.moments);
  EXPECT_EQ(x.state.step, y.state.step);
  EXPECT_EQ(x.state.samples, y.state.samples);
  EXPECT_EQ(x.state.tokens, y.state.tokens);
  EXPECT_EQ(x.state.loss_ema, y.state.loss_ema);
  EXPECT_EQ(x.state.schedule_tokens, y.state.schedule_tokens);
  EXPECT_EQ(MetricsOf(a), MetricsOf(b));
}

std::string RunWhole(const TinyRun& run, const std::string& name,
                     const std::vector<std::string>& settings = {}) {
  const TrainOptions options = run.Options(name);
  EXPECT_EQ(Trainer(run.MakeRecipe(settings), options).Run(), TrainEnd::kFinished);
  return options.folder;
}

template <class Function>
Error ErrorOf(const Function& function) {
  try {
    function();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error";
  return Error(ExitCode::kOk, "");
}

TEST(Trainer, LossFallsAndTheCheckpointIsAModelThatOpens) {
  const TinyRun run;
  const std::string folder = RunWhole(run, "run", {"schedule.steps=40", "schedule.decay_steps=10"});
  const RunLog log = ReadRunLog(folder);
  ASSERT_EQ(log.steps.size(), 40u);
  EXPECT_NEAR(log.steps[0].loss, std::log(264.0), 0.5) << "an untrained model knows nothing";
  EXPECT_LT(log.steps.back().loss, 0.6 * log.steps[0].loss);
  EXPECT_EQ(log.ends.size(), 1u);
  const Pretrained opened =
      OpenPretrained(*CheckpointStore(folder + "/checkpoints", {}).NewestValid());
  EXPECT_NE(opened.tokenizer, nullptr);
  EXPECT_EQ(opened.config.vocab_size, 264u);
}

TEST(Trainer, AStoppedAndResumedRunGivesTheBitsOfAnUninterruptedOne) {
  const TinyRun run;
  for (const char* precision : {"f32", "bf16", "fp8"}) {
    std::vector<std::string> settings = {std::string("precision.mode=") + precision};
    if (settings[0].ends_with("fp8"))  // of the four blocks the two in the middle
      settings.insert(settings.end(), {"precision.fp8_first_bf16=1", "precision.fp8_last_bf16=1"});
    const std::string whole = RunWhole(run, std::string("whole-") + precision, settings);
    const size_t classes = settings.size() > 1 ? 3 : 0;  // weights, activations, gradients
    for (const StepRecord& step : ReadRunLog(whole).steps) {
      ASSERT_EQ(step.fp8.size(), classes);
      for (const Fp8Record& record : step.fp8) EXPECT_GT(record.amax, 0) << record.name;
    }
    TrainOptions options = run.Options(std::string("parts-") + precision);
    for (const uint64_t stop : {5, 10, 0}) {
      options.stop_at_step = stop;
      SetThreadCount(stop % 2 == 0 ? 1 : 2);
      Trainer(run.MakeRecipe(settings), options).Run();
    }
    SetThreadCount(0);
    ExpectSameRun(whole, options.folder);
  }
}

TEST(Trainer, ThreadsAndRecomputationChangeNoBit) {
  const TinyRun run;
  const std::string whole = RunWhole(run, "whole");
  for (const int threads : {1, 2}) {
    SetThreadCount(threads);
    for (const char* policy : {"none", "selective", "full"}) {
      const std::string folder = RunWhole(run, fmt::format("{}-{}", policy, threads),
                                          {std::string("recompute.policy=") + policy});
      ExpectSameRun(whole, folder);
    }
  }
  SetThreadCount(0);
}

TEST(Trainer, WhatFollowsTheLastCheckpointIsComputedAgainAfterAKill) {
  const TinyRun run;
  const std::string whole = RunWhole(run, "whole");
  TrainOptions options = run.Options("killed");
  options.stop_at_step = 8;
  Trainer(run.MakeRecipe(), options).Run();
  // As if it had been killed in step 8: the checkpoints of steps 8 is not there, nor complete.
  const std::string checkpoints = options.folder + "/checkpoints/";
  std::filesystem::rename(checkpoints + "step-00000008", checkpoints + "step-00000008.tmp");
  options.stop_at_step = 0;
  Trainer(run.MakeRecipe(), options).Run();
  ExpectSameRun(whole, options.folder);
}

TEST(Trainer, MicroBatchesOfAnySizeGiveTheGradientOfTheSameMean) {
  const TinyRun run;
  // Masks differ between rows: averages of averages would show.
  const std::vector<std::string> settings = {
      "data.phases=[{datasets=[{path='" + run.dir().path() + "/masked.tok'}]}]",
      "precision.mode=f32", "schedule.steps=1", "schedule.decay_steps=0",
      "schedule.warmup_steps=0"};
  std::vector<StepRecord> steps;
  for (const int micro : {1, 2, 3, 6}) {
    std::vector<std::string> all = settings;
    all.push_back(fmt::format("batch.micro_samples={}", micro));
    steps.push_back(ReadRunLog(RunWhole(run, fmt::format("micro-{}", micro), all)).steps.at(0));
    EXPECT_NEAR(steps.back().loss, steps[0].loss, 1e-6 * steps[0].loss) << micro;
    EXPECT_NEAR(steps.back().grad_norm, steps[0].grad_norm, 1e-5 * steps[0].grad_norm) << micro;
  }
  EXPECT_LT(steps[0].datasets.at(0).tokens, 100u) << "masked targets do not count";
}

// Puts a NaN into the gradient of the last parameter in the given steps.
auto NanIn(std::vector<uint64_t> steps, int attempts) {
  return [=](uint64_t step, int attempt, FlatParams* params) {
    if (attempt >= attempts || std::find(steps.begin(), steps.end(), step) == steps.end()) return;
    (*params->entries().back().grad)[0] = std::numeric_limits<float>::quiet_NaN();
  };
}

TEST(Trainer, AStepThatIsNotFiniteIsSkippedAndItsBatchWrittenDown) {
  const TinyRun run;
  TrainOptions options = run.Options("run");
  options.on_gradients = NanIn({4}, 2);
  Trainer trainer(run.MakeRecipe(), options);
  EXPECT_EQ(trainer.Run(), TrainEnd::kFinished);
  EXPECT_EQ(trainer.state().skipped_steps, 1u);
  EXPECT_EQ(trainer.state().schedule_samples, trainer.state().samples - 6);
  EXPECT_TRUE(FileExists(options.folder + "/skipped/step-4.json"));
  const RunLog log = ReadRunLog(options.folder);
  ASSERT_FALSE(log.events.empty());
  bool is_told = false;
  for (const EventRecord& event : log.events)
    is_told |= event.event == "skip" && event.message.find("lm_head") != std::string::npos;
  EXPECT_TRUE(is_told) << "the first offending tensor is named";
  for (const StepRecord& step : log.steps) EXPECT_TRUE(std::isfinite(step.param_norm));
}

TEST(Trainer, AStepThatGivesOtherBitsTheSecondTimeIsAMismatch) {
  const TinyRun run;
  TrainOptions options = run.Options("run");
  options.on_gradients = NanIn({4}, 1);  // the first computation only
  Trainer trainer(run.MakeRecipe(), options);
  EXPECT_EQ(ErrorOf([&] { trainer.Run(); }).code(), ExitCode::kMismatch);
}

TEST(Trainer, ThreeStepsInARowThatAreNotFiniteEndTheRunWithACheckpoint) {
  const TinyRun run;
  TrainOptions options = run.Options("run");
  options.on_gradients = NanIn({4, 5, 6}, 2);
  Trainer trainer(run.MakeRecipe(), options);
  EXPECT_EQ(ErrorOf([&] { trainer.Run(); }).code(), ExitCode::kNonFinite);
  const RunBits bits = BitsOf(options.folder);
  EXPECT_EQ(bits.state.step, 7u);
  EXPECT_EQ(bits.state.skipped_steps, 3u);
}

TEST(Trainer, AFullDiskDuringACheckpointKeepsTheLastGoodOneAndTheRunGoesOn) {
  const TinyRun run;
  const std::string whole = RunWhole(run, "whole");
  TrainOptions options = run.Options("run");
  options.on_gradients = [&](uint64_t step, int, FlatParams*) {
    // Step 5, after which a checkpoint is due, cannot save; later ones can. The log needs no fsync.
    SetFaultHook(step == 5 ? [](std::string_view call) { return call == "fsync" ? ENOSPC : 0; }
                           : FaultHook());
  };
  Trainer(run.MakeRecipe(), options).Run();
  SetFaultHook(nullptr);
  const RunBits a = BitsOf(whole), b = BitsOf(options.folder);
  EXPECT_EQ(a.masters, b.masters);
  bool is_told = false;
  for (const EventRecord& event : ReadRunLog(options.folder).events)
    is_told |= event.event == "save failed";
  EXPECT_TRUE(is_told);
}

TEST(Trainer, SavesThatFailThreeTimesInARowEndTheRunWithTheLastGoodCheckpointInPlace) {
  const TinyRun run;
  TrainOptions options = run.Options("run");
  options.on_gradients = [&](uint64_t step, int, FlatParams*) {
    SetFaultHook(step >= 3 ? [](std::string_view call) { return call == "fsync" ? EIO : 0; }
                           : FaultHook());
  };
  Trainer trainer(run.MakeRecipe(), options);
  EXPECT_EQ(ErrorOf([&] { trainer.Run(); }).code(), ExitCode::kFailure);
  SetFaultHook(nullptr);
  EXPECT_EQ(BitsOf(options.folder).state.step, 3u);
}

TEST(Trainer, WhatMayNotChangeIsRefusedWhenARunResumes) {
  const TinyRun run;
  TrainOptions options = run.Options("run");
  options.stop_at_step = 3;
  Trainer(run.MakeRecipe(), options).Run();
  const auto message = [&](const std::vector<std::string>& settings) {
    const Error error = ErrorOf([&] { Trainer(run.MakeRecipe(settings), options); });
    EXPECT_EQ(error.code(), ExitCode::kUsage);
    return std::string(error.what()) + " / " + error.hint();
  };
  EXPECT_NE(message({"schedule.lr=0.02"}).find("schedule.lr is 0.02, was 0.01"), std::string::npos);
  EXPECT_NE(message({"seed=3"}).find("seed is 3"), std::string::npos);
  const std::string other_data =
      "data.phases=[{datasets=[{path='" + run.dir().path() + "/b.tok'}]}]";
  EXPECT_NE(message({other_data}).find("--rebase-data"), std::string::npos);
  // The same path with other contents.
  const Pretrained model = DescribeForTraining({.config = run.dir() / "config.json"});
  testing::WriteTokens(run.dir() / "b.tok", model, 77, 20);
  EXPECT_NE(message({}).find("other data"), std::string::npos);
  options.rebase_data = true;
  EXPECT_EQ(Trainer(run.MakeRecipe({other_data}), options).state().step, 3u);
  // What only watches may change.
  testing::WriteTokens(run.dir() / "b.tok", model, 2, 20);
  options.rebase_data = false;
  EXPECT_EQ(
      Trainer(run.MakeRecipe({"log.every_steps=2", "recompute.policy=full", "name=x"}), options)
          .state()
          .step,
      3u);
  options.resume = "never";
  EXPECT_NE(message({}).find("holds checkpoints"), std::string::npos);
}

TEST(Trainer, AFolderInUseIsRefused) {
  const TinyRun run;
  const Trainer first(run.MakeRecipe(), run.Options("run"));
  EXPECT_EQ(ErrorOf([&] { Trainer(run.MakeRecipe(), run.Options("run")); }).code(),
            ExitCode::kLocked);
}

TEST(Trainer, ABranchDecaysFromTheCheckpointToTheLeastRate) {
  const TinyRun run;
  TrainOptions options = run.Options("stable");
  options.stop_at_step = 6;
  Trainer(run.MakeRecipe(), options).Run();
  TrainOptions branch = run.Options("branch");
  branch.branch_from = options.folder + "/checkpoints/step-00000006";
  const std::vector<std::string> settings = {"schedule.decay_steps=3",
                                             "schedule.decay_shape=linear"};
  {
    Trainer trainer(run.MakeRecipe(settings), branch);
    EXPECT_EQ(trainer.state().step, 6u);
    EXPECT_EQ(trainer.Run(), TrainEnd::kFinished);
  }
  const RunLog log = ReadRunLog(branch.folder);
  ASSERT_EQ(log.steps.size(), 3u);
  EXPECT_DOUBLE_EQ(log.steps[0].lr, 0.01);
  EXPECT_DOUBLE_EQ(log.steps[1].lr, 0.01 * 2 / 3);
  EXPECT_DOUBLE_EQ(log.steps[2].lr, 0.01 * 1 / 3);
  // Resumed in its own folder it is at its end.
  EXPECT_EQ(Trainer(run.MakeRecipe(settings), branch).Run(), TrainEnd::kFinished);
}

TEST(Trainer, BadDataIsRefusedBeforeWorkBegins) {
  const TinyRun run;
  const auto fails = [&](const std::vector<std::string>& settings, const std::string& word,
                         ExitCode code) {
    const Error error = ErrorOf([&] { Trainer(run.MakeRecipe(settings), run.Options("run")); });
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
  };
  const auto data = [&](const std::string& name) {
    return "data.phases=[{datasets=[{path='" + run.dir().path() + "/" + name + "'}]}]";
  };
  fails({data("absent.tok")}, "absent.tok", ExitCode::kBadFile);
  WriteFile(run.dir() / "text.tok", "this is no token file, but a text of some length, honestly");
  fails({data("text.tok")}, "text.tok", ExitCode::kBadFile);
  TokenFileWriter(run.dir() / "empty.tok",
                  {.vocab_size = 264, .tokenizer_hash = std::string(64, '0')})
      .Commit();
  fails({data("empty.tok")}, "empty.tok", ExitCode::kBadFile);
  {
    TokenFileWriter writer(run.dir() / "other.tok",
                           {.vocab_size = 264, .tokenizer_hash = std::string(64, '1')});
    writer.Append(std::vector<TokenId>(100, 5), 100);
    writer.Commit();
  }
  fails({data("other.tok")}, "tokenizer", ExitCode::kBadFile);
  const Pretrained model = DescribeForTraining({.config = run.dir() / "config.json"});
  {
    TokenFileWriter writer(run.dir() / "large.tok",
                           {.vocab_size = 4000, .tokenizer_hash = TokenizerHash(*model.tokenizer)});
    writer.Append(std::vector<TokenId>(100, 3999), 100);
    writer.Commit();
  }
  fails({data("large.tok")}, "3999", ExitCode::kBadFile);
  fails({"model.config=nano-9b-v3"}, "nano-9b-v3", ExitCode::kUsage);
  fails({"optimizer.groups=[{match='*.nothing', lr_scale=2.0}]"}, "nothing", ExitCode::kUsage);
  fails({"data.max_epochs=0.5"}, "may give", ExitCode::kUsage);
}

TEST(Trainer, APlanBeyondTheMemoryNamesTheSmallestChangeThatFits) {
  const TinyRun run;
  const Recipe recipe = run.MakeRecipe(
      {"batch.micro_samples=6", "batch.tokens=3072", "batch.seq_len=512", "recompute.policy=none"});
  const Pretrained model = DescribeForTraining(recipe.model);
  const auto bytes = [&](const std::vector<std::string>& settings) {
    std::vector<std::string> all = {"batch.micro_samples=6", "batch.tokens=3072",
                                    "batch.seq_len=512", "recompute.policy=none"};
    all.insert(all.end(), settings.begin(), settings.end());
    return PlanTraining(model.config, PlanRequestOf(run.MakeRecipe(all), model)).total();
  };
  const auto hint = [&](uint64_t limit) {
    return ErrorOf([&] { CheckTrainMemory(model, recipe, limit); }).hint();
  };
  EXPECT_EQ(hint(bytes({}) - 1), "--set batch.micro_samples=3");
  // What is named does fit, however much is missing.
  for (const uint64_t limit : {bytes({}) - 1, bytes({"batch.micro_samples=3"}) - 1,
                               bytes({"recompute.policy=full", "batch.micro_samples=1"})}) {
    std::vector<std::string> changes;
    const std::string text = hint(limit) + " ";
    for (size_t at = 0; (at = text.find("--set ", at)) != std::string::npos; at += 6)
      changes.push_back(text.substr(at + 6, text.find(' ', at + 6) - at - 6));
    ASSERT_FALSE(changes.empty()) << text;
    EXPECT_LE(bytes(changes), limit) << text;
  }
  EXPECT_NE(hint(1 << 18).find("million parameters"), std::string::npos);
  CheckTrainMemory(model, recipe, bytes({}));
}

TEST(Trainer, ValidationAndTextsAreWrittenOnTheWay) {
  const TinyRun run;
  const std::string folder =
      RunWhole(run, "run",
               {"eval.datasets=[{path='" + run.dir().path() + "/b.tok', name='held out'}]",
                "eval.every_steps=5", "sample.prompts=['the ']", "sample.every_steps=6",
                "sample.max_new_tokens=8"});
  const RunLog log = ReadRunLog(folder);
  ASSERT_EQ(log.evals.size(), 3u) << "steps 5, 10 and the end";
  EXPECT_EQ(log.evals[0].name, "held out");
  // A byte is a token here; of a document the EOS costs too, but not the first byte, which nothing predicts.
  EXPECT_DOUBLE_EQ(log.evals[0].bits_per_byte, log.evals[0].loss / std::log(2.0));
  EXPECT_LT(log.evals[2].loss, log.evals[0].loss);
  ASSERT_EQ(log.samples.size(), 2u);
  EXPECT_TRUE(log.samples[0].text.size() > 0);
}

}  // namespace
}  // namespace planish
