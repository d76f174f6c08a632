// SPDX-License-Identifier: Apache-2.0
// Results as JSON: ours under "tasks", and beside it the keys of lm-eval's result files, so that its readers find the scores.
// And one line of JSON a sample.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "eval/summary.h"

namespace planish {

struct TaskResult {
  Evaluation evaluation;
  std::vector<Summary> summaries;  // of each run
  std::string data, data_sha256;   // of the file the items came from; empty: made
};

struct ResultContext {
  Json model;  // TextGenerator::Describe
  std::string model_path, version, date;
  EvalOptions options;
  size_t limit = 0;
  double seconds = 0;
};

// tasks.NAME.accuracy is that of the first thinking setting; tasks.NAME.settings has all of them, in their order.
Json ResultJson(const std::vector<TaskResult>& results, const ResultContext& context);

// One object a sample: item, setting, response, what was read from it and how it was judged.
std::string SampleLines(const TaskResult& result);

}  // namespace planish
