// SPDX-License-Identifier: Apache-2.0
#include "cli/demo_compression.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "base/file.h"
#include "cli/data_problems.h"
#include "cli/training_tokens.h"
#include "compress/prune.h"
#include "eval/engine_generator.h"
#include "eval/tasks.h"
#include "train/distill_recipe.h"
#include "train/trainer.h"

namespace planish {
namespace {

constexpr size_t kContext = 1024;  // bounds a reasoning that goes in circles
constexpr uint64_t kSeqLen = 512;
// Of planish-nano (docs/log.md): a pruned model wants half the rate of a new one.
constexpr double kDistillRate = 1.5e-3, kScratchRate = 3e-3;

class ScratchFolder {
 public:
  ScratchFolder()
      : path_((std::filesystem::temp_directory_path() / "planish_demo_XXXXXX").string()) {
    if (mkdtemp(path_.data()) == nullptr)
      throw Error(ExitCode::kFailure, fmt::format("no folder for temporary files: {}", path_),
                  "TMPDIR=FOLDER, or --no-compress");
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

class Shrinker {
 public:
  Shrinker(const ModelOptions& parent, const Pretrained& opened, const ShrinkOptions& options,
           const std::function<void(const ShrunkModel&)>& tell)
      : run_(parent), opened_(opened), options_(options), tell_(tell) {}

  void Run() {
    Tell("parent", opened_, 0, 0);
    MakeText();
    double seconds = Timed([&] { PruneParent(); });
    TellFolder("pruned", pruned_, 0, seconds);
    TrainOne("distilled", kDistillRate, [&](Recipe*) {});
    TrainOne("from scratch", kScratchRate, [&](Recipe* recipe) {
      recipe->distill = {};
      recipe->model = {.config = pruned_};
    });
  }

 private:
  template <class Body>
  static double Timed(const Body& body) {
    const auto start = std::chrono::steady_clock::now();
    body();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  // Problems of the training split, solved aloud and at once; a conversation is some hundred tokens.
  void MakeText() {
    text_ = folder_ / "problems.jsonl";
    WriteProblemData({.output = text_,
                      .kind = "problems",
                      .form = "chat",
                      .mix = "full",
                      .split = "train",
                      .thinking = "both",
                      .seed = options_.seed,
                      .count = 200 + options_.tokens / 100});
    tokens_ = MakeTrainingTokens({text_}, opened_.path, folder_ / "problems.tokens");
  }

  void PruneParent() {
    const Plan plan = MakePlan(opened_.config, {});
    PruneRequest request;
    request.calibration = {
        .inputs = {text_}, .samples = 16, .seq_len = kSeqLen, .seed = options_.seed};
    request.calibration.held_out = 0.2;
    request.score_samples = 4;
    request.budget.parameters =
        static_cast<uint64_t>(options_.keep * static_cast<double>(plan.parameters));
    request.top = 4;
    pruned_ = folder_ / "pruned";
    Prune(opened_, request, pruned_);
  }

  template <class Change>
  void TrainOne(const char* name, double rate, const Change& change) {
    const std::string run = folder_ / name;
    uint64_t tokens = 0;
    const double seconds = Timed([&] {
      Recipe recipe = DistillRecipe({.student = pruned_,
                                     .teacher = opened_.path,
                                     .token_file = tokens_.path,
                                     .tokens = options_.tokens,
                                     .lr = rate,
                                     .seq_len = kSeqLen,
                                     .micro_samples = 8,
                                     .is_packed = tokens_.is_chat,
                                     .seed = options_.seed + 1});
      recipe.checkpoint.every_steps = 0;  // the last one only
      change(&recipe);
      Trainer trainer(recipe, {.command = name, .version = ProgramVersion(), .folder = run});
      trainer.Run();
      tokens = trainer.state().samples * kSeqLen;
    });
    const auto newest = CheckpointStore(run + "/checkpoints", {}).NewestValid();
    PLANISH_CHECK(newest.has_value(), "{} left no checkpoint", run);
    TellFolder(name, *newest, tokens, seconds);
  }

  void TellFolder(const char* name, const std::string& folder, uint64_t tokens, double seconds) {
    ModelOptions options = run_;
    options.model = folder;
    const Pretrained opened = options.Open();
    Tell(name, opened, tokens, seconds);
  }

  void Tell(const char* name, const Pretrained& opened, uint64_t tokens, double seconds) {
    ShrunkModel row{.name = name,
                    .parameters = MakePlan(opened.config, {}).parameters,
                    .tokens = tokens,
                    .seconds = seconds};
    row.bytes = row.parameters * 2;  // as bf16, whatever type the files have
    EngineGenerator generator(
        &opened, {.batch = 64, .context = std::min(kContext, run_.ContextFor(opened.config))});
    const auto task = MakeTask("word-problems");
    const Evaluation evaluation =
        Evaluate(*task, task->Items({.seed = options_.seed, .limit = options_.problems}),
                 {.settings = {{-1}}, .seed = options_.seed}, &generator);
    row.summary = Summarize(evaluation, evaluation.runs[0]);
    tell_(row);
  }

  const ModelOptions& run_;
  const Pretrained& opened_;
  const ShrinkOptions options_;
  const std::function<void(const ShrunkModel&)>& tell_;
  ScratchFolder folder_;
  std::string text_, pruned_;
  TrainingTokens tokens_;
};

}  // namespace

void ShrinkAndRecover(const ModelOptions& parent, const Pretrained& opened,
                      const ShrinkOptions& options,
                      const std::function<void(const ShrunkModel&)>& tell) {
  Shrinker(parent, opened, options, tell).Run();
}

}  // namespace planish
