// SPDX-License-Identifier: Apache-2.0
// Short ordinary chat: greetings, who the model is, thanks, small facts of every day, wishes that need no reckoning.
#pragma once

#include <cstdint>
#include <string>

#include "problems/draw.h"
#include "problems/problem.h"

namespace planish {

struct SmallTalk {
  std::string question, thinking, answer;
};
// Tests get other wordings.
SmallTalk MakeSmallTalk(Draw* draw, Split split);

// {"messages", "enable_thinking"}: one to three exchanges. A pure function of (seed, index).
std::string SmallTalkRow(uint64_t seed, uint64_t index, bool thinks);

}  // namespace planish
