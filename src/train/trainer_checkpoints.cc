// SPDX-License-Identifier: Apache-2.0
// Saving, and going on from what was saved.
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/memory.h"
#include "kernels/isa.h"
#include "train/run_setup.h"
#include "train/trainer.h"

namespace planish {
namespace {

constexpr uint64_t kMostSaveFailures = 3;  // in a row

Json ToJson(const Schedule& schedule) {
  Json json = Json::MakeObject();
  json.Set("kind", Name(schedule.kind));
  json.Set("max_lr", schedule.max_lr);
  json.Set("min_lr", schedule.min_lr);
  json.Set("init_lr", schedule.init_lr);
  json.Set("warmup", schedule.warmup);
  json.Set("total", schedule.total);
  json.Set("decay", schedule.decay);
  json.Set("shape", Name(schedule.shape));
  return json;
}

Schedule ScheduleFrom(const Json& json, const std::string& where) {
  constexpr int64_t kMany = INT64_MAX;
  const JsonReader reader(json, where, "schedule");
  return {.kind = ScheduleKindFromName(reader.String("kind")),
          .max_lr = reader.Number("max_lr", 0, 1e9),
          .min_lr = reader.Number("min_lr", 0, 1e9),
          .init_lr = reader.Number("init_lr", 0, 1e9),
          .warmup = static_cast<uint64_t>(reader.Int("warmup", 0, kMany)),
          .total = static_cast<uint64_t>(reader.Int("total", 0, kMany)),
          .decay = static_cast<uint64_t>(reader.Int("decay", 0, kMany)),
          .shape = DecayShapeFromName(reader.String("shape"))};
}

}  // namespace

// Of the shape and the teacher, if there is one; beside adapters of the frozen weights too, which no checkpoint holds: by their types and first rows, so that a
// model of any size is told from its neighbours at once.
std::string Trainer::ModelHash() const {
  std::string text = DumpJson(ConfigToJson(model_.config));
  if (adapter_) {
    model_.model->VisitParams([&](const Param& param) {
      if (param.role == ParamRole::kAdapter || param.weight == nullptr) return;
      const Weight& weight = *param.weight;
      text += fmt::format("\n{} {} ", param.name, Name(weight.dtype()));
      text.append(reinterpret_cast<const char*>(weight.data()),
                  BytesOf(weight.dtype(), weight.in()));
    });
  }
  if (distiller_ != nullptr) text += "\nteacher " + distiller_->identity();
  return Sha256Hex(text);
}

TrainState Trainer::StateToSave() const {
  TrainState state = state_;
  state.log_offset = report_ == nullptr ? 0 : report_->log_offset();
  state.ranks = comm_->size();
  state.config_hash = ModelHash();
  state.code_version = options_.version;
  state.isa = IsaName();
  state.recipe = PrintRecipe(recipe_);
  state.schedule = ToJson(schedule_);
  state.schedule.Set("skipped_in_row", skipped_in_row_);
  state.blend = loader_->Signature();
  return state;
}

void Trainer::Save(SaveKind kind) {
  if (state_.step == saved_step_) {
    if (const auto failure = checkpoints_->Wait()) CountSaveFailure(*failure, kind);
    return;
  }
  if (comm_->size() > 1) return SaveOfRanks();
  const CheckpointParts parts{
      .model = &model_,
      .optimizer = optimizer_.get(),
      .adapter = adapter_ ? &*adapter_ : nullptr,
      .others = OtherParams(),
      .state = StateToSave(),
      .description = fmt::format("Step {} of a `planish {}` run.", state_.step, options_.command)};
  if (const auto failure = checkpoints_->Wait()) CountSaveFailure(*failure, SaveKind::kOnTheWay);
  try {
    if (recipe_.checkpoint.async && kind == SaveKind::kOnTheWay) {
      checkpoints_->SaveAsync(parts);
    } else {
      checkpoints_->Save(parts);
      save_failures_ = 0;
    }
    saved_step_ = state_.step;
  } catch (const Error& error) {
    CountSaveFailure(error, kind);
  }
}

// The masters are the same on all ranks and written by rank 0, with its part of the moments; each rank adds its own part.
void Trainer::SaveOfRanks() {
  const bool is_first = comm_->rank() == 0;
  const auto all_succeeded = [&](const std::string& problem) {
    for (const std::string& text : comm_->AllGather(problem))
      if (!text.empty()) return text;
    return std::string();
  };
  std::string temporary, problem;
  try {
    if (is_first) temporary = checkpoints_->Begin(state_.step);
  } catch (const Error& error) {
    problem = error.what();
  }
  temporary = comm_->AllGather(temporary)[0];
  try {
    if (!temporary.empty())
      WriteOptimizerShard(*optimizer_, comm_->rank(), comm_->size(), temporary);
  } catch (const Error& error) {
    problem = error.what();
  }
  problem = all_succeeded(problem);
  if (problem.empty() && is_first) {
    try {
      checkpoints_->Commit(temporary, {.model = &model_,
                                       .adapter = adapter_ ? &*adapter_ : nullptr,
                                       .others = OtherParams(),
                                       .state = StateToSave()});
    } catch (const Error& error) {
      problem = error.what();
    }
  } else if (is_first && !temporary.empty()) {
    checkpoints_->Discard(temporary);
  }
  problem = all_succeeded(problem);
  if (!problem.empty()) return CountSaveFailure(RuntimeError("{}", problem), SaveKind::kOnTheWay);
  saved_step_ = state_.step;
  save_failures_ = 0;
}

void Trainer::CountSaveFailure(const Error& error, SaveKind kind) {
  saved_step_ = 0;
  ++save_failures_;
  if (kind == SaveKind::kLast || save_failures_ >= kMostSaveFailures) throw error;
  Tell("save failed", fmt::format("checkpoint not saved ({}); the run goes on", error.what()),
       /*is_warning=*/true);
}

void Trainer::Resume() {
  const bool is_named = options_.resume != "auto" && options_.resume != "never";
  const std::optional<std::string> newest = checkpoints_->NewestValid();
  if (options_.resume == "never" && newest)
    throw Error(ExitCode::kUsage,
                fmt::format("{} holds checkpoints of an earlier run", Quoted(options_.folder, 300)),
                "--resume auto, or another -o");
  const std::string checkpoint = is_named ? options_.resume : newest.value_or("");
  if (!checkpoint.empty()) {
    const TrainState saved = VerifyCheckpoint(checkpoint);
    CheckResumable(checkpoint, saved);
    TakeState(checkpoint, saved);
    schedule_ = ScheduleFrom(saved.schedule, checkpoint + "/state.json");
  } else if (!options_.branch_from.empty()) {
    Branch(options_.branch_from);
  }
}

void Trainer::TakeState(const std::string& checkpoint, const TrainState& saved) {
  LoadMasters(checkpoint, model_.model.get(), OtherParams());
  LoadOptimizer(checkpoint, saved, optimizer_.get());
  flat_->ValuesChanged();
  state_ = saved;
  skipped_in_row_ = static_cast<uint64_t>(JsonReader(saved.schedule, checkpoint + "/state.json")
                                              .IntOr("skipped_in_row", 0, INT64_MAX, 0));
  const auto runs_own =
      std::filesystem::absolute(options_.folder + "/checkpoints").lexically_normal();
  const auto parent = std::filesystem::absolute(checkpoint).lexically_normal().parent_path();
  if (parent != runs_own)
    state_.log_offset = 0;  // a place in another run's log
  else
    saved_step_ = state_.step;
  if (saved.isa != IsaName())
    LogWarning("{} was computed with {}, this machine has {}: results will differ in rounding",
               checkpoint, saved.isa, IsaName());
}

void Trainer::CheckResumable(const std::string& checkpoint, const TrainState& saved) const {
  const Recipe before = ParseRecipe(saved.recipe, checkpoint + "/state.json", "/");
  const bool has_teacher = distiller_ != nullptr || before.distill.is_on();
  if (saved.config_hash != ModelHash())
    throw Error(ExitCode::kUsage,
                fmt::format("{} is of another model{} than the recipe's", Quoted(checkpoint, 300),
                            has_teacher ? " or teacher" : ""),
                "another -o");
  std::vector<std::string> differences = DifferencesThatMatter(recipe_, before);
  if (options_.rebase_data)
    std::erase_if(differences, [](const std::string& text) { return text.starts_with("data."); });
  if (!differences.empty()) {
    const bool is_data = differences[0].starts_with("data.");
    differences.resize(std::min<size_t>(differences.size(), 4));
    throw Error(ExitCode::kUsage,
                fmt::format("{} is of another recipe: {}", Quoted(checkpoint, 300),
                            fmt::join(differences, "; ")),
                is_data ? "--rebase-data, or another -o" : "another -o");
  }
  if (!options_.rebase_data && DumpJson(saved.blend) != DumpJson(loader_->Signature()))
    throw Error(ExitCode::kUsage,
                fmt::format("{} was trained on other data than the recipe's token files hold now",
                            Quoted(checkpoint, 300)),
                "--rebase-data goes on with the new data at the same sample");
}

// Weights, moments and counters of a checkpoint; from there on the schedule decays. Data may be others.
void Trainer::Branch(const std::string& checkpoint) {
  const TrainState saved = VerifyCheckpoint(checkpoint);
  if (saved.config_hash != ModelHash())
    throw UsageError("{} is of another model than the recipe's", Quoted(checkpoint, 300));
  const uint64_t length = schedule_.decay;
  if (length == 0)
    throw Error(ExitCode::kUsage, "--branch-decay: the length of the decay is not given",
                "--set schedule.decay_tokens=N");
  TakeState(checkpoint, saved);
  schedule_ = BranchDecay(ScheduleFrom(saved.schedule, checkpoint + "/state.json"),
                          state_.schedule_tokens, length, recipe_.schedule.decay_shape);
  const uint64_t left =
      loader_->TokensBefore(loader_->samples()) -
      std::min(loader_->TokensBefore(loader_->samples()),
               loader_->TokensBefore(std::min(state_.samples, loader_->samples())));
  if (left < length)
    throw Error(
        ExitCode::kUsage,
        fmt::format("--branch-decay: {} tokens of data are left, the decay needs {}", left, length),
        "--set schedule.tokens=N, the end of the decay or later");
}

}  // namespace planish
