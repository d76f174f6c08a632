// SPDX-License-Identifier: Apache-2.0
#include "text/split_scanner.h"

#include "base/error.h"
#include "text/unicode_class.h"
#include "text/utf8.h"

namespace planish {
namespace {

constexpr std::string_view kGpt2Text =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3Text =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2Text =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kTekkenText =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
    R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr ClassFlags kNotOther = kWhiteSpace | kLetter | kNumber;  // what [^\s\p{L}\p{N}] excludes

// One position of the text: where it is, where the character after it begins, and its class.
struct Cursor {
  const char* at;
  const char* next;
  ClassFlags flags;
};

class Scanner {
 public:
  explicit Scanner(std::string_view text)
      : end_(text.data() + text.size()), classes_(UnicodeClasses()) {}

  const char* end() const { return end_; }
  Cursor Read(const char* at) const {
    const auto byte = static_cast<unsigned char>(*at);
    if (byte < 0x80) return {at, at + 1, classes_[byte]};
    const char* next = at;
    const char32_t code = NextValidUtf8(next);
    return {at, next, classes_[code]};
  }
  // End of the run of characters that have one of `flags`.
  const char* Run(const char* at, ClassFlags flags) const {
    while (at != end_) {
      const Cursor c = Read(at);
      if ((c.flags & flags) == 0) break;
      at = c.next;
    }
    return at;
  }
  const char* RunWithout(const char* at, ClassFlags flags) const {
    while (at != end_) {
      const Cursor c = Read(at);
      if ((c.flags & flags) != 0) break;
      at = c.next;
    }
    return at;
  }
  // \s+(?!\S)|\s+ : a run gives its last character to a word that follows, unless it is all there is.
  const char* Spaces(const char* at) const {
    const char* last = at;
    const char* stop = at;
    while (stop != end_) {
      const Cursor c = Read(stop);
      if ((c.flags & kWhiteSpace) == 0) break;
      last = stop;
      stop = c.next;
    }
    return stop == end_ || last == at ? stop : last;
  }
  // \s*[\r\n]+|\s+(?!\S)|\s+ : up to the last line break of the run if there is one.
  const char* SpacesOrLines(const char* at) const {
    const char* last = at;
    const char* stop = at;
    const char* after_break = nullptr;
    while (stop != end_) {
      const Cursor c = Read(stop);
      if ((c.flags & kWhiteSpace) == 0) break;
      last = stop;
      stop = c.next;
      if ((c.flags & kLineBreak) != 0) after_break = stop;
    }
    if (after_break != nullptr) return after_break;
    return stop == end_ || last == at ? stop : last;
  }
  // 's 't 're 've 'm 'll 'd after the apostrophe at `at`; null if none.
  template <bool kFoldCase>
  const char* Contraction(const char* at) const {
    const auto letter = [&](int i) {
      if (end_ - at <= i) return '\0';
      const char c = at[i];
      return kFoldCase && c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    };
    switch (letter(1)) {
      case 's':
      case 't':
      case 'm':
      case 'd':
        return at + 2;
      case 'r':
      case 'v':
        return letter(2) == 'e' ? at + 3 : nullptr;
      case 'l':
        return letter(2) == 'l' ? at + 3 : nullptr;
      case '\xC5':  // U+017F, the long s, folds to s
        return kFoldCase && letter(2) == '\xBF' ? at + 3 : nullptr;
      default:
        return nullptr;
    }
  }

