// SPDX-License-Identifier: Apache-2.0
// One self-contained HTML page about one training run, or several side by side: figures, curves, events, samples, recipe.
// It opens without a network, in light and dark, and its content security policy forbids it to fetch anything.
#pragma once

#include <string>
#include <vector>

#include "train/run_log.h"

namespace planish {

struct ReportRun {
  std::string name;  // unique among the runs of a page
  RunLog log;
};

// `runs` must not be empty. A pure function of the logs.
std::string ReportHtml(const std::vector<ReportRun>& runs, const std::string& title);

}  // namespace planish
