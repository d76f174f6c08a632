// SPDX-License-Identifier: Apache-2.0
#include "cli/tool_round.h"

#include <fmt/format.h>

#include <ctime>

#include "text/demo_tools.h"

namespace planish {
namespace {

std::string Today() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  localtime_r(&now, &parts);
  char text[16];
  std::strftime(text, sizeof text, "%Y-%m-%d", &parts);
  return text;
}

}  // namespace

Json ToolResultMessage(const std::string& id, const std::string& name, const std::string& arguments,
                       const AnswerHooks& hooks) {
  const std::string result = RunDemoToolCall(name, arguments, Today());
  hooks.on_note(fmt::format("{}({}) = {}", name, arguments, result));
  Json message = Json::MakeObject();
  message.Set("role", "tool");
  message.Set("tool_call_id", id);
  message.Set("content", result);
  return message;
}

void NoteTooManyRounds(const AnswerHooks& hooks) {
  hooks.on_note(fmt::format("the model called tools {} times in a row: enough", kToolRounds));
}

}  // namespace planish
