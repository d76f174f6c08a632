// SPDX-License-Identifier: Apache-2.0
#include "infer/grammar_regex.h"

#include <algorithm>

#include "text/utf8.h"

namespace planish {
namespace {

constexpr int kMaxDepth = 64;

using Ranges = std::vector<CodeRange>;

const Ranges& SpaceRanges() {  // White_Space of Unicode
  static const Ranges ranges = {{9, 13},          {32, 32},         {0x85, 0x85},
                                {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
                                {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F},
                                {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
  return ranges;
}

class Scanner {
 public:
  Scanner(std::string_view text, size_t at, std::string pointer)
      : text_(text), at_(at), pointer_(std::move(pointer)) {}

  [[noreturn]] void Fail(const std::string& problem) const {
    throw GrammarError(pointer_, fmt::format("{} at offset {} of {}", problem, at_, Quoted(text_)));
  }
  bool AtEnd() const { return at_ >= text_.size(); }
  char Peek(size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  bool Take(char c) {
    if (AtEnd() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  char32_t Character() {
    const size_t length = ValidUtf8Prefix(text_.substr(at_, 4)) == 0 ? 0 : 1;
    if (AtEnd() || length == 0) Fail("a character is missing");
    const char* p = text_.data() + at_;
    const char* q = p;
    const char32_t code = NextValidUtf8(q);
    at_ += static_cast<size_t>(q - p);
    return code;
  }
  uint32_t Number() {
    uint32_t value = 0;
    if (Peek() < '0' || Peek() > '9') Fail("a number is missing");
    while (Peek() >= '0' && Peek() <= '9') {
      value = value * 10 + static_cast<uint32_t>(text_[at_++] - '0');
      if (value > limits::kGrammarRepeat)
        Fail(fmt::format("a repetition above {}", limits::kGrammarRepeat));
    }
    return value;
  }
  char32_t Hex(int digits) {
    char32_t code = 0;
    for (int i = 0; i < digits; ++i) {
      const size_t d = std::string_view("0123456789abcdef").find(static_cast<char>(Peek() | 32));
      if (AtEnd() || d == std::string_view::npos || Peek() < '0')
        Fail("a hexadecimal digit is missing");
      code = code << 4 | static_cast<char32_t>(d);
      ++at_;
    }
    return code;
  }
  // After a backslash: a class (true) or one character.
  bool Escape(Ranges* ranges, bool in_class) {
    if (AtEnd()) Fail("a backslash ends the expression");
    static const Ranges digits = {{'0', '9'}},
                        words = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    const auto ascii_without = [](Ranges out) {
      out.push_back({0x80, 0x10FFFF});
      out.push_back({0, 0x1F});
      return Complement(out);
    };
    const char c = Peek();
    switch (c) {
      case 'd':
        ++at_;
        *ranges = digits;
        return true;
      case 'w':
        ++at_;
        *ranges = words;
        return true;
      case 's':
        ++at_;
        *ranges = {{9, 13}, {32, 32}};
        return true;
      case 'D':
        ++at_;
        *ranges = ascii_without(digits);
        return true;
      case 'W':
        ++at_;
        *ranges = ascii_without(words);
        return true;
      case 'S': {
        ++at_;
        Ranges spaces = SpaceRanges();
        spaces.push_back({0, 0x1F});
        *ranges = Complement(spaces);
        return true;
      }
      default:
        break;
    }
    char32_t code = 0;
    if (c == 'n' || c == 't' || c == 'r' || c == 'f' || c == 'v') {
      ++at_;
      code = static_cast<char32_t>("\n\t\r\f\v"[std::string_view("ntrfv").find(c)]);
    } else if (c == 'x') {
      ++at_;
      code = Hex(2);
    } else if (c == 'u') {
      ++at_;
      code = Hex(4);
      if (code >= 0xD800 && code < 0xE000) Fail("a surrogate");
    } else if (in_class && c == 'b') {
      ++at_;
      code = '\b';
    } else if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) {
      Fail(fmt::format("\\{} is not supported", c));
    } else {
      code = Character();
    }
    *ranges = {{code, code}};
    return false;
  }
  Ranges Class() {
    const bool is_negated = (++at_, Take('^'));
    Ranges all;
    for (bool first = true; first || Peek() != ']'; first = false) {
      if (AtEnd()) Fail("a class without its closing bracket");
      if (first && Peek() == ']') Fail("an empty class");
      Ranges low;
      bool is_class = false;
      if (Take('\\')) {
        is_class = Escape(&low, true);
      } else {
        if (Peek() == '[' && (Peek(1) == ':' || Peek(1) == '=')) Fail("a named class");
        const char32_t code = Character();
        low = {{code, code}};
      }
      if (!is_class && Peek() == '-' && Peek(1) != ']' && Peek(1) != '\0') {
        ++at_;
        Ranges high;
        if (Take('\\')) {
          if (Escape(&high, true)) Fail("a range that ends in a class");
        } else {
          const char32_t code = Character();
          high = {{code, code}};
        }
        if (high[0].first < low[0].first) Fail("a range that runs backwards");
        low[0].last = high[0].first;
      }
      all.insert(all.end(), low.begin(), low.end());
    }
    ++at_;
    if (!is_negated) return Normalized(all);
    all.push_back({0, 0x1F});  // a control is hardly meant; leaving it out is safe
    return Complement(all);
  }
  size_t at() const { return at_; }

 protected:
  std::string_view text_;
  size_t at_;
  std::string pointer_;
};

// Recursive descent straight to states: every part goes from a state to a new one.
class Compiler : public Scanner {
 public:
  Compiler(std::string_view pattern, bool is_json, const std::string& pointer, JsonRules* rules)
      : Scanner(pattern, 0, pointer),
        is_json_(is_json),
        rules_(rules),
        builder_(rules->builder()) {}

  int32_t Alternatives(int32_t from, int depth) {
    if (depth > kMaxDepth) Fail(fmt::format("more than {} nested groups", kMaxDepth));
    const int32_t to = builder_.NewState();
    do {
      const int32_t begin = builder_.NewState();
      builder_.Jump(from, begin);
      builder_.Jump(Sequence(begin, depth), to);
    } while (Take('|'));
    return to;
  }

 private:
  int32_t Sequence(int32_t from, int depth) {
    while (!AtEnd() && Peek() != '|' && Peek() != ')') from = Repeated(from, depth);
    return from;
  }

  // What is repeated becomes a rule of its own; so a count costs no states.
  int32_t Repeated(int32_t from, int depth) {
    const size_t begin = at_;
    size_t end = at_;
    // The atom is parsed once into a rule only if a repetition follows, which is known after it: parse it in place first.
    const int32_t atom = builder_.NewRule();
    builder_.SetFinal(Atom(builder_.Start(atom), depth));
    end = at_;
    uint32_t min = 1, max = 1;
    if (Take('*')) {
      min = 0, max = kUnbounded;
    } else if (Take('+')) {
      max = kUnbounded;
    } else if (Take('?')) {
      min = 0;
    } else if (Peek() == '{' && Peek(1) >= '0' && Peek(1) <= '9') {
      ++at_;
      min = max = Number();
      if (Take(',')) max = Peek() == '}' ? kUnbounded : Number();
      if (!Take('}')) Fail("a repetition without its closing brace");
      if (max < min) Fail("a repetition that runs backwards");
    }
    if (at_ > end) {
      Take('?');  // lazy: the same language
      if (Peek() == '*' || Peek() == '+' || Peek() == '?' || Peek() == '{')
        Fail("a repetition of a repetition");
    }
    PLANISH_CHECK(end > begin);
    if (min == 1 && max == 1) return builder_.CallRule(from, atom);
    return builder_.Repeat(from, atom, min, max);
  }

  void One(int32_t from, const Ranges& ranges, int32_t to) {
    if (is_json_) return rules_->Escaped(from, ranges, to);
    builder_.Characters(from, ranges, to);
  }

  int32_t Atom(int32_t from, int depth) {
    const char c = Peek();
    Ranges ranges;
    if (c == '(') {
      ++at_;
      if (Take('?') && !Take(':')) Fail("look-around, a named group or a flag");
      const int32_t to = Alternatives(from, depth + 1);
      if (!Take(')')) Fail("a group without its closing parenthesis");
      return to;
    }
    if (c == '[') {
      ranges = Class();
    } else if (c == '.') {
      ++at_;
      ranges = Complement({{0, 0x1F}, {0x85, 0x85}, {0x2028, 0x2029}});
    } else if (c == '\\') {
      ++at_;
      Escape(&ranges, false);
    } else if (c == '^' || c == '$') {
      Fail(fmt::format("{} inside the expression", c));
    } else if (c == '*' || c == '+' || c == '?') {
      Fail("a repetition of nothing");
    } else {
      const char32_t code = Character();
      ranges = {{code, code}};
    }
    const int32_t to = builder_.NewState();
    One(from, ranges, to);
    return to;
  }

  bool is_json_;
  JsonRules* rules_;
  GrammarBuilder& builder_;
};

// The alternatives of the outermost level; empty if the parentheses or brackets do not close.
bool HasOuterAlternatives(std::string_view pattern) {
  int depth = 0;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '\\') {
      ++i;
    } else if (in_class) {
      in_class = pattern[i] != ']';
    } else if (pattern[i] == '[') {
      in_class = true;
    } else if (pattern[i] == '(') {
      ++depth;
    } else if (pattern[i] == ')') {
      --depth;
    } else if (pattern[i] == '|' && depth == 0) {
      return true;
    }
  }
  return false;
}

bool EndsInDollar(std::string_view pattern) {
  if (!pattern.ends_with('$')) return false;
  size_t slashes = 0;
  while (slashes + 1 < pattern.size() && pattern[pattern.size() - 2 - slashes] == '\\') ++slashes;
  return slashes % 2 == 0;
}

}  // namespace

int32_t CompileRegex(std::string_view pattern, RegexUse use, const std::string& pointer,
                     JsonRules* rules) {
  if (pattern.size() > limits::kSchemaPatternBytes)
    throw GrammarError(pointer, fmt::format("a pattern of {} bytes, allowed are {}", pattern.size(),
                                            limits::kSchemaPatternBytes));
  if (ValidUtf8Prefix(pattern) != pattern.size()) throw GrammarError(pointer, "not valid UTF-8");
  const bool is_json = use == RegexUse::kSearch;
  std::string_view inner = pattern;
  const bool from_start = inner.starts_with('^'), to_end = EndsInDollar(inner);
  // In ^a|b$ each anchor belongs to one alternative only.
  if ((from_start || to_end) && HasOuterAlternatives(inner))
    throw GrammarError(pointer, "^ or $ beside alternatives: put them in a group, as in ^(a|b)$");
  if (from_start) inner.remove_prefix(1);
  if (to_end) inner.remove_suffix(1);
  GrammarBuilder& builder = rules->builder();
  const int32_t rule = builder.NewRule();
  int32_t at = builder.Start(rule);
  if (is_json) at = builder.Text(at, "\"");
  if (is_json && !from_start) at = builder.Repeat(at, rules->PlainCharacter(), 0, kUnbounded);
  Compiler compiler(inner, is_json, pointer, rules);
  at = compiler.Alternatives(at, 0);
  if (!compiler.AtEnd()) compiler.Fail("a parenthesis that closes nothing");
  if (is_json && !to_end) at = builder.Repeat(at, rules->PlainCharacter(), 0, kUnbounded);
  if (is_json) at = builder.Text(at, "\"");
  builder.SetFinal(at);
  return rule;
}

std::vector<CodeRange> ParseCharacterClass(std::string_view text, size_t* at,
                                           const std::string& pointer) {
  Scanner scanner(text, *at, pointer);
  std::vector<CodeRange> ranges = scanner.Class();
  *at = scanner.at();
  return ranges;
}

}  // namespace planish
