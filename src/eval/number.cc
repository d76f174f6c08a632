// SPDX-License-Identifier: Apache-2.0
#include "eval/number.h"

#include <array>
#include <numeric>

namespace planish {
namespace {

constexpr std::array<std::string_view, 3> kCurrencies = {"$", "€", "£"};

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

std::optional<Rational> Narrow(__int128 num, __int128 den) {
  if (den == 0) return std::nullopt;
  if (den < 0) num = -num, den = -den;
  __int128 a = num < 0 ? -num : num, b = den;
  while (b != 0) {
    const __int128 rest = a % b;
    a = b;
    b = rest;
  }
  num /= a;
  den /= a;
  constexpr __int128 kMost = INT64_MAX;
  if (num > kMost || num < -kMost || den > kMost) return std::nullopt;
  return Rational{static_cast<int64_t>(num), static_cast<int64_t>(den)};
}

// A cursor over the text; what fails leaves it where it was.
class Reader {
 public:
  Reader(std::string_view text, size_t at) : text_(text), at_(at) {}
  size_t at() const { return at_; }
  char Peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : 0; }
  bool Take(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }
  bool TakeCurrency() {
    for (const std::string_view sign : kCurrencies) {
      if (Take(sign)) return true;
    }
    return false;
  }
  void SkipBlanks() {
    while (Peek() == ' ') ++at_;
  }

  // Digits with or without grouping commas; empty if there are none or they do not fit.
  std::optional<int64_t> Digits() {
    const size_t start = at_;
    int64_t value = 0;
    if (!Accumulate(&value)) return Fail(start);
    const size_t first = at_ - start;
    while (first <= 3 && Peek() == ',' && IsGroup()) {
      ++at_;
      if (!Accumulate(&value, 3)) return Fail(start);
    }
    return value;
  }
  // "(.digits)" behind a whole part: the same value as a rational.
  std::optional<Rational> Decimal() {
    const size_t start = at_;
    std::optional<int64_t> whole = IsDigit(Peek()) ? Digits() : std::optional<int64_t>(0);
    const bool has_whole = at_ > start;
    if (!whole) return std::nullopt;
    int64_t den = 1, fraction = 0;
    if (Peek() == '.' && IsDigit(Peek(1))) {
      ++at_;
      while (IsDigit(Peek())) {
        if (den > INT64_MAX / 100) {
          at_ = start;
          return std::nullopt;
        }
        den *= 10;
        fraction = 10 * fraction + (Peek() - '0');
        ++at_;
      }
    } else if (!has_whole) {
      return std::nullopt;
    }
    const auto value =
        Narrow(static_cast<__int128>(*whole) * den + fraction, static_cast<__int128>(den));
    if (!value) at_ = start;
    return value;
  }
  // "a/b" without blanks, or \frac{a}{b}; both parts whole.
  std::optional<Rational> Fraction() {
    const size_t start = at_;
    if (Take("\\frac") || Take("\\dfrac") || Take("\\tfrac")) {
      const auto num = Braced(), den = num ? Braced() : std::nullopt;
      const auto value = num && den ? MakeRational(*num, *den) : std::nullopt;
      if (!value) at_ = start;
      return value;
    }
    const auto num = Digits();
    if (!num || Peek() != '/' || !IsDigit(Peek(1))) {
      at_ = start;
      return std::nullopt;
    }
    ++at_;
    const auto den = Digits();
    const auto value = den ? MakeRational(*num, *den) : std::nullopt;
    // "3/4/2024" and "1/2.5" are something else.
    if (!value || Peek() == '/' || (Peek() == '.' && IsDigit(Peek(1)))) {
      at_ = start;
      return std::nullopt;
    }
    return value;
  }

