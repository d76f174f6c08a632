// SPDX-License-Identifier: Apache-2.0
// Tool calls: a question with tools offered, and the calls that answer it: the right tools with the right arguments, in any
// order, or none where none is needed. Made from the generator's dialogues about the three demo tools, or rows {"question",
// "tools", "calls": [{"name", "arguments"}]}.
#pragma once

#include <memory>
#include <span>

#include "eval/task.h"
#include "text/tool_format.h"

namespace planish {

std::unique_ptr<Task> MakeToolUse();

// Name and arguments, whatever the order of keys, the spelling of numbers and the case of texts; an argument that only one side
// gives may have the schema's default.
bool SameCall(const ToolCall& found, const ToolCall& key, const Json& tools);

}  // namespace planish
