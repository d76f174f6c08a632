// SPDX-License-Identifier: Apache-2.0
// A benchmark: items, what is asked of the model about each, and the check of what it wrote. A new one is a file with a Task
// and an entry in tasks.cc. A task's answers depend on (name, version, data) alone: a change of prompt or check is a new version.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "eval/text_generator.h"

namespace planish {

struct EvalItem {
  std::string id;             // unique within the task
  std::string question, key;  // as records show them
  std::string skill;          // may be empty
  int steps = 0, digits = 0;  // 0: not known
  Json row;                   // whatever else the task keeps of it
};

struct Verdict {
  double score = 0;  // 0 or 1, or between where a task gives parts
  std::string extracted;
  bool has_answer = false;  // something could be read as an answer
  std::string reason;       // of a score below 1: "no answer", "wrong", ...
  std::vector<std::pair<std::string, double>>
      metrics;  // further ones of the task, where they apply
};

struct ItemSource {
  std::string data;   // a file of the task's row format; empty: the task makes its items
  uint64_t seed = 0;  // of made items, and of the choice among read ones
  size_t limit = 0;   // at most so many; 0: all of a file, the task's own number of made ones
};

class Task {
 public:
  virtual ~Task() = default;
  virtual const char* name() const = 0;
  virtual int version() const = 0;
  // Error(kUsage) if it needs a file and has none, Error(kBadFile) with line and field for a bad row.
  virtual std::vector<EvalItem> Items(const ItemSource& source) const = 0;
  // One for most tasks; one a choice where log-likelihoods decide.
  virtual std::vector<TextRequest> Requests(const EvalItem& item) const = 0;
  // `replies` in the order of the requests. Never called for a reply with an open reasoning or an error: those score 0.
  virtual Verdict Check(const EvalItem& item, std::span<const TextReply> replies) const = 0;
};

}  // namespace planish
