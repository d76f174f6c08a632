// SPDX-License-Identifier: Apache-2.0
#include "train/run_setup.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "base/memory.h"
#include "model/planner.h"
#include "train/teacher.h"
#include "train/train_model.h"

namespace planish {
namespace {

std::string NameOf(const DatasetEntry& entry) {
  return entry.name.empty() ? std::filesystem::path(entry.path).stem().string() : entry.name;
}

std::shared_ptr<const TokenFile> OpenData(const DatasetEntry& entry, const Pretrained& model) {
  auto file = TokenFile::Open(entry.path);
  if (file->token_count() == 0) throw BadFile("{}: holds no token", Quoted(entry.path, 300));
  if (model.tokenizer != nullptr)
    file->RequireTokenizer(TokenizerHash(*model.tokenizer), model.name);
  file->RequireVocabulary(model.config.vocab_size);
  return file;
}

// The datasets of all phases, each once, with their place.
class DatasetList {
 public:
  explicit DatasetList(const Pretrained& model) : model_(model) {}
  uint32_t PlaceOf(const DatasetEntry& entry) {
    const std::string name = NameOf(entry);
    for (size_t i = 0; i < datasets.size(); ++i) {
      if (datasets[i].name != name) continue;
      if (datasets[i].file->path() == entry.path) return static_cast<uint32_t>(i);
      throw Error(ExitCode::kUsage,
                  fmt::format("two datasets are called {}: {} and {}", Quoted(name),
                              Quoted(datasets[i].file->path(), 300), Quoted(entry.path, 300)),
                  "a name for each");
    }
    datasets.push_back({name, OpenData(entry, model_)});
    return static_cast<uint32_t>(datasets.size() - 1);
  }
  std::vector<Dataset> datasets;

