// SPDX-License-Identifier: Apache-2.0
// What verbs read besides models: lists of ids or names, a text on standard input.
#pragma once

#include <string>
#include <vector>

namespace planish {

// A file holding a JSON list of token ids, each in [0, vocab_size).
std::vector<int> ReadIds(const std::string& path, size_t vocab_size);

// All of standard input, without its last newline; each line within the limit of JSONL lines.
std::string ReadStandardInput();

// "a,b,c"; empty parts are left out.
std::vector<std::string> SplitAtCommas(const std::string& text);

}  // namespace planish
