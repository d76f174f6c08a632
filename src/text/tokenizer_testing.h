// SPDX-License-Identifier: Apache-2.0
// For the tests of tokenizers: a small tokenizer of any family without files, random text, and the golden folders.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace planish {

// 256 byte tokens and some merges; ids 0 "<s>" and 1 "</s>" control, the last two "<think>" and "</think>" user defined.
GgufVocabulary SmallVocabulary(const std::string& pre);

// Deterministic text: words, white space of all kinds, digits, contractions, marks, emoji, any code point.
class RandomText {
 public:
  explicit RandomText(uint64_t seed) : state_(seed) {}
  uint64_t Below(uint64_t n);
  std::string Valid(size_t parts);   // valid UTF-8
  std::string Bytes(size_t length);  // any bytes, often text with damage
 private:
  uint64_t state_;
};

// Folders tokenizer/* of the golden set that hold a golden.json; empty if there is no golden set.
std::vector<std::filesystem::path> GoldenTokenizers(const std::string& source_dir);
// tokenizer.json or tokenizer.json.zst of such a folder, as text.
std::string GoldenTokenizerJson(const std::filesystem::path& folder);

}  // namespace planish
