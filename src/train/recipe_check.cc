// SPDX-License-Identifier: Apache-2.0
// Keys that contradict each other.
#include <cmath>

#include "base/error.h"
#include "train/recipe.h"

namespace planish {
namespace {

class Checker {
 public:
  explicit Checker(const Recipe& recipe) : recipe_(recipe) {}

  // Both given: an error.
  void Exclusive(const char* a, const char* b) const {
    if (recipe_.WasGiven(a) && recipe_.WasGiven(b))
      throw UsageError("{} and {} contradict each other, expected one of them", Named(a), Named(b));
  }
  // `key` has no meaning unless `holds`, which is up to `other`.
  void OnlyIf(const std::string& key, bool holds, const char* other, const char* needed) const {
    if (recipe_.WasGiven(key) && !holds)
      throw UsageError("{} has no meaning unless {} is {}", Named(key), Named(other), needed);
  }
  void Demand(bool holds, const std::string& key, const std::string& other,
              const std::string& what) const {
    if (!holds)
      throw UsageError("{} and {} contradict each other: {}", Named(key), Named(other), what);
  }
  // "schedule.lr (tiny.toml:12)".
  std::string Named(const std::string& key) const {
    const auto found = recipe_.origins.find(key);
    return fmt::format("{} ({})", key, found == recipe_.origins.end() ? "default" : found->second);
  }

