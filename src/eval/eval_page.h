// SPDX-License-Identifier: Apache-2.0
// Results of an evaluation as HTML: the budget curve, bars by skill, steps and digits, a table of all settings, and answers to
// read.
#pragma once

#include <string>
#include <vector>

#include "eval/result_json.h"

namespace planish {

// A whole page. A pure function of the results.
std::string EvalPage(const std::vector<TaskResult>& results, const ResultContext& context);

// The parts of one task, for a page that shows more.
std::string EvalPlots(const TaskResult& result);
std::string EvalTable(const TaskResult& result);

}  // namespace planish
