// SPDX-License-Identifier: Apache-2.0
// The training loop. A run is a pure function of recipe and data: threads, ranks, kills and resumes change no bit of weights,
// optimizer or logged losses. trainer.cc holds the loop, trainer_failures.cc steps that are not finite, trainer_checkpoints.cc
// saving and resuming.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/loader.h"
#include "model/pretrained.h"
#include "train/checkpoint.h"
#include "train/comm.h"
#include "train/distiller.h"
#include "train/gradient_sum.h"
#include "train/micro_pass.h"
#include "train/optimizer.h"
#include "train/recipe.h"
#include "train/run_folder.h"
#include "train/schedule.h"
#include "train/train_plan.h"
#include "train/train_report.h"
#include "train/validation.h"

namespace planish {

struct TrainOptions {
  std::string command = "pretrain";  // for logs and the progress line
  std::string version;
  std::string folder;  // of the run
  std::string resume =
      "auto";                 // the folder's newest good checkpoint | "never" | a checkpoint's path
  std::string branch_from;    // a checkpoint of a stable phase: decay from there
  bool rebase_data = false;   // go on with other data than the checkpoint's
  uint64_t stop_at_step = 0;  // 0: at the schedule's end
  uint64_t memory_limit = 0;  // bytes; 0: what this process may take
  Comm* comm = nullptr;       // null: this process is alone
  std::function<bool()> is_stop_asked;  // asked after every step; the run then saves and ends
  // For tests: may change a leaf's gradients (FlatParams::Entry::grad) before they join the sum.
  std::function<void(uint64_t step, int attempt, FlatParams* params)> on_gradients;
};

enum class TrainEnd { kFinished, kStopped };  // kStopped: by request, or at stop_at_step

class Trainer {
 public:
  // Opens everything, refuses what is wrong, and takes the state of a checkpoint if there is one to go on from.
  // Errors: kUsage, kBadFile, kNoMemory, kLocked.
  Trainer(const Recipe& recipe, const TrainOptions& options);
  ~Trainer();

  // Until the end of the run, or until it is stopped; saves then. Error(kNonFinite) after three steps in a row that are not
  // finite, Error(kMismatch) if a step gives other bits the second time, Error(kFailure) after three failed saves in a row.
  TrainEnd Run();

  const TrainState& state() const { return state_; }
  const Pretrained& model() const { return model_; }
  const Loader& loader() const { return *loader_; }

 private:
  struct Step {
    uint64_t first_sample = 0, samples = 0;
    MicroResult sums;  // of all micro-batches
    StepTimes times;
    const float* gradients = nullptr;  // of the sum of losses, this rank's part of the flat space
    std::vector<double> squares;       // of all chunks
    double norm = 0;                   // of the gradient of the mean
    double lr = 0;
    bool is_finite = true;
    bool has_teacher = false;
    double loss() const;  // of what is learnt, mean over kept targets; 0 without any
  };

  // trainer_setup.cc
  void OpenModel();
  void OpenReport();
  std::vector<Param> OtherParams() const;  // trained beside the model

  void CheckRanks();

  // A leaf's rows; of an on-policy distillation some with the student's own answers.
  TokenBatch Rows(uint64_t sample, size_t count, StepTimes* times) const;
  bool AtEnd() const;
  bool IsStopAsked();
  Step ComputeGradients(int attempt);
  void Update(Step* step);
  void Advance(const Step& step, bool is_applied);
  void Report(const Step& step);
  void AfterStep();
  void Evaluate();
  void WriteTextSamples();
  TrainEnd Finish();
  // A line of the log, and a message.
  void Tell(const std::string& event, const std::string& message, bool is_warning = false);

  // trainer_failures.cc
  uint64_t HashOf(const Step& step) const;
  void SkipNonFinite(const Step& step);
  std::string DumpBatch(const Step& step) const;

  // trainer_checkpoints.cc
  void Resume();
  void TakeState(const std::string& checkpoint, const TrainState& saved);
  std::string ModelHash() const;
  void CheckResumable(const std::string& checkpoint, const TrainState& saved) const;
  void Branch(const std::string& checkpoint);
  enum class SaveKind { kOnTheWay, kLast };
  void Save(SaveKind kind);
  void SaveOfRanks();
  void CountSaveFailure(const Error& error, SaveKind kind);
  TrainState StateToSave() const;

  Recipe recipe_;
  TrainOptions options_;
  std::unique_ptr<Comm> local_comm_;
  Comm* comm_;
  std::unique_ptr<RunFolder> folder_;
  Pretrained model_;
  std::unique_ptr<Loader> loader_;
  std::optional<AdapterConfig> adapter_;  // of a run that trains adapters only
  std::unique_ptr<FlatParams> flat_;
  std::unique_ptr<GradientSum> sum_;
  size_t sum_leaves_ = 0;  // it was made for
  std::unique_ptr<Optimizer> optimizer_;
  Schedule schedule_;
  TrainPlan plan_;
  std::unique_ptr<Distiller> distiller_;  // of a run that learns from a teacher
  std::unique_ptr<MicroPass> pass_;
  std::vector<ValidationSet> validation_;
  std::vector<std::string> dataset_names_;
  std::unique_ptr<CheckpointStore> checkpoints_;
  std::unique_ptr<TrainReport> report_;  // of rank 0
  TrainState state_;
  uint64_t skipped_in_row_ = 0;
  uint64_t saved_step_ = 0;     // of the last checkpoint
  uint64_t save_failures_ = 0;  // in a row
};

}  // namespace planish
