// SPDX-License-Identifier: Apache-2.0
#include "compress/step_timer.h"

#include <algorithm>
#include <chrono>

#include "base/random.h"
#include "compress/cost_measure.h"
#include "infer/engine.h"
#include "kernels/sample.h"
#include "model/run_mode.h"

namespace planish {
namespace {

constexpr size_t kComputedContext = 256;  // whole KV pages

using Clock = std::chrono::steady_clock;

}  // namespace

StepTimer::StepTimer(const ModelConfig& config, const CostConditions& conditions, bool has_head)
    : model_(config), has_head_(has_head) {
  FillForSpeed(conditions.weights, &model_);
  ApplyRunMode({.act = conditions.act, .kv = conditions.states.kv, .ssm = conditions.states.ssm},
               &model_);
}

void StepTimer::Step(std::span<const StepRun> runs, size_t rows) {
  model_.Step({ids_.data(), rows}, runs, hidden_.data(), &workspace_);
}

void StepTimer::Choose(size_t first, size_t rows) {
  const size_t V = model_.config().vocab_size;
  logits_.resize(std::max(logits_.size(), rows * V));
  model_.Head(&hidden_[first * model_.config().hidden_size], rows, logits_.data());
  for (size_t r = 0; r < rows; ++r) chosen_ += ArgMax(&logits_[r * V], V);
}

void StepTimer::Prepare(const CostSetting& setting) {
  setting_ = setting;
  const size_t known = std::min(setting.context, kComputedContext);
  const size_t rows = std::max({setting.rows, known, EngineOptions().step_tokens});
  Random random(1);
  while (ids_.size() < rows)
    ids_.push_back(static_cast<int32_t>(random.Below(model_.config().vocab_size)));
  hidden_.resize(rows * model_.config().hidden_size);
  sequences_.clear();
  sequences_.push_back(model_.NewSequence());
  if (known > 0) {
    const StepRun run{0, known, &sequences_[0], false};
    Step({&run, 1}, known);
  }
  const size_t count = setting.is_decode ? setting.rows : 1;
  while (sequences_.size() < count) sequences_.push_back(sequences_[0].Snapshot());
  runs_.clear();
  for (size_t i = 0; i < count; ++i) {
    sequences_[i].SetSyntheticLength(setting.context);
    runs_.push_back(setting.is_decode ? StepRun{i, 1, &sequences_[i], true}
                                      : StepRun{0, setting.rows, &sequences_[i], false});
  }
}

double StepTimer::Time() {
  const auto begin = Clock::now();
  Step(runs_, setting_.rows);
  if (has_head_ && setting_.is_decode) Choose(0, setting_.rows);
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  for (SequenceState& sequence : sequences_) sequence.SetSyntheticLength(setting_.context);
  return seconds;
}

double StepTimer::TimePrompt(size_t tokens) {
  Prepare({.is_decode = false, .rows = std::min(tokens, EngineOptions().step_tokens)});
  const auto begin = Clock::now();
  size_t count = 0;
  for (size_t done = 0; done < tokens; done += count) {
    count = std::min(setting_.rows, tokens - done);
    const StepRun run{0, count, &sequences_[0], false};
    Step({&run, 1}, count);
  }
  if (has_head_) Choose(count - 1, 1);
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

size_t StepTimer::bytes() const {
  size_t total = model_.embedding().bytes();
  const_cast<Model&>(model_).VisitParams([&](const Param& param) {
    if (param.block >= 0 && param.weight != nullptr) total += param.weight->bytes();
  });
  for (const SequenceState& sequence : sequences_) total += sequence.bytes();
  return total;
}

}  // namespace planish
