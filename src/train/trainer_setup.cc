// SPDX-License-Identifier: Apache-2.0
// A trainer's beginning: cheap checks first, memory last.
#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/parallel.h"
#include "kernels/isa.h"
#include "model/planner.h"
#include "train/comm_mpi.h"
#include "train/run_setup.h"
#include "train/train_model.h"
#include "train/trainer.h"

namespace planish {
namespace {

const char* NameOf(Precision precision) {
  static constexpr const char* kNames[] = {"f32", "bf16", "fp8"};
  return kNames[static_cast<size_t>(precision)];
}

}  // namespace

Trainer::Trainer(const Recipe& recipe, const TrainOptions& options)
    : recipe_(recipe),
      options_(options),
      local_comm_(options.comm == nullptr ? MakeLocalComm() : nullptr),
      comm_(options.comm == nullptr ? local_comm_.get() : options.comm) {
  if (comm_->rank() == 0) folder_ = std::make_unique<RunFolder>(options_.folder);
  comm_->Barrier();
  const Pretrained described = DescribeForTraining(recipe_.model);
  if (!recipe_.distill.teacher.empty())
    RequireSameIds(described, DescribeForTraining({.init = recipe_.distill.teacher}));
  CheckTrainMemory(described, recipe_, options_.memory_limit);
  loader_ = std::make_unique<Loader>(OpenLoader(recipe_, described));
  validation_ = OpenValidation(recipe_, described);
  schedule_ = ScheduleOf(recipe_, loader_->TokensBefore(loader_->samples()));
  for (const Dataset& dataset : loader_->datasets()) dataset_names_.push_back(dataset.name);
  checkpoints_ = std::make_unique<CheckpointStore>(
      options_.folder + "/checkpoints",
      CheckpointPolicy{recipe_.checkpoint.keep_last, recipe_.checkpoint.keep_every_steps});
  CheckRanks();
  OpenModel();
  Resume();
  OpenReport();
}

void Trainer::CheckRanks() {
  if (comm_->size() == 1) return;
  RequireEqual(*comm_, "the program", options_.version);
  RequireEqual(*comm_, "the instruction-set level", IsaName());
  RequireEqual(*comm_, "the recipe", Sha256Hex(PrintRecipe(recipe_)));
  RequireEqual(*comm_, "the data", Sha256Hex(DumpJson(loader_->Signature())));
  for (const PhaseEntry& phase : recipe_.data.phases) {
    const uint64_t seq_len = phase.seq_len > 0 ? phase.seq_len : recipe_.batch.seq_len;
    const std::string why = WhyLeavesDoNotDivide(
        recipe_.batch.tokens / seq_len / recipe_.batch.micro_samples, comm_->size());
    if (!why.empty()) throw Error(ExitCode::kUsage, why, "batch.tokens, batch.micro_samples");
  }
}

Trainer::~Trainer() = default;

void Trainer::OpenModel() {
  adapter_ = AdapterOf(recipe_);
  model_ = OpenForTraining(recipe_.model, recipe_.seed,
                           adapter_ ? BaseWeights::kAsStored : BaseWeights::kMasters);
  if (adapter_) AddAdapters(model_.model.get(), *adapter_, recipe_.seed);
  const OptimizerConfig config = OptimizerConfigOf(recipe_);
  const ParamGroups groups(config.weight_decay, config.overrides);
  std::vector<std::string> names;
  model_.model->VisitParams([&](const Param& param) { names.push_back(param.name); });
  groups.CheckAllUsed(names);
  if (recipe_.distill.is_on()) {
    distiller_ = std::make_unique<Distiller>(recipe_.distill, model_, DataHash(*loader_),
                                             loader_->samples(), recipe_.seed);
    RequireEqual(*comm_, "the teacher", distiller_->identity());
  }
  const std::vector<Param> others = OtherParams();
  const auto is_other = [&](const Param& param) {
    return std::any_of(others.begin(), others.end(),
                       [&](const Param& other) { return other.name == param.name; });
  };
  flat_ = std::make_unique<FlatParams>(
      model_.model.get(),
      [&](const Param& param) {
        return !groups.Of(param).is_frozen &&
               (!adapter_ || param.role == ParamRole::kAdapter || is_other(param));
      },
      others);
  if (flat_->elements() == 0) throw UsageError("optimizer.groups freeze every parameter");
  optimizer_ = std::make_unique<Optimizer>(flat_.get(), config,
                                           flat_->RangeOf(comm_->rank(), comm_->size()));
  plan_ = PlanTraining(model_.config, PlanRequestOf(recipe_, model_));
  pass_ =
      std::make_unique<MicroPass>(model_.model.get(), PassSettingsOf(recipe_),
                                  loader_->datasets().size(), plan_.workspace, distiller_.get());
  state_.seed = recipe_.seed;
}

std::vector<Param> Trainer::OtherParams() const {
  return distiller_ == nullptr ? std::vector<Param>() : distiller_->OwnParams();
}

void Trainer::OpenReport() {
  if (comm_->rank() != 0) return;
  WriteFile(folder_->recipe_path(), PrintRecipe(recipe_));
  StartRecord start{.name = recipe_.name,
                    .command = options_.command,
                    .version = options_.version,
                    .isa = IsaName(),
                    .precision = NameOf(recipe_.precision.mode),
                    .threads = static_cast<uint64_t>(ThreadCount()),
                    .ranks = comm_->size(),
                    .parameters = flat_->elements(),
                    .total_tokens = schedule_.total,
                    .recipe = PrintRecipe(recipe_)};
  const uint64_t steps = schedule_.total / recipe_.batch.tokens;
  report_ = std::make_unique<TrainReport>(
      folder_->log_path(), state_.log_offset, std::move(start),
      StepFlopsOf(model_.config, recipe_.lora.rank, recipe_.lora.target_modules),
      recipe_.precision.mode, state_.step, steps);
  LogInfo("{}: {} parameters ({}), {} tokens in {} steps of {}, {}", options_.folder,
          flat_->elements(), DescribeBlocks(model_.config), schedule_.total, steps,
          recipe_.batch.tokens, Describe(plan_));
  if (distiller_ != nullptr) LogInfo("{}: {}", options_.folder, distiller_->Describe());
  if (state_.step > 0) Tell("resume", fmt::format("goes on at sample {}", state_.samples));
}

}  // namespace planish
