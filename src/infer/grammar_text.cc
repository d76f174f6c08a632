// SPDX-License-Identifier: Apache-2.0
#include "infer/grammar_text.h"

#include <algorithm>
#include <map>

#include "infer/grammar_regex.h"
#include "text/utf8.h"

namespace planish {
namespace {

constexpr int kMaxDepth = 64;

bool IsNameChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_';
}

class Reader {
 public:
  Reader(std::string_view text, JsonRules* rules) : text_(text), builder_(rules->builder()) {}

  int32_t Run() {
    for (Blank(true); at_ < text_.size(); Blank(true)) {
      const std::string name = Name();
      Blank(false);
      if (text_.substr(at_, 3) != "::=") Fail("expected ::= after the name of a rule");
      at_ += 3;
      Blank(true);
      Rule& rule = RuleOf(name);
      if (rule.is_defined) Fail(fmt::format("rule {} is defined twice", Quoted(name)));
      rule.is_defined = true;
      const int32_t end = Alternatives(builder_.Start(rule.id), 0);
      builder_.SetFinal(end);
      if (at_ < text_.size() && text_[at_] == ')') Fail("a parenthesis that closes nothing");
    }
    for (const auto& [name, rule] : rules_) {
      if (!rule.is_defined)
        throw GrammarError(fmt::format("line {}", rule.line),
                           fmt::format("rule {} is not defined", Quoted(name)));
    }
    if (rules_.count("root") == 0) throw GrammarError("line 1", "there is no rule 'root'");
    return rules_["root"].id;
  }

 private:
  struct Rule {
    int32_t id = -1;
    size_t line = 0;
    bool is_defined = false;
  };

  std::string Line() const {
    return fmt::format(
        "line {}",
        1 + std::count(text_.begin(),
                       text_.begin() + static_cast<ptrdiff_t>(std::min(at_, text_.size())), '\n'));
  }
  [[noreturn]] void Fail(const std::string& problem) const { throw GrammarError(Line(), problem); }

  Rule& RuleOf(const std::string& name) {
    Rule& rule = rules_[name];
    if (rule.id < 0) {
      rule.id = builder_.NewRule();
      rule.line = 1 + static_cast<size_t>(std::count(
                          text_.begin(), text_.begin() + static_cast<ptrdiff_t>(at_), '\n'));
    }
    return rule;
  }

  // Newlines end a rule, unless a group is open or the next line begins with '|'.
  void Blank(bool newlines) {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (c == ' ' || c == '\t' || ((c == '\n' || c == '\r') && newlines)) {
        ++at_;
      } else {
        return;
      }
    }
  }
  std::string Name() {
    const size_t begin = at_;
    while (at_ < text_.size() && IsNameChar(text_[at_])) ++at_;
    if (at_ == begin) Fail("expected the name of a rule");
    return std::string(text_.substr(begin, at_ - begin));
  }

  int32_t Alternatives(int32_t from, int depth) {
    if (depth > kMaxDepth) Fail(fmt::format("more than {} nested groups", kMaxDepth));
    const int32_t to = builder_.NewState();
    while (true) {
      const int32_t begin = builder_.NewState();
      builder_.Jump(from, begin);
      builder_.Jump(Sequence(begin, depth), to);
      const size_t here = at_;
      Blank(true);
      if (at_ < text_.size() && text_[at_] == '|') {
        ++at_;
        Blank(true);
        continue;
      }
      if (depth == 0) at_ = here;
      return to;
    }
  }

  int32_t Sequence(int32_t from, int depth) {
    while (true) {
      Blank(depth > 0);
      if (at_ >= text_.size() || text_[at_] == '|' || text_[at_] == ')' || text_[at_] == '\n' ||
          text_[at_] == '\r')
        return from;
      from = Repeated(from, depth);
    }
  }

