// SPDX-License-Identifier: Apache-2.0
#include "infer/grammar_json.h"

#include <algorithm>

namespace planish {
namespace {

constexpr uint32_t kSpaceBytes = 20;
constexpr int kDigits = 20;

}  // namespace

int32_t JsonRules::Lazily(int32_t* rule, void (JsonRules::*make)(int32_t)) {
  if (*rule < 0) {
    *rule = builder_->NewRule();  // known before it is made: a value holds values
    (this->*make)(*rule);
  }
  return *rule;
}

int32_t JsonRules::Space() { return Lazily(&space_, &JsonRules::MakeSpace); }
int32_t JsonRules::Character() { return Lazily(&character_, &JsonRules::MakeCharacter); }
int32_t JsonRules::PlainCharacter() { return Lazily(&plain_, &JsonRules::MakePlainCharacter); }
int32_t JsonRules::String() { return Lazily(&string_, &JsonRules::MakeString); }
int32_t JsonRules::Number() { return Lazily(&number_, &JsonRules::MakeNumber); }
int32_t JsonRules::Integer() { return Lazily(&integer_, &JsonRules::MakeInteger); }
int32_t JsonRules::Value() { return Lazily(&value_, &JsonRules::MakeValue); }
int32_t JsonRules::Object() { return Lazily(&object_, &JsonRules::MakeObject); }
int32_t JsonRules::Array() { return Lazily(&array_, &JsonRules::MakeArray); }

int32_t JsonRules::Spaced(int32_t from, std::string_view text) {
  return builder_->CallRule(builder_->Text(from, text), Space());
}

void JsonRules::MakeSpace(int32_t rule) {
  int32_t at = builder_->Start(rule);
  for (uint32_t i = 0;; ++i) {
    builder_->SetFinal(at);
    if (i == kSpaceBytes) return;
    const int32_t next = builder_->NewState();
    builder_->Byte(at, '\t', '\n', next);
    builder_->Byte(at, '\r', '\r', next);
    builder_->Byte(at, ' ', ' ', next);
    at = next;
  }
}

void JsonRules::MakePlainCharacter(int32_t rule) {
  const int32_t end = builder_->NewState();
  builder_->SetFinal(end);
  const CodeRange plain[] = {{0x20, 0x21}, {0x23, 0x5B}, {0x5D, 0x10FFFF}};
  builder_->Characters(builder_->Start(rule), plain, end);
}

// Surrogates are not written as escapes: a pair is one character, and alone they are none.
void JsonRules::MakeCharacter(int32_t rule) {
  const int32_t start = builder_->Start(rule), end = builder_->NewState();
  builder_->SetFinal(end);
  const CodeRange plain[] = {{0x20, 0x21}, {0x23, 0x5B}, {0x5D, 0x10FFFF}};
  builder_->Characters(start, plain, end);
  const int32_t escape = builder_->Text(start, "\\");
  for (const char c : std::string_view("\"\\/bfnrt"))
    builder_->Byte(escape, static_cast<uint8_t>(c), static_cast<uint8_t>(c), end);
  const int32_t code = builder_->Text(escape, "u");
  const int32_t three = builder_->NewState(), two = builder_->NewState(),
                one = builder_->NewState();
  const auto hex = [&](int32_t from, int32_t to) {
    builder_->Byte(from, '0', '9', to);
    builder_->Byte(from, 'a', 'f', to);
    builder_->Byte(from, 'A', 'F', to);
  };
  const int32_t after_d = builder_->NewState();
  for (const auto& [first, last] :
       {std::pair{'0', '9'}, {'a', 'c'}, {'e', 'f'}, {'A', 'C'}, {'E', 'F'}})
    builder_->Byte(code, static_cast<uint8_t>(first), static_cast<uint8_t>(last), three);
  for (const char d : {'d', 'D'})
    builder_->Byte(code, static_cast<uint8_t>(d), static_cast<uint8_t>(d), after_d);
  builder_->Byte(after_d, '0', '7', two);
  hex(three, two);
  hex(two, one);
  hex(one, end);
}

void JsonRules::MakeString(int32_t rule) {
  int32_t at = builder_->Text(builder_->Start(rule), "\"");
  at = builder_->Repeat(at, Character(), 0, kUnbounded, /*is_string=*/true);
  builder_->SetFinal(builder_->Text(at, "\""));
}

int32_t JsonRules::StringOf(uint32_t min, uint32_t max) {
  const int32_t rule = builder_->NewRule();
  int32_t at = builder_->Text(builder_->Start(rule), "\"");
  at = builder_->Repeat(at, Character(), min, max, /*is_string=*/true);
  builder_->SetFinal(builder_->Text(at, "\""));
  return rule;
}

int32_t JsonRules::Digits(int32_t from, int min, int max) {
  const int32_t end = builder_->NewState();
  for (int i = 0; i <= max; ++i) {
    if (i >= min) builder_->Jump(from, end);
    if (i == max) break;
    const int32_t next = builder_->NewState();
    builder_->Byte(from, '0', '9', next);
    from = next;
  }
  return end;
}

void JsonRules::MakeInteger(int32_t rule) {
  const int32_t start = builder_->Start(rule), minus = builder_->Text(start, "-");
  const int32_t zero = builder_->NewState(), first = builder_->NewState();
  builder_->SetFinal(zero);
  for (const int32_t from : {start, minus}) {
    builder_->Byte(from, '0', '0', zero);
    builder_->Byte(from, '1', '9', first);
  }
  builder_->SetFinal(Digits(first, 0, kDigits - 1));
}

void JsonRules::MakeNumber(int32_t rule) {
  const int32_t whole = builder_->CallRule(builder_->Start(rule), Integer());
  builder_->SetFinal(whole);
  const int32_t fraction = Digits(builder_->Text(whole, "."), 1, kDigits);
  builder_->SetFinal(fraction);
  const int32_t exponent = builder_->NewState(), sign = builder_->NewState();
  for (const int32_t from : {whole, fraction}) {
    builder_->Byte(from, 'e', 'e', exponent);
    builder_->Byte(from, 'E', 'E', exponent);
  }
  builder_->Jump(exponent, sign);
  builder_->Byte(exponent, '+', '+', sign);
  builder_->Byte(exponent, '-', '-', sign);
  builder_->SetFinal(
      Digits(sign, 1, 2));  // every reader's double holds 1e99, with 20 digits before the point too
}

void JsonRules::MakeValue(int32_t rule) {
  const int32_t start = builder_->Start(rule), end = builder_->NewState();
  builder_->SetFinal(end);
  for (const int32_t kind : {Object(), Array(), String(), Number()})
    builder_->CallRule(start, kind, end);
  for (const char* word : {"true", "false", "null"})
    builder_->Jump(builder_->Text(start, word), end);
}

void JsonRules::MakeObject(int32_t rule) {
  const int32_t open = Spaced(builder_->Start(rule), "{");
  const int32_t end = builder_->Text(open, "}");
  builder_->SetFinal(end);
  const int32_t member = builder_->NewState();
  builder_->Jump(open, member);
  int32_t at = builder_->CallRule(member, String());
  at = builder_->CallRule(at, Space());
  at = builder_->CallRule(Spaced(at, ":"), Value());
  at = builder_->CallRule(at, Space());
  builder_->Jump(Spaced(at, ","), member);
  builder_->Byte(at, '}', '}', end);
}

void JsonRules::MakeArray(int32_t rule) {
  const int32_t open = Spaced(builder_->Start(rule), "[");
  const int32_t end = builder_->Text(open, "]");
  builder_->SetFinal(end);
  const int32_t item = builder_->NewState();
  builder_->Jump(open, item);
  const int32_t at = builder_->CallRule(builder_->CallRule(item, Value()), Space());
  builder_->Jump(Spaced(at, ","), item);
  builder_->Byte(at, ']', ']', end);
}

int32_t JsonRules::List(const std::vector<int32_t>& items, int32_t rest, uint32_t min,
                        uint32_t max) {
  const int32_t rule = builder_->NewRule();
  const int32_t open = Spaced(builder_->Start(rule), "[");
  const int32_t close = builder_->NewState();
  builder_->SetFinal(builder_->Text(close, "]"));
  if (min == 0) builder_->Jump(open, close);
  int32_t at = open;
  uint32_t count = 0;
  for (const int32_t item : items) {
    if (count == max) return rule;
    if (count > 0) at = Spaced(at, ",");
    at = builder_->CallRule(builder_->CallRule(at, item), Space());
    if (++count >= min) builder_->Jump(at, close);
  }
  if (rest < 0 || count >= max) return rule;
  if (count == 0) {
    at = builder_->CallRule(builder_->CallRule(at, rest), Space());
    if (++count >= min) builder_->Jump(at, close);
  }
  const int32_t more = builder_->NewRule();
  const int32_t next = builder_->CallRule(Spaced(builder_->Start(more), ","), rest);
  builder_->SetFinal(builder_->CallRule(next, Space()));
  if (count < max) {
    const uint32_t left = max == kUnbounded ? kUnbounded : max - count;
    builder_->Jump(builder_->Repeat(at, more, min > count ? min - count : 0, left), close);
  }
  return rule;
}

void JsonRules::Escaped(int32_t from, const std::vector<CodeRange>& ranges, int32_t to) {
  for (const CodeRange& range : Normalized(ranges)) {
    for (char32_t c = range.first; c <= std::min<char32_t>(range.last, 0x1F); ++c) {
      const size_t at = std::string_view("\b\t\n\f\r").find(static_cast<char>(c));
      const std::string text = at == std::string_view::npos
                                   ? fmt::format("\\u{:04x}", static_cast<uint32_t>(c))
                                   : std::string("\\") + "btnfr"[at];
      builder_->Jump(builder_->Text(from, text), to);
    }
    for (const char c : {'"', '\\'}) {
      if (range.first <= static_cast<char32_t>(c) && static_cast<char32_t>(c) <= range.last)
        builder_->Jump(builder_->Text(from, std::string("\\") + c), to);
    }
    for (const CodeRange& plain : {CodeRange{0x20, 0x21}, {0x23, 0x5B}, {0x5D, 0x10FFFF}}) {
      const CodeRange both = {std::max(plain.first, range.first), std::min(plain.last, range.last)};
      if (both.first <= both.last) builder_->Characters(from, std::span(&both, 1), to);
    }
  }
}

// Digit strings of the length of `high` that are not above it.
void JsonRules::DigitsUpTo(int32_t from, std::string_view high, int32_t to) {
  if (high.empty()) return builder_->Jump(from, to);
  if (high[0] > '0') {
    const int32_t below = builder_->NewState();
    builder_->Byte(from, '0', static_cast<uint8_t>(high[0] - 1), below);
    const int left = static_cast<int>(high.size()) - 1;
    builder_->Jump(Digits(below, left, left), to);
  }
  DigitsUpTo(builder_->Text(from, high.substr(0, 1)), high.substr(1), to);
}

void JsonRules::DigitsFrom(int32_t from, std::string_view low, int32_t to) {
  if (low.empty()) return builder_->Jump(from, to);
  if (low[0] < '9') {
    const int32_t above = builder_->NewState();
    builder_->Byte(from, static_cast<uint8_t>(low[0] + 1), '9', above);
    const int left = static_cast<int>(low.size()) - 1;
    builder_->Jump(Digits(above, left, left), to);
  }
  DigitsFrom(builder_->Text(from, low.substr(0, 1)), low.substr(1), to);
}

// Both of one length.
void JsonRules::DigitsBetween(int32_t from, std::string_view low, std::string_view high,
                              int32_t to) {
  if (low.empty()) return builder_->Jump(from, to);
  if (low[0] == high[0])
    return DigitsBetween(builder_->Text(from, low.substr(0, 1)), low.substr(1), high.substr(1), to);
  DigitsFrom(builder_->Text(from, low.substr(0, 1)), low.substr(1), to);
  DigitsUpTo(builder_->Text(from, high.substr(0, 1)), high.substr(1), to);
  if (high[0] - low[0] < 2) return;
  const int32_t between = builder_->NewState();
  builder_->Byte(from, static_cast<uint8_t>(low[0] + 1), static_cast<uint8_t>(high[0] - 1),
                 between);
  const int left = static_cast<int>(low.size()) - 1;
  builder_->Jump(Digits(between, left, left), to);
}

// low to high without a sign or leading zeros, length by length.
void JsonRules::Natural(int32_t from, uint64_t low, uint64_t high, int32_t to) {
  for (size_t length = std::to_string(low).size(); length <= std::to_string(high).size();
       ++length) {
    const std::string least = length == 1 ? "0" : "1" + std::string(length - 1, '0');
    const std::string most(length, '9');
    const std::string first =
        std::max(std::to_string(low).size() == length ? std::to_string(low) : least, least);
    const std::string last = std::to_string(high).size() == length ? std::to_string(high) : most;
    DigitsBetween(from, first, last, to);
  }
}

int32_t JsonRules::IntegerIn(int64_t low, int64_t high) {
  const int32_t rule = builder_->NewRule();
  const int32_t start = builder_->Start(rule), end = builder_->NewState();
  builder_->SetFinal(end);
  if (low > high) return rule;
  if (high >= 0)
    Natural(start, low > 0 ? static_cast<uint64_t>(low) : 0, static_cast<uint64_t>(high), end);
  if (low < 0) {
    const uint64_t most = uint64_t{0} - static_cast<uint64_t>(low);
    const uint64_t least = high < 0 ? uint64_t{0} - static_cast<uint64_t>(high) : 1;
    Natural(builder_->Text(start, "-"), least, most, end);
  }
  return rule;
}

}  // namespace planish
