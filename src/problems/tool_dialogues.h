// SPDX-License-Identifier: Apache-2.0
// Conversations that use the three demo tools (text/demo_tools.h), with the results the real tools give: one call, two at
// once, a follow-up question, a tool that cannot answer, and requests that need no tool. Dialogue i of a seed is a pure
// function of (seed, i, split). Test dialogues have other wordings, and other places and colours, than training ones.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "problems/problem.h"
#include "text/tool_format.h"

namespace planish {

struct ToolDialogue {
  Json tools;                   // offered; a list in OpenAI's form
  Json messages;                // user, assistant with tool_calls, tool, assistant, ...
  std::vector<ToolCall> calls;  // what the first answer has to call; empty: nothing
};

ToolDialogue MakeToolDialogue(uint64_t seed, uint64_t index, Split split, bool thinks);

// {"messages", "tools", "enable_thinking"}: for SFT.
std::string ToolChatRow(uint64_t seed, uint64_t index, bool thinks);
// {"question", "tools", "calls": [{"name", "arguments"}]}: for eval; the first question alone.
std::string ToolTestRow(uint64_t seed, uint64_t index);

}  // namespace planish
