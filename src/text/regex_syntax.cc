// SPDX-License-Identifier: Apache-2.0
// Rewrites Oniguruma's Ruby syntax for PCRE2. Differences handled: \s is exactly White_Space (PCRE2 adds U+180E), \h is a
// hex digit, {,n} means {0,n}, (?m) lets the dot match newlines, classes are those of Unicode 16. Refused: nested and
// intersected classes, X{n,m}+ (a repeat in one, possessive in the other), \w and \b (other alphabets), verbs, callouts,
// subroutine calls.
#include <cctype>
#include <span>

#include "base/error.h"
#include "base/limits.h"
#include "text/regex.h"
#include "text/unicode_class.h"

namespace planish {
namespace {

constexpr std::string_view kSpaceRanges =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view kNonSpaceRanges =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027})"
    R"(\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{d7ff}\x{e000}-\x{10ffff})";

struct CodeRange {
  char32_t first, last;
};
// Punctuation and symbols of Unicode 15.0, 15.1 and 16.0; the other classes come from unicode_class.h.
constexpr CodeRange kNewPunctuation[] = {{0x1B4E, 0x1B4F},   {0x1B7F, 0x1B7F},   {0x10D6E, 0x10D6E},
                                         {0x113D4, 0x113D5}, {0x113D7, 0x113D8}, {0x11B00, 0x11B09},
                                         {0x11BE1, 0x11BE1}, {0x11F43, 0x11F4F}, {0x16D6D, 0x16D6F},
                                         {0x1E5FF, 0x1E5FF}};
constexpr CodeRange kNewSymbols[] = {
    {0x2427, 0x2429},   {0x2FFC, 0x2FFF},   {0x31E4, 0x31E5},   {0x31EF, 0x31EF},
    {0x10D8E, 0x10D8F}, {0x1CC00, 0x1CCEF}, {0x1CD00, 0x1CEB3}, {0x1F6DC, 0x1F6DC},
    {0x1F774, 0x1F776}, {0x1F77B, 0x1F77F}, {0x1F7D9, 0x1F7D9}, {0x1F8B2, 0x1F8BB},
    {0x1F8C0, 0x1F8C1}, {0x1FA75, 0x1FA77}, {0x1FA87, 0x1FA89}, {0x1FA8F, 0x1FA8F},
    {0x1FAAD, 0x1FAAF}, {0x1FABB, 0x1FABF}, {0x1FAC6, 0x1FAC6}, {0x1FACE, 0x1FACF},
    {0x1FADA, 0x1FADC}, {0x1FADF, 0x1FADF}, {0x1FAE8, 0x1FAE9}, {0x1FAF7, 0x1FAF8},
    {0x1FBCB, 0x1FBEF}};

// What PCRE2's Unicode 14 lacks of a class, as class members; empty for classes that are not completed.
std::string NewerMembers(std::string_view name) {
  std::string out;
  const auto add = [&](char32_t first, char32_t last) {
    out += fmt::format("\\x{{{:x}}}-\\x{{{:x}}}", static_cast<uint32_t>(first),
                       static_cast<uint32_t>(last));
  };
  if (name == "P" || name == "S") {
    for (const CodeRange& range :
         name == "P" ? std::span<const CodeRange>(kNewPunctuation) : kNewSymbols) {
      add(range.first, range.last);
    }
    return out;
  }
  if (name == "Han") {  // Extensions H and I
    add(0x31350, 0x323AF);
    add(0x2EBF0, 0x2EE5D);
    return out;
  }
  const ClassFlags flags = name == "L"                    ? kLetter
                           : name == "Lu"                 ? kUpper
                           : name == "Ll"                 ? kLower
                           : name == "Lm" || name == "Lo" ? kUncased
                           : name == "M"                  ? kMark
                           : name == "N" || name == "Nd"  ? kNumber
                                                          : ClassFlags{0};
  for (const ClassRange& range : ClassesAfterUnicode14()) {
    if ((range.flags & flags) == 0) continue;
    // Of the newer numbers only Kaktovik's (Unicode 15) are no decimal digits.
    if (name == "Nd" && range.first >= 0x1D2C0 && range.last <= 0x1D2DF) continue;
    add(range.first, range.last);
  }
  return out;
}

class Translator {
 public:
  Translator(std::string_view pattern, const std::string& where)
      : pattern_(pattern), where_(where) {}

  std::string Run() {
    while (at_ < pattern_.size()) {
      const char c = pattern_[at_];
      if (c == '\\')
        Escape(/*in_class=*/false);
      else if (c == '[')
        Class();
      else if (c == '(')
        Group();
      else if (c == '{')
        Interval();
      else
        Copy(1);
    }
    return std::move(out_);
  }

 private:
  bool Ahead(std::string_view text) const { return pattern_.substr(at_).starts_with(text); }
  void Copy(size_t n) {
    out_.append(pattern_.substr(at_, n));
    at_ += std::min(n, pattern_.size() - at_);
  }
  [[noreturn]] void Unsupported(std::string_view what) const {
    throw BadFile("{}: pattern {} uses {} at byte {}, which is not supported", where_,
                  Quoted(pattern_), what, at_);
  }

