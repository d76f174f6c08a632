// SPDX-License-Identifier: Apache-2.0
// The list of benchmarks.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "eval/task.h"

namespace planish {

// Error(kUsage) with the nearest known name.
std::unique_ptr<Task> MakeTask(const std::string& name);
std::vector<std::string> TaskNames();

}  // namespace planish
