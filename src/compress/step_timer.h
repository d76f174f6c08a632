// SPDX-License-Identifier: Apache-2.0
// One model with random weights, and the sequences of one setting after another, timed step by step.
#pragma once

#include <memory>
#include <vector>

#include "compress/cost_table.h"
#include "model/model.h"

namespace planish {

class StepTimer {
 public:
  // has_head: a step ends with the head of the rows that give a token, and its choice.
  StepTimer(const ModelConfig& config, const CostConditions& conditions, bool has_head);

  // Sequences of the setting, filled. Up to 256 tokens of the context are computed, the rest repeats them: what the cache
  // holds does not change how long reading it takes.
  void Prepare(const CostSetting& setting);
  double Time();  // seconds of one step of the prepared setting
  double TimePrompt(
      size_t tokens);    // of a prompt of a new sequence, cut as the engine does, with its head
  size_t bytes() const;  // weights and states

 private:
  void Step(std::span<const StepRun> runs, size_t rows);
  void Choose(size_t first, size_t rows);

  Model model_;
  bool has_head_;
  CostSetting setting_;
  std::vector<SequenceState> sequences_;
  std::vector<StepRun> runs_;
  std::vector<int32_t> ids_;
  std::vector<float> hidden_, logits_;
  size_t chosen_ = 0;  // keeps the choice from being optimised away
  Workspace workspace_;
};

}  // namespace planish