  void Escape(bool in_class) {
    if (at_ + 1 >= pattern_.size()) {
      Copy(1);  // PCRE2 reports it
      return;
    }
    const auto replace = [&](std::string_view inside, std::string_view outside) {
      out_ += in_class ? inside : outside;
      at_ += 2;
    };
    switch (pattern_[at_ + 1]) {
      case 's':
        replace(kSpaceRanges, fmt::format("[{}]", kSpaceRanges));
        break;
      case 'S':
        replace(kNonSpaceRanges, fmt::format("[^{}]", kSpaceRanges));
        break;
      case 'h':
        replace("0-9A-Fa-f", "[0-9A-Fa-f]");
        break;
      case 'H':
        replace(R"(\x{0}-/:-@G-`g-\x{d7ff}\x{e000}-\x{10ffff})", "[^0-9A-Fa-f]");
        break;
      case 'w':
      case 'W':
      case 'b':
      case 'B':
      case 'R':
      case 'X':
      case 'C':
      case 'K':
      case 'G':
      case 'g':
      case 'k':
      case 'y':
      case 'Y':
      case 'N':
      case 'O':
      case 'Q':
      case 'E':
      case 'M':
        Unsupported(pattern_.substr(at_, 2));
      case 'p':
      case 'P':
        Property(in_class);
        break;
      case 'd':
        CharacterClass("Nd", /*negated=*/false, in_class);
        at_ += 2;
        break;
      case 'x':
        CopyBraced();
        break;
      default:
        Copy(2);
    }
  }

  // \x{10FFFF}, or two characters of another escape.
  void CopyBraced() {
    const size_t close = pattern_.find('}', at_);
    Copy(at_ + 2 < pattern_.size() && pattern_[at_ + 2] == '{' && close != std::string_view::npos
             ? close + 1 - at_
             : 2);
  }

  // \p{L} and the like, completed by the characters that PCRE2's older Unicode does not know. Longer names are scripts;
  // PCRE2 by itself would match script extensions too.
  void Property(bool in_class) {
    const size_t close = pattern_.find('}', at_);
    if (at_ + 2 >= pattern_.size() || pattern_[at_ + 2] != '{' || close == std::string_view::npos) {
      Unsupported(pattern_.substr(at_, 3));
    }
    CharacterClass(pattern_.substr(at_ + 3, close - at_ - 3), pattern_[at_ + 1] == 'P', in_class);
    at_ = close + 1;
  }

  void CharacterClass(std::string_view name, bool negated, bool in_class) {
    const std::string plain =
        name.size() > 2 ? fmt::format("{{sc:{}}}", name) : fmt::format("{{{}}}", name);
    if (negated && in_class) {
      out_ += "\\P" + plain;  // no way to take the newer members out of a class
      return;
    }
    const std::string members = "\\p" + plain + NewerMembers(name);
    if (in_class)
      out_ += members;
    else
      out_ += (negated ? "[^" : "[") + members + "]";
  }

  void Class() {
    Copy(Ahead("[^") ? 2 : 1);
    if (Ahead("]")) Unsupported("']' as the first member of a class");
    while (at_ < pattern_.size()) {
      const char c = pattern_[at_];
      if (c == ']') {
        Copy(1);
        return;
      }
      if (c == '\\') {
        Escape(/*in_class=*/true);
      } else if (Ahead("[:")) {
        Unsupported("a POSIX class");
      } else if (c == '[') {
        Unsupported("a class inside a class");
      } else if (Ahead("&&")) {
        Unsupported("a class intersection");
      } else {
        Copy(1);
      }
    }
  }

  void Group() {
    if (Ahead("(*")) Unsupported("'(*'");
    if (!Ahead("(?")) {
      Copy(1);
      return;
    }
    for (const std::string_view known : {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!", "(?#"}) {
      if (Ahead(known)) {
        Copy(known.size());
        return;
      }
    }
    size_t end = at_ + 2;
    while (end < pattern_.size() &&
           (std::isalpha(static_cast<unsigned char>(pattern_[end])) || pattern_[end] == '-'))
      ++end;
    if (end >= pattern_.size() || end == at_ + 2 ||
        (pattern_[end] != ':' && pattern_[end] != ')')) {
      Unsupported(pattern_.substr(at_, 3));
    }
    out_ += "(?";
    for (size_t i = at_ + 2; i < end; ++i) {
      switch (pattern_[i]) {
        case 'i':
        case 'x':
        case '-':
          out_ += pattern_[i];
          break;
        case 'm':
          out_ += 's';
          break;
        default:
          Unsupported(pattern_.substr(at_, end - at_));
      }
    }
    at_ = end;
    Copy(1);
  }

  void Interval() {
    size_t end = at_ + 1;
    while (end < pattern_.size() &&
           (std::isdigit(static_cast<unsigned char>(pattern_[end])) || pattern_[end] == ','))
      ++end;
    const bool is_interval = end < pattern_.size() && pattern_[end] == '}' && end > at_ + 1;
    if (!is_interval) Unsupported("'{' that starts no interval");
    if (end + 1 < pattern_.size() && pattern_[end + 1] == '+')
      Unsupported("an interval followed by '+'");
    if (Ahead("{,")) {
      out_ += "{0";
      at_ += 1;
    }
    Copy(end + 1 - at_);
  }

  std::string_view pattern_;
  const std::string& where_;
  size_t at_ = 0;
  std::string out_;
};

}  // namespace

std::string TranslateOniguruma(std::string_view pattern, const std::string& where) {
  if (pattern.size() > limits::kRegexPatternBytes) {
    throw BadFile("{}: pattern has {} bytes, at most {} are allowed", where, pattern.size(),
                  limits::kRegexPatternBytes);
  }
  return Translator(pattern, where).Run();
}

std::string EscapeRegex(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80 && !std::isalnum(byte)) {
      out += fmt::format("\\x{{{:x}}}", static_cast<unsigned>(byte));
    } else {
      out.push_back(c);
    }
  }
  return out;
}

}  // namespace planish
