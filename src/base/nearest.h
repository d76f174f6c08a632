// SPDX-License-Identifier: Apache-2.0
// "Did you mean": the known name that an unknown one was probably meant to be.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace planish {

// Levenshtein's: insertions, deletions and substitutions.
size_t EditDistance(std::string_view a, std::string_view b);

// The candidate that begins with `word` (of more than three letters), else the one of least edit distance; empty if that is
// more than half of the word (and more than two).
std::string Nearest(const std::string& word, const std::vector<std::string>& candidates);

}  // namespace planish