 private:
  std::optional<int64_t> Fail(size_t start) {
    at_ = start;
    return std::nullopt;
  }
  bool IsGroup() const {
    return IsDigit(Peek(1)) && IsDigit(Peek(2)) && IsDigit(Peek(3)) && !IsDigit(Peek(4));
  }
  bool Accumulate(int64_t* value, size_t most = SIZE_MAX) {
    size_t count = 0;
    for (; count < most && IsDigit(Peek()); ++count, ++at_) {
      const int64_t digit = Peek() - '0';
      if (*value > (INT64_MAX - digit) / 10) return false;
      *value = 10 * *value + digit;
    }
    return count > 0;
  }
  std::optional<int64_t> Braced() {
    if (!Take("{"))
      return IsDigit(Peek()) ? std::optional<int64_t>(text_[at_++] - '0') : std::nullopt;
    const auto value = Digits();
    return value && Take("}") ? value : std::nullopt;
  }

  std::string_view text_;
  size_t at_;
};

// Part of a word, a time, a date or a longer number: no number begins here.
bool IsInside(std::string_view text, size_t at) {
  if (at == 0) return false;
  const char before = text[at - 1];
  if (IsLetter(before) || IsDigit(before) || before == '_') return true;
  return (before == ':' || before == '.' || before == '/') && at >= 2 && IsDigit(text[at - 2]);
}

// "2:30", "2024-03-05", "3/4/2024": skipped as a whole; 0 if nothing of the kind stands here.
size_t LengthOfTimeOrDate(std::string_view text) {
  size_t end = 0, parts = 0;
  char mark = 0;
  while (end < text.size()) {
    size_t digits = 0;
    while (end + digits < text.size() && IsDigit(text[end + digits])) ++digits;
    if (digits == 0) break;
    end += digits;
    ++parts;
    if (end + 1 >= text.size() || !IsDigit(text[end + 1])) break;
    const char next = text[end];
    if (next != ':' && next != '-' && next != '/') break;
    if (mark != 0 && next != mark) break;
    mark = next;
    ++end;
  }
  if (mark == ':' && parts >= 2) return end;
  return parts >= 3 ? end : 0;
}

}  // namespace

std::optional<Rational> MakeRational(int64_t num, int64_t den) { return Narrow(num, den); }

std::optional<Rational> Sum(const Rational& a, const Rational& b) {
  // Products of 63-bit numbers fill 126 bits; their sum fits.
  return Narrow(static_cast<__int128>(a.num) * b.den + static_cast<__int128>(b.num) * a.den,
                static_cast<__int128>(a.den) * b.den);
}

std::optional<Rational> Product(const Rational& a, const Rational& b) {
  return Narrow(static_cast<__int128>(a.num) * b.num, static_cast<__int128>(a.den) * b.den);
}

std::optional<NumberSpan> NumberAt(std::string_view text, size_t begin) {
  Reader reader(text, begin);
  NumberSpan span{.begin = begin};
  bool is_negative = false;
  for (int i = 0; i < 2; ++i) {  // "-$5" and "$-5"
    if (!span.has_currency && reader.TakeCurrency()) {
      span.has_currency = true;
      reader.SkipBlanks();
    }
    if (!is_negative && reader.Peek() == '-') {
      reader.Take("-");
      is_negative = true;
    } else if (i == 0) {
      reader.Take("+");
    }
  }
  std::optional<Rational> value = reader.Fraction();
  if (!value) {
    value = reader.Decimal();
    if (!value) return std::nullopt;
    if (value->den == 1) {  // "1 1/2", "1 \frac12", "1-1/2" is not meant by people who calculate
      Reader more(text, reader.at());
      more.SkipBlanks();
      const bool has_gap = more.at() > reader.at() || more.Peek() == '\\';
      if (const auto part = has_gap ? more.Fraction() : std::nullopt;
          part && part->num < part->den) {
        value = Sum(*value, *part);
        if (!value) return std::nullopt;
        reader = more;
      }
    }
  }
  // "1e3": neither 1 nor what answers are written in.
  if ((reader.Peek() == 'e' || reader.Peek() == 'E') && IsDigit(reader.Peek(1)))
    return std::nullopt;
  if (is_negative) value->num = -value->num;
  span.value = *value;
  span.end = reader.at();
  return span;
}

