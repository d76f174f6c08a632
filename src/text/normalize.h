// SPDX-License-Identifier: Apache-2.0
// The `normalizer` of tokenizer.json: Unicode normal forms (by ICU), lower case, prepending, replacing and stripping, applied
// to the text before it is split. For callers that ask, each byte of the result remembers the input byte it came from.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/regex.h"

namespace planish {

struct NormalizeStep {
  enum class Kind { kNfc, kNfd, kNfkc, kNfkd, kLowercase, kPrepend, kReplace, kStrip };
  Kind kind = Kind::kNfc;
  std::string pattern;                         // kReplace
  bool is_regex = false;                       // kReplace: else `pattern` is literal text
  std::string content;                         // kReplace, kPrepend
  bool strip_left = true, strip_right = true;  // kStrip

  bool operator==(const NormalizeStep&) const = default;
};

// Text with the input offset of each of its bytes; `origins` is empty where they are not tracked.
struct TracedText {
  std::string text;
  std::vector<size_t> origins;
};

class Normalizer {
 public:
  Normalizer() = default;
  // Error(kBadFile) for a bad pattern.
  Normalizer(std::vector<NormalizeStep> steps, const std::string& where);

  const std::vector<NormalizeStep>& steps() const { return steps_; }
  bool empty() const { return steps_.empty(); }
  // Normal form of `text` (valid UTF-8). Returns false, leaving `out` alone, if the text is already normal.
  bool Apply(std::string_view text, bool trace, RegexScratch* scratch, TracedText* out) const;

 private:
  std::vector<NormalizeStep> steps_;
  std::vector<std::shared_ptr<const Regex>>
      replaced_;  // by step; null where the step replaces nothing
};

}  // namespace planish
