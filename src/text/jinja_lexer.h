// SPDX-License-Identifier: Apache-2.0
// Cuts a Jinja template into tokens as jinja2 does with trim_blocks and lstrip_blocks on and one
// trailing newline dropped: plain data with white space control already applied, and the tokens
// inside {{ }} and {% %}.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/jinja_value.h"

namespace planish::jinja {

struct Token {
  enum class Kind {
    kData,
    kVariableBegin,
    kVariableEnd,
    kBlockBegin,
    kBlockEnd,
    kName,
    kString,
    kInteger,
    kFloat,
    kOperator,
    kEnd
  };
  Kind kind = Kind::kEnd;
  int line = 1;
  std::string text;  // data, name, unescaped string, or operator
  Int integer = 0;
  double number = 0;
};

// The last token is kEnd. Throws Failure with the line. `source` must be valid UTF-8.
std::vector<Token> Tokenize(std::string_view source);

}  // namespace planish::jinja