  uint32_t Number() {
    uint32_t value = 0;
    const size_t begin = at_;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') {
      value = value * 10 + static_cast<uint32_t>(text_[at_++] - '0');
      if (value > limits::kGrammarRepeat)
        Fail(fmt::format("a repetition above {}", limits::kGrammarRepeat));
    }
    if (at_ == begin) Fail("a number is missing");
    return value;
  }

  int32_t Repeated(int32_t from, int depth) {
    const int32_t atom = Atom(depth);
    const char c = at_ < text_.size() ? text_[at_] : '\0';
    if (c != '*' && c != '+' && c != '?' && c != '{') return builder_.CallRule(from, atom);
    ++at_;
    if (c != '{') return builder_.Repeat(from, atom, c == '+' ? 1 : 0, c == '?' ? 1 : kUnbounded);
    const uint32_t min = Number();
    uint32_t max = min;
    if (at_ < text_.size() && text_[at_] == ',') {
      ++at_;
      max = at_ < text_.size() && text_[at_] == '}' ? kUnbounded : Number();
    }
    if (at_ >= text_.size() || text_[at_] != '}') Fail("a repetition without its closing brace");
    ++at_;
    if (max < min) Fail("a repetition that runs backwards");
    return builder_.Repeat(from, atom, min, max);
  }

  int32_t Atom(int depth) {
    const char c = text_[at_];
    if (IsNameChar(c)) {
      const std::string name = Name();
      if (text_.substr(at_, 3) == "::=") Fail("a rule must begin on a line of its own");
      return RuleOf(name).id;
    }
    const int32_t rule = builder_.NewRule();
    if (c == '"') {
      builder_.SetFinal(builder_.Text(builder_.Start(rule), Literal()));
    } else if (c == '[' || c == '.') {
      std::vector<CodeRange> ranges = {{0, 0x10FFFF}};
      if (c == '.') {
        ++at_;
      } else {
        ranges = ParseCharacterClass(text_, &at_, Line());
      }
      const int32_t end = builder_.NewState();
      builder_.SetFinal(end);
      builder_.Characters(builder_.Start(rule), ranges, end);
    } else if (c == '(') {
      ++at_;
      const int32_t end = Alternatives(builder_.Start(rule), depth + 1);
      if (at_ >= text_.size() || text_[at_] != ')') Fail("a group without its closing parenthesis");
      ++at_;
      builder_.SetFinal(end);
    } else {
      Fail(fmt::format("{} is not expected here", Quoted(std::string_view(&c, 1))));
    }
    return rule;
  }

  std::string Literal() {
    std::string out;
    for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_) {
      char c = text_[at_];
      if (c == '\n') Fail("a literal without its closing quote");
      if (c == '\\') {
        if (++at_ >= text_.size()) break;
        c = text_[at_];
        const size_t simple = std::string_view("ntr\\\"[]'").find(c);
        if (simple != std::string_view::npos) {
          out += "\n\t\r\\\"[]'"[simple];
          continue;
        }
        const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
        if (digits == 0) Fail(fmt::format("\\{} is no escape", Quoted(std::string_view(&c, 1))));
        char32_t code = 0;
        for (size_t i = 0; i < digits; ++i) {
          const char h = ++at_ < text_.size() ? text_[at_] : '\0';
          const size_t value = std::string_view("0123456789abcdef")
                                   .find(static_cast<char>(h >= 'A' && h <= 'F' ? h + 32 : h));
          if (value == std::string_view::npos) Fail("a hexadecimal digit is missing");
          code = code << 4 | static_cast<char32_t>(value);
        }
        if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
          Fail("an escape that is no character");
        AppendUtf8(code, &out);
        continue;
      }
      out += c;
    }
    if (at_ >= text_.size()) Fail("a literal without its closing quote");
    ++at_;
    return out;
  }

  std::string_view text_;
  GrammarBuilder& builder_;
  size_t at_ = 0;
  std::map<std::string, Rule> rules_;
};

}  // namespace

int32_t CompileGrammarText(std::string_view text, JsonRules* rules) {
  if (text.size() > limits::kSchemaBytes)
    throw GrammarError("line 1", fmt::format("a grammar of {} bytes, allowed are {}", text.size(),
                                             limits::kSchemaBytes));
  if (ValidUtf8Prefix(text) != text.size()) throw GrammarError("line 1", "not valid UTF-8");
  return Reader(text, rules).Run();
}

}  // namespace planish
