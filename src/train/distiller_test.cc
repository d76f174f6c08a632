// SPDX-License-Identifier: Apache-2.0
// Runs that learn from a teacher: online, cached, with residual streams; the promises of the trainer hold for them too.
#include "train/distiller.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/parallel.h"
#include "model/export.h"
#include "tensor/safetensors.h"
#include "train/comm_testing.h"
#include "train/distill_recipe.h"
#include "train/distill_testing.h"

namespace planish {
namespace {

using testing::DistilledOf;
using testing::DistillRun;
using testing::ErrorOf;
using testing::ExpectSameRun;

TEST(Distiller, AStudentThatIsItsTeacherHasNothingToLearn) {
  const DistillRun run;
  for (const char* precision : {"f32", "bf16"}) {
    const std::string folder = run.Run(
        std::string("same-") + precision,
        run.MakeSame({std::string("precision.mode=") + precision,
                      std::string("distill.teacher_act=") + precision, "optimizer.weight_decay=0.0",
                      "schedule.steps=2", "schedule.warmup_steps=0", "schedule.decay_steps=0"}));
    for (const StepRecord& step : ReadRunLog(folder).steps) {
      EXPECT_EQ(step.distill->kl, 0) << precision;
      EXPECT_EQ(step.distill->agreement, 1) << precision;
      EXPECT_EQ(step.grad_norm, 0) << precision;
    }
  }
}

TEST(Distiller, AnIntegerTeacherIsNearTheExactOne) {
  const DistillRun run;
  const std::string folder = run.Run(
      "int8", run.MakeSame({"precision.mode=f32", "distill.teacher_act=int8", "schedule.steps=1",
                            "schedule.warmup_steps=0", "schedule.decay_steps=0"}));
  const StepRecord step = ReadRunLog(folder).steps.at(0);
  EXPECT_GT(step.distill->kl, 0) << "codes of 8 bits are not exact";
  EXPECT_LT(step.distill->kl, 0.02) << "nats; a random student is 2 away";
  EXPECT_GT(step.distill->agreement, 0.9);
}

TEST(Distiller, TheStudentComesNearerToItsTeacher) {
  const DistillRun run;
  for (const char* kind : {"forward_kl", "reverse_kl", "mixed"}) {
    const std::string folder =
        run.Run(kind, run.MakeDistill({std::string("distill.kind=") + kind, "distill.alpha=0.1",
                                       "distill.hidden_weight=0.5", "schedule.steps=30",
                                       "checkpoint.every_steps=0",
                                       "eval.datasets=[{path='" + run.dir().path() + "/b.tok'}]",
                                       "eval.every_steps=30"}));
    const RunLog log = ReadRunLog(folder);
    const StepRecord &first = log.steps.front(), &last = log.steps.back();
    EXPECT_LT(last.distill->kl, 0.3 * first.distill->kl) << kind;
    EXPECT_GT(last.distill->agreement, first.distill->agreement) << kind;
    EXPECT_LT(last.distill->hidden, first.distill->hidden) << kind;
    EXPECT_LT(last.distill->ce, first.distill->ce) << kind;
    ASSERT_EQ(log.evals.size(), 1u);
    EXPECT_GT(log.evals[0].kl, 0);
    EXPECT_LT(log.evals[0].kl, 0.5 * first.distill->kl);
  }
}

TEST(Distiller, StopsThreadsAndRecomputationChangeNoBit) {
  const DistillRun run;
  const std::vector<std::string> settings = {"distill.kind=mixed",
                                             "distill.temperature=1.5",
                                             "distill.alpha=0.25",
                                             "distill.hidden_weight=0.3",
                                             "distill.hidden_blocks=['1:1','3:3','2:0']",
                                             "schedule.steps=8",
                                             "schedule.decay_steps=2"};
  const std::string whole = run.Run("whole", run.MakeDistill(settings));
  TrainOptions options = run.Options("parts");
  for (const uint64_t stop : {5, 7, 0}) {
    options.stop_at_step = stop;
    SetThreadCount(stop == 5 ? 2 : 1);
    Trainer(run.MakeDistill(settings), options).Run();
  }
  ExpectSameRun(whole, options.folder);
  for (const char* policy : {"none", "full"}) {
    std::vector<std::string> other = settings;
    other.push_back(std::string("recompute.policy=") + policy);
    if (policy == std::string("full")) other.push_back("recompute.every=2");
    ExpectSameRun(whole, run.Run(policy, run.MakeDistill(other)));
  }
}

TEST(Distiller, TwoRanksGiveTheBitsOfOne) {
  const DistillRun run;
  const std::vector<std::string> settings = {"batch.tokens=192", "schedule.steps=4",
                                             "schedule.decay_steps=1", "checkpoint.every_steps=0",
                                             "distill.hidden_weight=0.3"};
  const std::string one = run.Run("one", run.MakeDistill(settings));
  RunRanks(2, [&](Comm& comm) {
    SetThreadCount(1);
    TrainOptions options = run.Options("two");
    options.comm = &comm;
    Trainer(run.MakeDistill(settings), options).Run();
  });
  const std::string two = run.Options("two").folder;
  const auto masters = [](const std::string& folder) {
    const auto newest = CheckpointStore(folder + "/checkpoints", {}).NewestValid();
    return Sha256HexOfFile(newest.value() + "/master.safetensors");
  };
  EXPECT_EQ(masters(one), masters(two));
  EXPECT_EQ(DistilledOf(one), DistilledOf(two));
}

// Central differences of the whole loss, divergence and streams, along its own gradient. The step keeps the cubic term and
// rounding (2^-24 of a loss of some nats over it) at 1e-3 of the slope. A narrower student's streams go through a projector,
// whose matrix is part of the direction.
TEST(Distiller, GradientOfTheModelIsThatOfTheWholeLoss) {
  const DistillRun run;
  DistillSection section;
  section.teacher = run.teacher();
  section.teacher_act = TeacherAct::kF32;
  section.hidden_weight = 3;
  for (const bool is_narrow : {false, true}) {
    Pretrained student =
        OpenForTraining({.config = is_narrow ? run.narrow() : run.dir() / "config.json"}, 5);
    Distiller distiller(section, student, "", 0, /*seed=*/1);
    EXPECT_EQ(distiller.OwnParams().size(), is_narrow ? 1u : 0u);
    FlatParams flat(student.model.get(), nullptr, distiller.OwnParams());
    const std::unique_ptr<Comm> comm = MakeLocalComm();
    GradientSum sum(&flat, comm.get(), 1);
    MicroPass pass(student.model.get(), {.precision = Precision::kF32}, 2, 0, &distiller);
    const Recipe recipe = run.MakeRecipe();
    const Loader loader = OpenLoader(recipe, DescribeForTraining(recipe.model));
    const TokenBatch batch = loader.Micro(0, 3);
    StepTimes times;
    const float* gradients = nullptr;
    const auto loss = [&] {
      sum.BeginLeaf();
      const MicroResult result = pass.Train(batch, &times);
      sum.EndLeaf();
      gradients = sum.Finish();
      return result.loss;
    };
    const LossSums before = loss();
    EXPECT_NEAR(before.distill.objective, before.distill.forward + 3 * before.distill.hidden,
                1e-9 * before.distill.objective);
    EXPECT_GT(before.distill.hidden, 0.1);
    const std::vector<float> direction(gradients, gradients + flat.size());
    double slope = 0;
    for (const float g : direction) slope += static_cast<double>(g) * static_cast<double>(g);
    if (is_narrow) {
      const FlatParams::Entry& projector = flat.entries().back();
      EXPECT_EQ(projector.name, "distill.projector.weight");
      double own = 0;
      for (size_t i = 0; i < projector.elements; ++i)
        own += std::abs(static_cast<double>(direction[projector.offset + i]));
      EXPECT_GT(own, 0.1);
    }
    const auto step = static_cast<float>(2e-3 / std::sqrt(slope));
    double ends[2];
    std::vector<std::vector<float>> values;
    for (const FlatParams::Entry& entry : flat.entries())
      values.emplace_back(entry.value, entry.value + entry.elements);
    for (const int side : {0, 1}) {
      for (size_t e = 0; e < flat.entries().size(); ++e) {
        const FlatParams::Entry& entry = flat.entries()[e];
        for (size_t i = 0; i < entry.elements; ++i)
          entry.value[i] = values[e][i] + (side == 1 ? step : -step) * direction[entry.offset + i];
      }
      flat.ValuesChanged();
      ends[side] = loss().distill.objective;
    }
    EXPECT_NEAR((ends[1] - ends[0]) / (2 * static_cast<double>(step)), slope, 1e-2 * slope)
        << is_narrow;
  }
}

TEST(Distiller, ACacheOfAllIdsIsTheTeacherItself) {
  const DistillRun run;
  const std::vector<std::string> settings = {"precision.mode=f32", "distill.teacher_act=f32",
                                             "schedule.steps=3", "schedule.decay_steps=0"};
  const std::string online = run.Run("online", run.MakeDistill(settings));
  const std::string cache = run.dir() / "teacher.cache";
  std::vector<std::string> all = settings;
  all.push_back("distill.top_k=264");
  const CacheReport report = CacheTeacher(run.MakeDistill(all), cache, nullptr);
  EXPECT_TRUE(report.is_complete);
  EXPECT_EQ(report.samples, 18u);
  EXPECT_EQ(report.mean_rest, 0);
  EXPECT_NEAR(report.full_kl, report.cached_kl, 0x1p-11 * 10) << "f16 of log-probabilities";
  all = {"precision.mode=f32", "schedule.steps=3", "schedule.decay_steps=0",
         "distill.cache='" + cache + "'"};
  const std::string cached = run.Run("cached", run.MakeRecipe(all));
  const RunLog a = ReadRunLog(online), b = ReadRunLog(cached);
  ASSERT_EQ(a.steps.size(), b.steps.size());
  for (size_t i = 0; i < a.steps.size(); ++i) {
    // Log-probabilities of up to 16 are off by half an ulp of f16, at most 2^-8.
    EXPECT_NEAR(a.steps[i].distill->kl, b.steps[i].distill->kl, 0x1p-8) << i;
    EXPECT_NEAR(a.steps[i].distill->agreement, b.steps[i].distill->agreement, 0.02);
    EXPECT_NEAR(a.steps[i].distill->ce, b.steps[i].distill->ce, 0x1p-8);
  }
}

TEST(Distiller, FewIdsOfATeacherTeachToo) {
  const DistillRun run;
  const std::string cache = run.dir() / "few.cache";
  const CacheReport report =
      CacheTeacher(run.MakeDistill({"distill.top_k=4", "schedule.steps=30"}), cache, nullptr);
  EXPECT_GT(report.mean_rest, 0);
  EXPECT_GE(report.full_kl, report.cached_kl) << "a bucket hides differences inside it";
  const std::string folder =
      run.Run("few", run.MakeRecipe({"distill.cache='" + cache + "'", "schedule.steps=30",
                                     "eval.datasets=[{path='" + run.dir().path() + "/b.tok'}]",
                                     "eval.every_steps=30"}));
  const RunLog log = ReadRunLog(folder);
  EXPECT_LT(log.steps.back().distill->kl, 0.3 * log.steps.front().distill->kl);
  ASSERT_EQ(log.evals.size(), 1u);
  EXPECT_EQ(log.evals[0].kl, 0) << "a cache knows no held-out rows";
}

TEST(Distiller, ACacheGoesOnAfterAStopAndRefusesOtherData) {
  const DistillRun run;
  const std::string whole = run.dir() / "whole.cache", parts = run.dir() / "parts.cache";
  const Recipe recipe = run.MakeDistill({"distill.top_k=7", "schedule.steps=12"});
  CacheTeacher(recipe, whole, nullptr);
  size_t asked = 0;
  EXPECT_FALSE(CacheTeacher(recipe, parts, [&] { return ++asked > 20; }).is_complete);
  EXPECT_FALSE(FileExists(parts));
  // A kill in the middle of a write.
  const std::string part = parts + ".part", text = ReadFile(part, 1 << 24);
  WriteFile(part, text.substr(0, text.size() - 5));
  EXPECT_TRUE(CacheTeacher(recipe, parts, nullptr).is_complete);
  EXPECT_FALSE(FileExists(part));
  EXPECT_EQ(ReadFile(whole, 1 << 24), ReadFile(parts, 1 << 24));

  const auto message = [&](const std::vector<std::string>& settings, const std::string& path) {
    std::vector<std::string> all = {"distill.cache='" + path + "'"};
    all.insert(all.end(), settings.begin(), settings.end());
    const Error error =
        ErrorOf([&] { Trainer(run.MakeRecipe(all), run.Options("refused")).Run(); });
    EXPECT_EQ(error.code(), ExitCode::kBadFile) << error.what();
    return std::string(error.what());
  };
  EXPECT_NE(message({"seed=4"}, whole).find("other data"), std::string::npos);
  EXPECT_NE(message({"distill.temperature=2"}, whole).find("temperature 1"), std::string::npos);
  const std::string content = ReadFile(whole, 1 << 24), bad = run.dir() / "bad.cache";
  for (const size_t length : {size_t{0}, size_t{100}, size_t{192}, content.size() - 1}) {
    WriteFile(bad, content.substr(0, length));
    message({}, bad);
  }
  WriteFile(bad, content + "x");
  EXPECT_NE(message({}, bad).find("cut or grown"), std::string::npos);
  for (const size_t place :
       {size_t{12}, size_t{130}, size_t{192}, size_t{230}, content.size() - 1}) {
    std::string flipped = content;
    flipped[place] = static_cast<char>(flipped[place] ^ 0x20);
    WriteFile(bad, flipped);
    message({}, bad);
  }
}

TEST(Distiller, WhatDoesNotFitTogetherIsRefused) {
  const DistillRun run;
  const auto refused = [&](const Recipe& recipe) {
    return ErrorOf([&] { Trainer(recipe, run.Options("refused")); });
  };
  // A teacher of another vocabulary.
  const std::string other = run.dir() / "other.json";
  std::string config = testing::kTinyConfig;
  config.replace(config.find("264"), 3, "300");
  WriteFile(other, config);
  const TrainOptions options = run.Options("other");
  Pretrained made = OpenForTraining({.config = other}, 1);
  ExportHf(&made, run.dir() / "wide", DType::kBF16, uint64_t{1} << 30, {});
  const Error error = refused(run.MakeRecipe({"distill.teacher='" + (run.dir() / "wide") + "'"}));
  EXPECT_EQ(error.code(), ExitCode::kBadFile);
  EXPECT_NE(std::string(error.what()).find("300"), std::string::npos) << error.what();
  EXPECT_EQ(refused(run.MakeRecipe({"distill.teacher='" + (run.dir() / "absent") + "'"})).code(),
            ExitCode::kBadFile);
  EXPECT_EQ(
      refused(run.MakeDistill({"distill.hidden_weight=1", "distill.hidden_blocks=['1:9']"})).code(),
      ExitCode::kUsage);
  for (const std::vector<std::string>& settings :
       {std::vector<std::string>{"distill.cache='x'"},
        {"distill.hidden_blocks=['1:1']"},
        {"distill.teacher_act=int8", "distill.hidden_weight=1"},
        {"distill.on_policy=0.5", "distill.alpha=0.1"},
        {"distill.on_policy_prompt=3"},
        {"distill.on_policy=2"},
        {"optimizer.z_loss=1e-4"}})
    EXPECT_EQ(ErrorOf([&] { run.MakeDistill(settings); }).code(), ExitCode::kUsage);
  EXPECT_EQ(ErrorOf([&] { run.MakeRecipe({"distill.kind=mixed"}); }).code(), ExitCode::kUsage);

  // Another teacher, arithmetic or loss is not resumed.
  TrainOptions half = run.Options("half");
  half.stop_at_step = 3;
  Trainer(run.MakeDistill(), half).Run();
  EXPECT_NE(std::string(ErrorOf([&] { Trainer(run.MakeRecipe(), half); }).what()).find("teacher"),
            std::string::npos);
  EXPECT_NE(
      std::string(ErrorOf([&] { Trainer(run.MakeDistill({"distill.alpha=0.5"}), half); }).what())
          .find("distill.alpha"),
      std::string::npos);
}

TEST(Distiller, BlocksAreMatchedByDepth) {
  const DistillRun run;
  const ModelConfig teacher = OpenPretrained(run.teacher(), {.needs_weights = false}).config;
  ModelConfig student = teacher;
  DistillSection section;
  EXPECT_TRUE(PairBlocks(section, student, teacher).empty()) << "weight 0";
  section.hidden_weight = 1;
  const auto teachers = [&] {
    std::vector<size_t> blocks;
    for (const BlockPair& pair : PairBlocks(section, student, teacher))
      blocks.push_back(pair.teacher);
    return blocks;
  };
  EXPECT_EQ(teachers(), (std::vector<size_t>{0, 1, 2, 3}));
  student.blocks.resize(2);
  EXPECT_EQ(teachers(), (std::vector<size_t>{1, 3}));
}

// A narrower student's projector is trained and saved with it, and no part of the model that comes out.
TEST(Distiller, AProjectorIsResumedToTheBitAndNotExported) {
  const DistillRun run;
  const std::vector<std::string> settings = {"model.config='" + run.narrow() + "'",
                                             "distill.hidden_weight=0.5", "schedule.steps=24",
                                             "schedule.decay_steps=2", "batch.tokens=192"};
  const std::string whole = run.Run("whole", run.MakeDistill(settings));
  TrainOptions options = run.Options("parts");
  for (const uint64_t stop : {7, 20, 0}) {
    options.stop_at_step = stop;
    SetThreadCount(stop == 20 ? 2 : 1);
    Trainer(run.MakeDistill(settings), options).Run();
  }
  ExpectSameRun(whole, options.folder);
  RunRanks(2, [&](Comm& comm) {
    SetThreadCount(1);
    TrainOptions ranks = run.Options("ranks");
    ranks.comm = &comm;
    Trainer(run.MakeDistill(settings), ranks).Run();
  });
  EXPECT_EQ(DistilledOf(whole), DistilledOf(run.Options("ranks").folder));
  const RunLog log = ReadRunLog(whole);
  EXPECT_LT(log.steps.back().distill->hidden, 0.7 * log.steps.front().distill->hidden);
  EXPECT_LT(log.steps.back().distill->kl, 0.7 * log.steps.front().distill->kl);
  const std::string checkpoint = *CheckpointStore(whole + "/checkpoints", {}).NewestValid();
  const auto has_projector = [&](const char* name) {
    const SafetensorsFile file = ReadSafetensors(checkpoint + "/" + name, FileBytes::Access::kMap);
    return std::any_of(file.tensors.begin(), file.tensors.end(), [](const StoredTensor& tensor) {
      return tensor.name == "distill.projector.weight" && tensor.view.shape == Shape{32, 24};
    });
  };
  EXPECT_TRUE(has_projector("master.safetensors"));
  EXPECT_FALSE(has_projector("model.safetensors"));
  EXPECT_EQ(OpenPretrained(checkpoint).config.hidden_size, 24u);
}

TEST(DistillRecipe, OfAFewValuesIsWholeAndShortRunsStillTakeSteps) {
  const DistillRun run;
  const Recipe recipe = DistillRecipe({.student = run.teacher(),
                                       .teacher = run.teacher(),
                                       .token_file = run.dir() / "a.tok",
                                       .held_out = run.dir() / "b.tok",
                                       .tokens = 1000,
                                       .seq_len = 24});
  EXPECT_EQ(recipe.batch.tokens, 120u);
  EXPECT_EQ(recipe.schedule.steps, 9u);
  const TrainOptions options = run.Options("quick");
  EXPECT_EQ(Trainer(recipe, options).Run(), TrainEnd::kFinished);
  EXPECT_GE(ReadRunLog(options.folder).evals.size(), 2u) << "before and after";
}

}  // namespace
}  // namespace planish
