// SPDX-License-Identifier: Apache-2.0
// Grammars as text (structured_outputs.grammar), in the EBNF that llama.cpp calls GBNF: rules `name ::= ...`, "literals" and
// [classes], groups, alternatives, ? * + {m,n}, # comments. The rule `root` is where it starts. A rule must take a character
// before it comes back to itself.
#pragma once

#include <string_view>

#include "infer/grammar_json.h"

namespace planish {

// The rule of `root`. GrammarError names the line.
int32_t CompileGrammarText(std::string_view text, JsonRules* rules);

}  // namespace planish
