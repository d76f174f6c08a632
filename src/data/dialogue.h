// SPDX-License-Identifier: Apache-2.0
// One conversation of an SFT data set, a line of JSONL:
//   {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "...", ...}], "tools": [...],
//    "enable_thinking": true}
// Messages as in OpenAI's API: roles system (developer), user, assistant, tool; an assistant message may have tool_calls,
// and its reasoning in "reasoning_content" (or "reasoning"), or in its content as "<think>...</think>answer" (the opening
// tag may be missing). "tools" and "enable_thinking" are optional, other members are carried along.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"

namespace planish {

struct Dialogue {
  Json line;  // as read: what rewriting steps write back
  Json
      messages;  // checked; reasoning of assistant messages taken out of their content into "reasoning_content"
  Json tools;  // null or a list
  std::optional<bool> enable_thinking;
};

// Error(kBadFile) naming `where` and the member that is wrong.
Dialogue ParseDialogue(std::string_view text, const std::string& where);

// Of a message of Dialogue::messages.
bool HasRole(const Json& message, std::string_view role);
std::string ReasoningOf(const Json& message);  // without newlines around it; empty if none

// False for an assistant message marked "train_reasoning": false, as truncate-think writes: its reasoning and the closing
// tag were forced on the model, so only the answer behind them is learned.
bool TrainsReasoning(const Json& message);

}  // namespace planish
