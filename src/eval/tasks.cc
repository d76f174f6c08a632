// SPDX-License-Identifier: Apache-2.0
#include "eval/tasks.h"

#include "base/error.h"
#include "base/nearest.h"
#include "eval/gsm8k.h"
#include "eval/tool_use.h"
#include "eval/word_problems.h"

namespace planish {
namespace {

constexpr std::unique_ptr<Task> (*kMakers[])() = {MakeWordProblems, MakeGsm8kBoxed, MakeToolUse};

}  // namespace

std::vector<std::string> TaskNames() {
  std::vector<std::string> names;
  for (const auto make : kMakers) names.push_back(make()->name());
  return names;
}

std::unique_ptr<Task> MakeTask(const std::string& name) {
  for (const auto make : kMakers) {
    if (auto task = make(); task->name() == name) return task;
  }
  const std::string nearest = Nearest(name, TaskNames());
  std::string known;
  for (const std::string& task : TaskNames()) known += (known.empty() ? "" : ", ") + task;
  throw Error(ExitCode::kUsage, fmt::format("there is no task \"{}\"", Quoted(name)),
              nearest.empty() ? "one of " + known : nearest + "? The tasks are " + known);
}

}  // namespace planish