std::vector<NumberSpan> FindNumbers(std::string_view text) {
  std::vector<NumberSpan> found;
  for (size_t at = 0; at < text.size();) {
    if (!IsInside(text, at)) {
      if (const size_t skipped = LengthOfTimeOrDate(text.substr(at)); skipped > 0) {
        at += skipped;
        continue;
      }
      // A minus behind a digit, a letter or a bracket subtracts ("8-3", "x -3" does not).
      size_t begin = at;
      if (text[at] == '-' && at > 0 &&
          (IsDigit(text[at - 1]) || IsLetter(text[at - 1]) || text[at - 1] == ')'))
        begin = at + 1;
      if (const auto span = begin < text.size() ? NumberAt(text, begin) : std::nullopt) {
        found.push_back(*span);
        at = span->end;
        continue;
      }
    }
    ++at;
  }
  return found;
}

std::optional<std::string> LastBoxed(std::string_view text) {
  size_t at = text.rfind("\\boxed{");
  size_t open = 7;
  if (at == std::string_view::npos) at = text.rfind("\\fbox{"), open = 6;
  if (at == std::string_view::npos) return std::nullopt;
  int depth = 1;
  for (size_t i = at + open; i < text.size(); ++i) {
    if (text[i] == '{') ++depth;
    if (text[i] == '}' && --depth == 0) return std::string(text.substr(at + open, i - at - open));
  }
  return std::nullopt;
}

namespace {

void ReplaceAll(std::string_view from, std::string_view to, std::string* text) {
  for (size_t at = 0; (at = text->find(from, at)) != std::string::npos; at += to.size())
    text->replace(at, from.size(), to);
}

// "\text{ab}" to "ab".
void Unwrap(std::string_view command, std::string* text) {
  for (size_t at = 0; (at = text->find(command, at)) != std::string::npos;) {
    int depth = 1;
    size_t end = at + command.size();
    while (end < text->size()) {
      if ((*text)[end] == '{') ++depth;
      if ((*text)[end] == '}' && --depth == 0) break;
      ++end;
    }
    if (end == text->size()) return;
    text->erase(end, 1);
    text->erase(at, command.size());
  }
}

// "$42$" to "42": a dollar directly behind a number or a letter cannot be currency, so it closes one that opened.
void DropMathDollars(std::string* text) {
  for (size_t close = 1; close < text->size(); ++close) {
    if ((*text)[close] != '$') continue;
    const char before = (*text)[close - 1];
    const char after = close + 1 < text->size() ? (*text)[close + 1] : ' ';
    if (before == ' ' || before == '$' || IsDigit(after)) continue;
    const size_t open = text->rfind('$', close - 1);
    if (open == std::string::npos) continue;
    text->erase(close, 1);
    text->erase(open, 1);
    close -= 1;
  }
}

}  // namespace

std::string WithoutMarkup(std::string_view given) {
  std::string text(given);
  for (const std::string_view command :
       {"\\boxed{", "\\fbox{", "\\text{", "\\textbf{", "\\mathrm{", "\\mbox{"})
    Unwrap(command, &text);
  static constexpr std::pair<std::string_view, std::string_view> kReplacements[] = {
      {"\\(", ""},           {"\\)", ""},  {"\\[", ""},  {"\\]", ""},       {"\\left", ""},
      {"\\right", ""},       {"{,}", ","}, {"\\,", " "}, {"\\!", ""},       {"\\;", " "},
      {"\\%", "%"},          {"**", ""},   {"`", ""},    {"\xC2\xA0", " "}, {"\xE2\x80\xAF", " "},
      {"\xE2\x88\x92", "-"}, {"\t", " "},  {"\r", ""}};
  for (const auto& [from, to] : kReplacements) ReplaceAll(from, to, &text);
  // An escaped dollar is money whatever follows: it must not pair with a math dollar.
  ReplaceAll("\\$", "\x01", &text);
  DropMathDollars(&text);
  ReplaceAll("\x01", "$", &text);
  return text;
}

}  // namespace planish