 private:
  const char* end_;
  const ClassFlags* classes_;
};

const char* NextGpt2(const Scanner& scanner, const char* at) {
  const Cursor first = scanner.Read(at);
  if (*at == '\'') {
    if (const char* stop = scanner.Contraction<false>(at)) return stop;
  }
  Cursor body = first;
  if (*at == ' ') {
    if (first.next == scanner.end()) return first.next;
    body = scanner.Read(first.next);
  }
  if ((body.flags & kLetter) != 0) return scanner.Run(body.next, kLetter);
  if ((body.flags & kNumber) != 0) return scanner.Run(body.next, kNumber);
  if ((body.flags & kWhiteSpace) == 0) return scanner.RunWithout(body.next, kNotOther);
  return scanner.Spaces(at);
}

template <int kDigits>
const char* NextLlama3(const Scanner& scanner, const char* at) {
  const Cursor first = scanner.Read(at);
  if (*at == '\'') {
    if (const char* stop = scanner.Contraction<true>(at)) return stop;
  }
  if ((first.flags & kLetter) != 0) return scanner.Run(first.next, kLetter);
  if ((first.flags & kNumber) != 0) {
    const char* stop = first.next;
    for (int i = 1; i < kDigits && stop != scanner.end(); ++i) {
      const Cursor c = scanner.Read(stop);
      if ((c.flags & kNumber) == 0) break;
      stop = c.next;
    }
    return stop;
  }
  const bool has_next = first.next != scanner.end();
  const Cursor second = has_next ? scanner.Read(first.next) : first;
  if (has_next && (first.flags & kLineBreak) == 0 && (second.flags & kLetter) != 0) {
    return scanner.Run(second.next, kLetter);
  }
  const char* others = nullptr;
  if ((first.flags & kWhiteSpace) == 0)
    others = first.next;
  else if (*at == ' ' && has_next && (second.flags & kNotOther) == 0)
    others = second.next;
  if (others != nullptr) return scanner.Run(scanner.RunWithout(others, kNotOther), kLineBreak);
  return scanner.SpacesOrLines(at);
}

constexpr ClassFlags kHead = kUpper | kUncased | kMark;  // [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]
constexpr ClassFlags kTail = kLower | kUncased | kMark;  // [\p{Ll}\p{Lm}\p{Lo}\p{M}]

// Head* Tail+ from `at`, null if it does not match.
const char* HeadsThenTails(const Scanner& scanner, const char* at) {
  const char* stop = at;
  const char* after_both =
      nullptr;  // after the last character of the Head run that Tail accepts too
  while (stop != scanner.end()) {
    const Cursor c = scanner.Read(stop);
    if ((c.flags & kHead) == 0) {
      if ((c.flags & kTail) != 0) return scanner.Run(c.next, kTail);
      break;
    }
    stop = c.next;
    if ((c.flags & kTail) != 0) after_both = stop;
  }
  return after_both;
}

const char* NextTekken(const Scanner& scanner, const char* at) {
  const Cursor first = scanner.Read(at);
  const bool may_lead =
      (first.flags & (kLineBreak | kLetter | kNumber)) == 0 && first.next != scanner.end();
  if (may_lead) {
    if (const char* stop = HeadsThenTails(scanner, first.next)) return stop;
  }
  if ((first.flags & (kHead | kTail)) != 0) {
    if (const char* stop = HeadsThenTails(scanner, at)) return stop;
  }
  // No Tail character follows a Head run here (the first alternative would have matched), so Head+ Tail* is Head+.
  if (may_lead) {
    if (const char* stop = scanner.Run(first.next, kHead); stop != first.next) return stop;
  }
  if ((first.flags & kHead) != 0) return scanner.Run(first.next, kHead);
  if ((first.flags & kNumber) != 0) return first.next;
  const char* others = nullptr;
  if ((first.flags & kNotOther) == 0) {
    others = first.next;
  } else if (*at == ' ' && first.next != scanner.end()) {
    const Cursor second = scanner.Read(first.next);
    if ((second.flags & kNotOther) == 0) others = second.next;
  }
  if (others == nullptr) return scanner.SpacesOrLines(at);
  const char* stop = scanner.RunWithout(others, kNotOther);
  while (stop != scanner.end() && (*stop == '\r' || *stop == '\n' || *stop == '/')) ++stop;
  return stop;
}

template <typename Next>
void ScanWith(std::string_view text, std::vector<std::string_view>* pieces, Next next) {
  const Scanner scanner(text);
  for (const char* at = text.data(); at != scanner.end();) {
    const char* stop = next(scanner, at);
    pieces->emplace_back(at, static_cast<size_t>(stop - at));
    at = stop;
  }
}

}  // namespace

std::string_view PatternText(SplitPattern pattern) {
  switch (pattern) {
    case SplitPattern::kGpt2:
      return kGpt2Text;
    case SplitPattern::kLlama3:
      return kLlama3Text;
    case SplitPattern::kQwen2:
      return kQwen2Text;
    case SplitPattern::kTekken:
      return kTekkenText;
    case SplitPattern::kOther:
      break;
  }
  PLANISH_CHECK(false, "a pattern without a fixed text");
  return {};
}

SplitPattern KnownSplitPattern(std::string_view pattern_text) {
  for (const SplitPattern pattern :
       {SplitPattern::kGpt2, SplitPattern::kLlama3, SplitPattern::kQwen2, SplitPattern::kTekken}) {
    if (PatternText(pattern) == pattern_text) return pattern;
  }
  return SplitPattern::kOther;
}

void ScanSplits(SplitPattern pattern, std::string_view text,
                std::vector<std::string_view>* pieces) {
  switch (pattern) {
    case SplitPattern::kGpt2:
      return ScanWith(text, pieces, NextGpt2);
    case SplitPattern::kLlama3:
      return ScanWith(text, pieces, NextLlama3<3>);
    case SplitPattern::kQwen2:
      return ScanWith(text, pieces, NextLlama3<1>);
    case SplitPattern::kTekken:
      return ScanWith(text, pieces, NextTekken);
    case SplitPattern::kOther:
      break;
  }
  PLANISH_CHECK(false, "no scanner for this pattern");
}

}  // namespace planish
