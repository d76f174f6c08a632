// SPDX-License-Identifier: Apache-2.0
// What `chat --tools` does with a call of the model, whoever the model's host is: runs the demo tool, shows the line, and makes
// the message that tells the model.
#pragma once

#include <string>

#include "cli/chat_partner.h"

namespace planish {

// Answers of the model in a row that call tools, at most.
inline constexpr int kToolRounds = 8;

Json ToolResultMessage(const std::string& id, const std::string& name, const std::string& arguments,
                       const AnswerHooks& hooks);
// Says that kToolRounds are enough.
void NoteTooManyRounds(const AnswerHooks& hooks);

}  // namespace planish