 private:
  const Pretrained& model_;
};

uint64_t InTokens(uint64_t tokens, uint64_t steps, const Recipe& recipe) {
  return steps > 0 ? steps * recipe.batch.tokens : tokens;
}

// The teacher, a projector with its gradients and moments, and states of rows that the student draws.
uint64_t DistillBytes(const Recipe& recipe, const Pretrained& student, uint64_t longest,
                      uint64_t micro_tokens) {
  const DistillSection& distill = recipe.distill;
  const Pretrained teacher = DescribeForTraining({.init = distill.teacher});
  const bool has_streams = distill.hidden_weight > 0;
  uint64_t bytes = TeacherBytes(teacher, distill.teacher_act, micro_tokens, has_streams);
  const uint64_t own = student.config.hidden_size, teachers = teacher.config.hidden_size;
  if (has_streams && own != teachers) bytes += 24 * own * teachers + 8 * micro_tokens * teachers;
  if (distill.on_policy > 0)
    bytes +=
        MakePlan(student.config,
                 {.context = longest, .batch = recipe.batch.micro_samples, .kv_dtype = DType::kF32})
            .cache_bytes;
  return bytes;
}

uint64_t LongestRow(const Recipe& recipe) {
  uint64_t longest = 0;
  for (const PhaseEntry& phase : recipe.data.phases)
    longest = std::max(longest, phase.seq_len == 0 ? recipe.batch.seq_len : phase.seq_len);
  return longest;
}

}  // namespace

Loader OpenLoader(const Recipe& recipe, const Pretrained& model) {
  DatasetList list(model);
  std::vector<LoaderPhase> phases;
  const uint64_t total = InTokens(recipe.schedule.tokens, recipe.schedule.steps, recipe);
  const bool by_epochs = recipe.schedule.epochs > 0;
  for (const PhaseEntry& entry : recipe.data.phases) {
    LoaderPhase phase{.seq_len = entry.seq_len == 0 ? recipe.batch.seq_len : entry.seq_len};
    if (by_epochs) {
      if (recipe.data.phases.size() != 1 || entry.datasets.size() != 1)
        throw Error(ExitCode::kUsage, "schedule.epochs counts passes over one dataset in one phase",
                    "schedule.tokens");
      phase.epochs = recipe.schedule.epochs;
    } else {
      phase.until_tokens =
          entry.until == 1
              ? total
              : static_cast<uint64_t>(std::llround(entry.until * static_cast<double>(total)));
    }
    for (const DatasetEntry& dataset : entry.datasets) {
      if (dataset.weight > 0) phase.shares.push_back({list.PlaceOf(dataset), dataset.weight});
    }
    phases.push_back(std::move(phase));
  }
  LoaderOptions options{.seed = recipe.seed,
                        .mode = recipe.data.mode,
                        .resets_documents = recipe.data.doc_reset,
                        .shuffles = recipe.data.shuffle,
                        .max_epochs = recipe.data.max_epochs,
                        .exhausted = recipe.data.over_epochs,
                        .batch_tokens = recipe.batch.tokens};
  options.packing.long_examples = recipe.data.long_examples;
  return Loader(std::move(list.datasets), phases, options);
}

std::vector<ValidationSet> OpenValidation(const Recipe& recipe, const Pretrained& model) {
  using Mode = ValidationRows::Mode;
  const Mode mode = recipe.data.mode == RowMode::kPacked ? Mode::kWholeExamples
                    : recipe.data.doc_reset              ? Mode::kStream
                                                         : Mode::kJoined;
  std::vector<ValidationSet> sets;
  for (const DatasetEntry& entry : recipe.eval.datasets) {
    sets.emplace_back(NameOf(entry),
                      std::make_unique<ValidationRows>(OpenData(entry, model), recipe.batch.seq_len,
                                                       mode, recipe.eval.tokens));
  }
  return sets;
}

Schedule ScheduleOf(const Recipe& recipe, uint64_t total_tokens) {
  const ScheduleSection& s = recipe.schedule;
  Schedule schedule{.kind = s.kind,
                    .max_lr = s.lr,
                    .min_lr = s.min_lr,
                    .init_lr = s.init_lr,
                    .warmup = InTokens(s.warmup_tokens, s.warmup_steps, recipe),
                    .total = total_tokens,
                    .decay = InTokens(s.decay_tokens, s.decay_steps, recipe),
                    .shape = s.decay_shape};
  CheckSchedule(schedule);
  return schedule;
}

OptimizerConfig OptimizerConfigOf(const Recipe& recipe) {
  const OptimizerSection& s = recipe.optimizer;
  OptimizerConfig config;
  config.adamw.beta1 = s.beta1;
  config.adamw.beta2 = s.beta2;
  config.adamw.epsilon = s.eps;
  config.weight_decay = s.weight_decay;
  for (const GroupEntry& group : s.groups) {
    ParamOverride over{.glob = group.match, .lr_multiplier = group.lr_scale};
    if (group.weight_decay >= 0) over.weight_decay = group.weight_decay;
    if (group.frozen) over.is_frozen = true;
    config.overrides.push_back(std::move(over));
  }
  return config;
}

PassSettings PassSettingsOf(const Recipe& recipe) {
  return {.precision = recipe.precision.mode,
          .fp8 = {.tensorwise = recipe.precision.fp8 == Fp8Scaling::kTensorwise,
                  .power_of_two = recipe.precision.fp8_power_of_two,
                  .bf16_first = recipe.precision.fp8_first_bf16,
                  .bf16_last = recipe.precision.fp8_last_bf16},
          .recompute = {.kind = recipe.recompute.policy, .every = recipe.recompute.every},
          .z_loss = recipe.optimizer.z_loss};
}

std::optional<AdapterConfig> AdapterOf(const Recipe& recipe) {
  const LoraSection& s = recipe.lora;
  if (s.rank == 0) return std::nullopt;
  return AdapterConfig{.rank = s.rank,
                       .alpha = s.alpha,
                       .rank_stabilised = s.rank_stabilised,
                       .target_modules = s.target_modules,
                       .base_model = recipe.model.init};
}

TrainPlanRequest PlanRequestOf(const Recipe& recipe, const Pretrained& student) {
  const uint64_t longest = LongestRow(recipe);
  uint64_t micro_batches = 1;
  for (const PhaseEntry& phase : recipe.data.phases) {
    const uint64_t seq_len = phase.seq_len == 0 ? recipe.batch.seq_len : phase.seq_len;
    micro_batches =
        std::max(micro_batches, recipe.batch.tokens / seq_len / recipe.batch.micro_samples);
  }
  const uint64_t micro_tokens = longest * recipe.batch.micro_samples;
  const bool has_teacher = !recipe.distill.teacher.empty();
  return {.micro_tokens = micro_tokens,
          .micro_batches = micro_batches,
          .precision = recipe.precision.mode,
          .recompute = {.kind = recipe.recompute.policy, .every = recipe.recompute.every},
          .has_async_checkpoints = recipe.checkpoint.async,
          .lora_rank = recipe.lora.rank,
          .lora_modules = recipe.lora.target_modules,
          .base_bytes = student.file_bytes,
          .teacher_bytes = has_teacher ? DistillBytes(recipe, student, longest, micro_tokens) : 0,
          .has_teacher_logits = has_teacher};
}

void CheckTrainMemory(const Pretrained& model, const Recipe& recipe, uint64_t memory_limit) {
  const uint64_t limit = memory_limit != 0 ? memory_limit : AvailableBytes();
  const auto plan_of = [&](const Recipe& any) {
    return PlanTraining(model.config, PlanRequestOf(any, model));
  };
  const TrainPlan plan = plan_of(recipe);
  if (plan.total() <= limit) return;
  // Changes that cost little first; each is added to those before it.
  std::string hint;
  Recipe smaller = recipe;
  const auto fits_with = [&](const std::string& change) {
    hint += (hint.empty() ? "--set " : " --set ") + change;
    return plan_of(smaller).total() <= limit;
  };
  const auto find = [&] {
    if (smaller.recompute.policy == Recompute::Kind::kNone) {
      smaller.recompute.policy = Recompute::Kind::kSelective;
      if (fits_with("recompute.policy=selective")) return true;
      smaller = recipe;
      hint.clear();
    }
    while (smaller.batch.micro_samples > 1) {
      do {
        --smaller.batch.micro_samples;
      } while (recipe.batch.micro_samples % smaller.batch.micro_samples != 0);
      const std::string before = hint;
      if (fits_with(fmt::format("batch.micro_samples={}", smaller.batch.micro_samples)))
        return true;
      if (smaller.batch.micro_samples > 1) hint = before;
    }
    if (smaller.recompute.policy != Recompute::Kind::kFull) {
      smaller.recompute.policy = Recompute::Kind::kFull;
      if (fits_with("recompute.policy=full")) return true;
    }
    if (smaller.checkpoint.async) {
      smaller.checkpoint.async = false;
      if (fits_with("checkpoint.async=false")) return true;
    }
    return false;
  };
  const bool found = find();
  if (!found) {
    const uint64_t fixed = plan.weights + plan.moments + plan.gradients;
    hint = plan.teacher > 0 && plan.total() - plan.teacher <= limit
               ? "a teacher in fewer bits a weight (convert), or --cache-teacher"
           : fixed <= limit ? "a smaller batch.seq_len"
           : recipe.lora.rank > 0
               ? "a model stored in fewer bits a weight (convert)"
               : fmt::format("a model of at most {:.0f} million parameters, or lora.rank=16",
                             static_cast<double>(limit) / 16 / 1e6);
  }
  throw Error(ExitCode::kNoMemory,
              fmt::format("training needs {}, but {} is available", Describe(plan), GiB(limit)),
              hint);
}

std::vector<std::string> DifferencesThatMatter(const Recipe& now, const Recipe& before) {
  static constexpr const char* kFree[] = {"name", "model.", "recompute.", "checkpoint.",
                                          "log.", "eval.",  "sample."};
  // Which teacher it is stands in the checkpoint by its weights (Trainer::ModelHash).
  static constexpr const char* kPaths[] = {"distill.teacher", "distill.cache", "distill.top_k"};
  const auto is_free = [](const std::string& key) {
    if (key.starts_with("data.") && (key.ends_with(".path") || key.ends_with(".name"))) return true;
    if (std::find(std::begin(kPaths), std::end(kPaths), key) != std::end(kPaths)) return true;
    return std::any_of(std::begin(kFree), std::end(kFree),
                       [&](const char* prefix) { return key.starts_with(prefix); });
  };
  std::vector<std::string> differences;
  const auto new_values = ValuesOf(now), old_values = ValuesOf(before);
  for (const auto& [key, value] : new_values) {
    const auto old = old_values.find(key);
    if (is_free(key) || (old != old_values.end() && old->second == value)) continue;
    differences.push_back(fmt::format("{} is {}, was {}", key, value,
                                      old == old_values.end() ? "absent" : old->second));
  }
  for (const auto& [key, value] : old_values) {
    if (!is_free(key) && new_values.count(key) == 0)
      differences.push_back(fmt::format("{} is absent, was {}", key, value));
  }
  return differences;
}

}  // namespace planish
