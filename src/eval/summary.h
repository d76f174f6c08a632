// SPDX-License-Identifier: Apache-2.0
// The figures of one pass over a task's items.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "eval/evaluation.h"
#include "eval/statistics.h"

namespace planish {

// A mean over items with its interval: Wilson's where every item has one answer that is right or wrong, else the bootstrap's.
struct Share {
  size_t n = 0;
  double mean = 0, stderr_ = 0;
  Interval interval;
};
Share ShareOf(const std::vector<double>& item_scores, bool is_binary);

struct Summary {
  ThinkingSetting setting;
  size_t items = 0, answers = 0;
  Share accuracy;
  std::map<std::string, Share> by_skill;  // empty where items do not say
  std::map<int, Share> by_steps, by_digits;
  std::map<std::string, double> metrics;  // means of the task's further ones, where they apply
  // Shares of the answers.
  double well_formed = 0, obeys_toggle = 0, forced = 0, unfinished = 0, no_answer = 0, cut = 0,
         too_long = 0, errors = 0;
  size_t forced_answers = 0;
  double forced_well_formed = 0;                                 // of the forced ones
  double thinking_mean = 0, thinking_p50 = 0, thinking_p95 = 0;  // tokens, closing tag included
  double answer_tokens_mean = 0;                                 // tokens behind the reasoning
  size_t prompt_tokens = 0, tokens = 0;  // of all answers; `tokens` generated
  double seconds = 0, tokens_per_s = 0;  // generated, wall time
};
Summary Summarize(const Evaluation& evaluation, const EvalRun& run);

}  // namespace planish
