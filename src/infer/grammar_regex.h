// SPDX-License-Identifier: Apache-2.0
// Regular expressions as rules of a grammar: what ECMA 262 and Python agree on and what has a regular language. Literals,
// '.', classes, \d \w \s, groups, alternatives, ? * + {m,n}, and ^ $ at the two ends. Look-around, back-references, \b and
// possessive repeats are refused. \d and \w are ASCII, and so are \D and \W, so that both readings of them hold.
#pragma once

#include <string_view>

#include "infer/grammar_json.h"

namespace planish {

enum class RegexUse {
  kWhole,   // the whole text fits, bytes as they are (structured_outputs.regex)
  kSearch,  // inside a JSON string, escaped; text before and after is free unless ^ and $ stand there (schema `pattern`)
};
// A rule. GrammarError names `pointer` and the offset in the pattern.
int32_t CompileRegex(std::string_view pattern, RegexUse use, const std::string& pointer,
                     JsonRules* rules);

// A class of characters in brackets, from '[' at text[*at]; *at is moved behind ']'. Shared with grammar texts.
std::vector<CodeRange> ParseCharacterClass(std::string_view text, size_t* at,
                                           const std::string& pointer);

}  // namespace planish