 private:
  const Recipe& recipe_;
};

void CheckModel(const Recipe& r, const Checker& check) {
  check.Exclusive("model.init", "model.config");
  if (r.model.init.empty() && r.model.config.empty())
    throw UsageError("neither model.init (a trained model) nor model.config (a shape) is given");
  check.OnlyIf("model.tokenizer", r.model.init.empty(), "model.init", "absent");
  check.OnlyIf("model.initializer_range", r.model.init.empty(), "model.init", "absent");
}

void CheckDatasets(const std::vector<DatasetEntry>& datasets, const std::string& path) {
  double total = 0;
  for (size_t i = 0; i < datasets.size(); ++i) {
    if (datasets[i].path.empty()) throw UsageError("{}.datasets[{}] has no path", path, i);
    total += datasets[i].weight;
  }
  if (!(total > 0)) throw UsageError("{}.datasets: no dataset has a weight above 0", path);
}

void CheckData(const Recipe& r, const Checker& check) {
  if (r.data.phases.empty())
    throw UsageError("data.phases: no phase is given, so there is no data");
  double last = 0;
  for (size_t i = 0; i < r.data.phases.size(); ++i) {
    const PhaseEntry& phase = r.data.phases[i];
    const std::string path = fmt::format("data.phases[{}]", i);
    if (!(phase.until > last))
      throw UsageError("{}.until is {}, but the phase before ends at {}", path, phase.until, last);
    last = phase.until;
    CheckDatasets(phase.datasets, path);
    const uint64_t seq_len = phase.seq_len == 0 ? r.batch.seq_len : phase.seq_len;
    const std::string key = phase.seq_len == 0 ? "batch.seq_len" : path + ".seq_len";
    check.Demand(r.batch.tokens % seq_len == 0, "batch.tokens", key,
                 fmt::format("{} is no multiple of {}", r.batch.tokens, seq_len));
    const uint64_t samples = r.batch.tokens / seq_len;
    check.Demand(samples % r.batch.micro_samples == 0, "batch.tokens", "batch.micro_samples",
                 fmt::format("a step of {} samples cannot be cut into passes of {}", samples,
                             r.batch.micro_samples));
  }
  if (last != 1)
    throw UsageError("data.phases: the last phase ends at {}, expected until = 1", last);
  check.OnlyIf("data.long_examples", r.data.mode == RowMode::kPacked, "data.mode", "packed");
  check.OnlyIf("data.doc_reset", r.data.mode == RowMode::kStream, "data.mode", "stream");
  check.OnlyIf("data.over_epochs", r.data.max_epochs > 0, "data.max_epochs", "above 0");
}

uint64_t InTokens(uint64_t tokens, uint64_t steps, const Recipe& r) {
  return steps > 0 ? steps * r.batch.tokens : tokens;
}

void CheckSchedule(const Recipe& r, const Checker& check) {
  const ScheduleSection& s = r.schedule;
  check.Exclusive("schedule.tokens", "schedule.steps");
  check.Exclusive("schedule.tokens", "schedule.epochs");
  check.Exclusive("schedule.steps", "schedule.epochs");
  check.Exclusive("schedule.warmup_tokens", "schedule.warmup_steps");
  check.Exclusive("schedule.decay_tokens", "schedule.decay_steps");
  if (s.tokens == 0 && s.steps == 0 && s.epochs == 0)
    throw UsageError(
        "the run's length is not given: one of schedule.tokens, schedule.steps and "
        "schedule.epochs");
  const bool is_wsd = s.kind == ScheduleKind::kWsd;
  for (const char* key : {"schedule.decay_tokens", "schedule.decay_steps", "schedule.decay_shape"})
    check.OnlyIf(key, is_wsd, "schedule.kind", "wsd");
  check.OnlyIf("schedule.min_lr",
               s.kind != ScheduleKind::kConstant && s.kind != ScheduleKind::kInverseSqrt,
               "schedule.kind", "wsd, cosine or linear");
  check.Demand(s.min_lr <= s.lr, "schedule.min_lr", "schedule.lr",
               fmt::format("{} is above {}", s.min_lr, s.lr));
  check.Demand(s.init_lr <= s.lr, "schedule.init_lr", "schedule.lr",
               fmt::format("{} is above {}", s.init_lr, s.lr));
  const uint64_t warmup = InTokens(s.warmup_tokens, s.warmup_steps, r);
  const uint64_t decay = InTokens(s.decay_tokens, s.decay_steps, r);
  const uint64_t total = InTokens(s.tokens, s.steps, r);
  const std::string warmup_key =
      s.warmup_steps > 0 ? "schedule.warmup_steps" : "schedule.warmup_tokens";
  const std::string decay_key =
      s.decay_steps > 0 ? "schedule.decay_steps" : "schedule.decay_tokens";
  const std::string total_key = s.steps > 0 ? "schedule.steps" : "schedule.tokens";
  if (total > 0) {
    check.Demand(warmup <= total, warmup_key, total_key,
                 fmt::format("a warm-up of {} tokens in a run of {}", warmup, total));
    check.Demand(
        warmup + decay <= total, decay_key, decay > total ? total_key : warmup_key,
        fmt::format("warm-up and decay of {} tokens in a run of {}", warmup + decay, total));
  }
}

void CheckDistill(const Recipe& r, const Checker& check) {
  const DistillSection& s = r.distill;
  check.Exclusive("distill.teacher", "distill.cache");
  for (const char* key : {"distill.teacher_act", "distill.kind", "distill.temperature",
                          "distill.alpha", "distill.hidden_weight"})
    check.OnlyIf(key, s.is_on(), "distill.teacher", "given");
  check.OnlyIf("distill.hidden_blocks", s.hidden_weight > 0, "distill.hidden_weight", "above 0");
  check.OnlyIf("distill.on_policy", s.is_on(), "distill.teacher", "given");
  check.OnlyIf("distill.on_policy_prompt", s.on_policy > 0, "distill.on_policy", "above 0");
  check.Demand(s.on_policy == 0 || s.alpha == 0, "distill.on_policy", "distill.alpha",
               "the cross entropy of own answers teaches nothing");
  const bool is_cached = !s.cache.empty();
  check.Demand(!is_cached || s.on_policy == 0, "distill.on_policy", "distill.cache",
               "a cache does not know the student's answers");
  check.Demand(!is_cached || s.kind == DistillKind::kForward, "distill.kind", "distill.cache",
               "a cache holds the teacher's likeliest ids only, which give KL(teacher || student)");
  check.Demand(!is_cached || s.hidden_weight == 0, "distill.hidden_weight", "distill.cache",
               "a cache holds no residual streams");
  check.Demand(s.teacher_act != TeacherAct::kInt8 || s.hidden_weight == 0, "distill.teacher_act",
               "distill.hidden_weight", "residual streams are compared in bf16 or f32");
  check.Demand(!s.is_on() || r.optimizer.z_loss == 0, "optimizer.z_loss", "distill.teacher",
               "the divergence has no z term");
}

void CheckRest(const Recipe& r, const Checker& check) {
  const bool is_fp8 = r.precision.mode == Precision::kFp8;
  for (const char* key : {"precision.fp8", "precision.fp8_power_of_two", "precision.fp8_first_bf16",
                          "precision.fp8_last_bf16"})
    check.OnlyIf(key, is_fp8, "precision.mode", "fp8");
  check.OnlyIf("recompute.every", r.recompute.policy == Recompute::Kind::kFull, "recompute.policy",
               "full");
  check.Demand(r.eval.every_steps == 0 || !r.eval.datasets.empty(), "eval.every_steps",
               "eval.datasets", "there is nothing to evaluate on");
  if (!r.eval.datasets.empty()) CheckDatasets(r.eval.datasets, "eval");
  check.Demand(r.sample.every_steps == 0 || !r.sample.prompts.empty(), "sample.every_steps",
               "sample.prompts", "there is no prompt");
  for (const char* key : {"lora.alpha", "lora.rank_stabilised", "lora.target_modules"})
    check.OnlyIf(key, r.lora.rank > 0, "lora.rank", "above 0");
  check.Demand(r.lora.rank == 0 || !r.model.init.empty(), "lora.rank", "model.init",
               "adapters need a trained model below them");
  check.Demand(r.lora.rank == 0 || !is_fp8, "lora.rank", "precision.mode",
               "frozen weights are multiplied in bf16 or f32, not in fp8");
  CheckDistill(r, check);
  for (size_t i = 0; i < r.optimizer.groups.size(); ++i) {
    const std::string path = fmt::format("optimizer.groups[{}]", i);
    if (r.optimizer.groups[i].match.empty()) throw UsageError("{} has no match", path);
    for (const char* key : {".lr_scale", ".weight_decay"})
      check.OnlyIf(path + key, !r.optimizer.groups[i].frozen, (path + ".frozen").c_str(), "false");
  }
}

}  // namespace

void CheckRecipe(const Recipe& recipe) {
  const Checker check(recipe);
  CheckModel(recipe, check);
  CheckData(recipe, check);
  CheckSchedule(recipe, check);
  CheckRest(recipe, check);
}

}  // namespace planish
