// SPDX-License-Identifier: Apache-2.0
// Regular expressions of tokenizer files. They are written for Oniguruma (Ruby syntax); we run them on PCRE2 with JIT, after
// rewriting what the two read differently and refusing what cannot be rewritten. Every match runs under the limits of
// base/limits.h and a time budget, so a catastrophic pattern ends in an Error.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace planish {

struct RegexMatch {
  size_t begin, end;
};

// Working memory of matching; one per thread at a time, usable with every Regex.
class RegexScratch {
 public:
  RegexScratch();
  ~RegexScratch();
  RegexScratch(const RegexScratch&) = delete;
  RegexScratch& operator=(const RegexScratch&) = delete;

 private:
  friend class Regex;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

class Regex {
 public:
  // Error(kBadFile) "WHERE: ..." for a pattern that is invalid, too large or uses what we do not support.
  Regex(std::string_view pattern, std::string where);
  ~Regex();
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;

  // Appends all matches from left to right; an empty match right after a match does not count. `text` must be valid UTF-8.
  // Error(kBadFile) when a limit is hit.
  void FindAll(std::string_view text, RegexScratch* scratch,
               std::vector<RegexMatch>* matches) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The PCRE2 spelling of an Oniguruma pattern; `where` goes into the Error for unsupported syntax. Exposed for tests.
std::string TranslateOniguruma(std::string_view pattern, const std::string& where);
// A pattern that matches `text` literally.
std::string EscapeRegex(std::string_view text);

}  // namespace planish
