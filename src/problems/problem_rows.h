// SPDX-License-Identifier: Apache-2.0
// Problems as lines of data files: conversations for SFT, plain documents for pretraining, tests for eval.
#pragma once

#include <string>

#include "problems/problem.h"

namespace planish {

// {"messages": [user, assistant with reasoning_content if it thinks], "enable_thinking": ..., "skill", "steps", "digits"}
std::string ChatRow(const Problem& problem, bool thinks);
// {"text": ...}: question and worked solution, in one of several layouts by (seed, index).
std::string TextRow(const Problem& problem, uint64_t seed, uint64_t index);
// {"question", "answer", "answer_type", "skill", "steps", "digits"}
std::string TestRow(const Problem& problem);
std::string TextRow(std::string text);

// Lower case, white space and punctuation folded: what must not occur on both sides of a split.
std::string NormalizedText(std::string_view text);

}  // namespace planish
