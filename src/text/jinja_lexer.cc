// SPDX-License-Identifier: Apache-2.0
#include "text/jinja_lexer.h"

#include <fmt/format.h>
#include <unicode/uchar.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "text/jinja_string.h"

namespace planish::jinja {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

int HexDigit(char c) {
  if (IsDigit(c)) return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// "\r\n" and "\r" become "\n"; one newline at the very end is dropped.
std::string NormalizeNewlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)), text_(source_) {}

  std::vector<Token> Run() {
    while (at_ < text_.size()) LexData();
    Add(Token::Kind::kEnd);
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void Fail(std::string message) const { throw Failure{std::move(message), line_}; }

  Token& Add(Token::Kind kind, std::string_view text = {}) {
    Token& token = tokens_.emplace_back();
    token.kind = kind;
    token.line = line_;
    token.text = text;
    return token;
  }

  // Moves on to `end`, counting lines.
  void Advance(size_t end) {
    line_ += static_cast<int>(std::count(text_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         text_.begin() + static_cast<std::ptrdiff_t>(end), '\n'));
    if (end > at_) line_starting_ = text_[end - 1] == '\n';
    at_ = end;
  }
  bool Is(size_t at, std::string_view what) const { return text_.substr(at, what.size()) == what; }
  size_t SkipSpace(size_t at) const {
    while (at < text_.size() && IsSpace(PointAt(text_, at))) at += PointBytes(text_, at);
    return at;
  }
  char SignAt(size_t at) const {
    return at < text_.size() && (text_[at] == '-' || text_[at] == '+') ? text_[at] : '\0';
  }

  // End of a closing tag at `at`, or 0 if there is none: "-%}" eats the space behind, "%}" one
  // newline, "+%}" nothing.
  size_t CloseAt(size_t at, std::string_view close, bool plus_allowed, bool trims_newline) const {
    if (Is(at, "-") && Is(at + 1, close)) return SkipSpace(at + 1 + close.size());
    if (plus_allowed && Is(at, "+") && Is(at + 1, close)) return at + 1 + close.size();
    if (!Is(at, close)) return 0;
    at += close.size();
    return trims_newline && Is(at, "\n") ? at + 1 : at;
  }

  // Data before a tag whose sign is `sign`: "-" strips all white space, an unsigned block or
  // comment its own indentation.
  void AddData(std::string_view data, char sign, bool is_variable) {
    std::string_view kept = data;
    if (sign == '-') {
      kept = data.substr(0, StripRange(data, nullptr, Side::kRight).second);
    } else if (sign != '+' && !is_variable) {
      const size_t newline = data.rfind('\n');
      const size_t begin = newline == std::string_view::npos ? 0 : newline + 1;
      if ((begin > 0 || line_starting_) && begin < data.size() &&
          StripRange(data.substr(begin), nullptr, Side::kLeft).first == data.size() - begin) {
        kept = data.substr(0, begin);
      }
    }
    if (!kept.empty()) Add(Token::Kind::kData, kept);
  }

  void LexData() {
    size_t open = at_;
    while (true) {
      open = text_.find('{', open);
      if (open == std::string_view::npos || open + 1 >= text_.size()) {
        Add(Token::Kind::kData, text_.substr(at_));
        return Advance(text_.size());
      }
      const char next = text_[open + 1];
      if (next == '{' || next == '%' || next == '#') break;
      ++open;
    }
    const char sign = SignAt(open + 2);
    const size_t inside = open + 2 + (sign != '\0' ? 1 : 0);
    const char kind = text_[open + 1];
    AddData(text_.substr(at_, open - at_), sign, kind == '{');
    Advance(open);
    if (kind == '#') return LexComment(inside);
    if (kind == '%') {
      if (const size_t body = RawBodyAt(inside); body != 0) return LexRaw(body);
    }
    Add(kind == '{' ? Token::Kind::kVariableBegin : Token::Kind::kBlockBegin);
    Advance(inside);
    LexTag(kind == '{');
  }

  void LexComment(size_t inside) {
    for (size_t at = inside; at < text_.size(); ++at) {
      if (const size_t end = CloseAt(at, "#}", /*plus_allowed=*/true, /*trims_newline=*/true))
        return Advance(end);
    }
    Fail("Missing end of comment tag");
  }

  // Where the text of {% raw %} begins if that is the tag that goes on at `inside`, else 0.
  size_t RawBodyAt(size_t inside) const {
    size_t at = SkipSpace(inside);
    if (!Is(at, "raw")) return 0;
    at = SkipSpace(at + 3);
    return CloseAt(at, "%}", /*plus_allowed=*/false, /*trims_newline=*/false);
  }

  void LexRaw(size_t body) {
    Advance(body);
    for (size_t at = body; (at = text_.find("{%", at)) != std::string_view::npos; ++at) {
      const char sign = SignAt(at + 2);
      size_t tag = SkipSpace(at + 2 + (sign != '\0' ? 1 : 0));
      if (!Is(tag, "endraw")) continue;
      tag = SkipSpace(tag + 6);
      const size_t end = CloseAt(tag, "%}", /*plus_allowed=*/true, /*trims_newline=*/true);
      if (end == 0) continue;
      AddData(text_.substr(body, at - body), sign, /*is_variable=*/false);
      return Advance(end);
    }
    Fail("Missing end of raw directive");
  }

  void LexTag(bool is_variable) {
    std::string open;  // closing brackets still expected
    while (at_ < text_.size()) {
      if (open.empty()) {
        const size_t end = is_variable
                               ? CloseAt(at_, "}}", /*plus_allowed=*/false, /*trims_newline=*/false)
                               : CloseAt(at_, "%}", /*plus_allowed=*/true, /*trims_newline=*/true);
        if (end != 0) {
          Add(is_variable ? Token::Kind::kVariableEnd : Token::Kind::kBlockEnd);
          return Advance(end);
        }
      }
      const char c = text_[at_];
      if (const size_t end = SkipSpace(at_); end > at_) {
        Advance(end);
      } else if (IsDigit(c)) {
        LexNumber();
      } else if (const size_t name_end = NameEnd(at_); name_end > at_) {
        Add(Token::Kind::kName, text_.substr(at_, name_end - at_));
        Advance(name_end);
      } else if ((c == '"' || c == '\'') && LexString(c)) {
      } else {
        LexOperator(&open);
      }
    }
  }

  size_t NameEnd(size_t at) const {
    while (at < text_.size()) {
      const char32_t c = PointAt(text_, at);
      const bool is_word =
          c < 0x80 ? c == '_' || IsDigit(static_cast<char>(c)) ||
                         ((c | 0x20) >= 'a' && (c | 0x20) <= 'z')
                   : u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_XID_CONTINUE) != 0;
      if (!is_word) break;
      at += PointBytes(text_, at);
    }
    return at;
  }

  // Digits with single underscores between them, of the given base; appended to out without the
  // underscores.
  size_t Digits(size_t at, int base, std::string* out) const {
    while (at < text_.size()) {
      const size_t digit = text_[at] == '_' && !out->empty() ? at + 1 : at;
      if (digit >= text_.size()) break;
      const int value = HexDigit(text_[digit]);
      if (value < 0 || value >= base) break;
      *out += text_[digit];
      at = digit + 1;
    }
    return at;
  }

  void LexNumber() {
    if (at_ == 0 || text_[at_ - 1] != '.') {
      std::string digits, fraction, exponent;
      size_t end = Digits(at_, 10, &digits);
      if (end + 1 < text_.size() && text_[end] == '.' && IsDigit(text_[end + 1])) {
        end = Digits(end + 1, 10, &fraction);
      }
      if (end < text_.size() && (text_[end] | 0x20) == 'e') {
        const char sign = SignAt(end + 1);
        const size_t power = end + 1 + (sign != '\0' ? 1 : 0);
        if (power < text_.size() && IsDigit(text_[power])) {
          end = Digits(power, 10, &exponent);
          if (sign == '-') exponent.insert(0, "-");
        }
      }
      if (!fraction.empty() || !exponent.empty()) {
        const std::string number = digits + "." + (fraction.empty() ? "0" : fraction) + "e" +
                                   (exponent.empty() ? "0" : exponent);
        Token& token = Add(Token::Kind::kFloat, text_.substr(at_, end - at_));
        const auto parsed =
            std::from_chars(number.data(), number.data() + number.size(), token.number);
        if (parsed.ec == std::errc::result_out_of_range) {
          token.number = exponent.starts_with('-') ? 0.0 : std::numeric_limits<double>::infinity();
        }
        return Advance(end);
      }
    }
    std::string digits;
    int base = 10;
    size_t end = at_;
    if (text_[at_] == '0' && at_ + 1 < text_.size()) {
      const char mark = static_cast<char>(text_[at_ + 1] | 0x20);
      const int marked = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 10;
      if (marked != 10) {
        const size_t begin = at_ + 2 + (Is(at_ + 2, "_") ? 1 : 0);
        end = Digits(begin, marked, &digits);
        if (!digits.empty()) base = marked;
      }
    }
    if (digits.empty())
      end = Digits(at_, text_[at_] == '0' ? 1 : 10, &digits);  // 0 is followed by zeros only
    Token& token = Add(Token::Kind::kInteger, text_.substr(at_, end - at_));
    for (const char c : digits) {
      if (__builtin_mul_overflow(token.integer, Int{base}, &token.integer) ||
          __builtin_add_overflow(token.integer, Int{HexDigit(c)}, &token.integer)) {
        Fail("integer literal is too large");
      }
    }
    Advance(end);
  }

  // False if the quote is never closed.
  bool LexString(char quote) {
    size_t end = at_ + 1;
    while (end < text_.size() && text_[end] != quote) end += text_[end] == '\\' ? 2 : 1;
    if (end >= text_.size()) return false;
    Add(Token::Kind::kString).text = Unescape(text_.substr(at_ + 1, end - at_ - 1));
    Advance(end + 1);
    return true;
  }

  // Python's "unicode-escape" as jinja2 applies it.
  std::string Unescape(std::string_view raw) const {
    std::string out;
    for (size_t i = 0; i < raw.size();) {
      if (raw[i] != '\\') {
        out += raw[i++];
        continue;
      }
      const char c = raw[++i];
      if (static_cast<unsigned char>(c) >= 0x80) {
        // jinja2 has turned the character into an escape of its own by now, whose backslash the
        // first one escapes.
        const uint32_t point = PointAt(raw, i);
        out += point < 0x100     ? fmt::format("\\x{:02x}", point)
               : point < 0x10000 ? fmt::format("\\u{:04x}", point)
                                 : fmt::format("\\U{:08x}", point);
        i += PointBytes(raw, i);
        continue;
      }
      ++i;
      static constexpr std::string_view kFrom = "\\'\"abfnrtv", kTo = "\\'\"\a\b\f\n\r\t\v";
      if (c == '\n') continue;
      if (const size_t simple = kFrom.find(c); simple != std::string_view::npos) {
        out += kTo[simple];
      } else if (c >= '0' && c <= '7') {
        char32_t point = static_cast<char32_t>(c - '0');
        for (int k = 0; k < 2 && i < raw.size() && raw[i] >= '0' && raw[i] <= '7'; ++k) {
          point = point * 8 + static_cast<char32_t>(raw[i++] - '0');
        }
        AppendPoint(point, &out);
      } else if (c == 'x' || c == 'u' || c == 'U') {
        const size_t count = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        char32_t point = 0;
        for (size_t k = 0; k < count; ++k, ++i) {
          const int digit = i < raw.size() ? HexDigit(raw[i]) : -1;
          if (digit < 0) Fail(fmt::format("truncated \\{} escape in a string", c));
          point = point * 16 + static_cast<char32_t>(digit);
        }
        if (point > 0x10FFFF || (point >= 0xD800 && point < 0xE000))
          Fail("illegal Unicode character in a string");
        AppendPoint(point, &out);
      } else if (c == 'N') {
        Fail("named Unicode escapes (\\N{...}) are not supported");
      } else {
        out += '\\';
        out += c;
      }
    }
    return out;
  }

  void LexOperator(std::string* open) {
    static constexpr std::string_view kTwo[] = {"//", "**", "==", "!=", ">=", "<="};
    static constexpr std::string_view kOne = "+-/*%~[](){}><=.:|,;";
    size_t size = 0;
    for (const std::string_view op : kTwo) {
      if (Is(at_, op)) size = 2;
    }
    if (size == 0 && kOne.find(text_[at_]) != std::string_view::npos) size = 1;
    if (size == 0)
      Fail(fmt::format("unexpected char {}", Quoted(text_.substr(at_, PointBytes(text_, at_)))));
    const char c = text_[at_];
    if (size == 1 && (c == '(' || c == '[' || c == '{')) {
      *open += c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (size == 1 && (c == ')' || c == ']' || c == '}')) {
      if (open->empty()) Fail(fmt::format("unexpected '{}'", c));
      if (open->back() != c) Fail(fmt::format("unexpected '{}', expected '{}'", c, open->back()));
      open->pop_back();
    }
    Add(Token::Kind::kOperator, text_.substr(at_, size));
    Advance(at_ + size);
  }

  std::string source_;
  std::string_view text_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> Tokenize(std::string_view source) {
  return Lexer(NormalizeNewlines(source)).Run();
}

}  // namespace planish::jinja
