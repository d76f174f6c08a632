// SPDX-License-Identifier: Apache-2.0
// Runs a task at several thinking settings and judges every answer: only what stands behind the reasoning counts, and a
// reasoning that never closed scores 0 whatever it says.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "eval/task.h"
#include "eval/text_generator.h"

namespace planish {

struct EvalOptions {
  std::vector<ThinkingSetting> settings;  // each a pass over all items
  size_t samples = 1;                     // answers an item; one where decoding is greedy
  double temperature = 0, top_p = 1;      // with thinking; without it decoding is greedy
  uint64_t seed = 0;
  size_t answer_tokens = 0;  // 0: as the task says
};

struct EvalSample {
  size_t item = 0;      // index into the items
  uint64_t choice = 0;  // which of several answers
  std::vector<TextReply> replies;
  Verdict verdict;
  // Exactly one closing tag with thinking, no tag without, and an answer in what follows.
  bool is_well_formed = false;
  // With thinking some reasoning, without it none.
  bool obeys_toggle = false;
  bool is_unfinished = false;  // the reasoning never closed
  bool is_forced = false;      // it was closed for the model

  size_t tokens() const;
  size_t reasoning_tokens() const;
};

struct EvalRun {
  ThinkingSetting setting;
  std::vector<EvalSample> samples;  // by item, then choice
  double seconds = 0;
};

struct Evaluation {
  std::string task;
  int version = 0;
  std::vector<EvalItem> items;
  std::vector<EvalRun> runs;  // as the settings
};

// `progress` (may be null) hears how many answers of how many are there.
using EvalProgress = std::function<void(size_t done, size_t total, const std::string& detail)>;
Evaluation Evaluate(const Task& task, std::vector<EvalItem> items, const EvalOptions& options,
                    TextGenerator* generator, const EvalProgress& progress = nullptr);

// What Evaluate makes of finished replies to one item.
EvalSample Judge(const Task& task, const EvalItem& item, const ThinkingSetting& setting,
                 std::vector<TextReply> replies);

}  // namespace planish
