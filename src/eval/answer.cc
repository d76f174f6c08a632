// SPDX-License-Identifier: Apache-2.0
#include "eval/answer.h"

#include <algorithm>
#include <vector>

#include "eval/clock.h"
#include "eval/number.h"

namespace planish {
namespace {

constexpr AnswerType kTypes[] = {AnswerType::kInteger,  AnswerType::kDecimal, AnswerType::kMoney,
                                 AnswerType::kFraction, AnswerType::kTime,    AnswerType::kDate,
                                 AnswerType::kWord,     AnswerType::kYesNo,   AnswerType::kList};

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
// Bytes of other alphabets count as letters.
bool IsLetter(char c) { return (Lower(c) >= 'a' && Lower(c) <= 'z') || (c & 0x80) != 0; }

std::string LowerCase(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), Lower);
  return lower;
}

std::string_view Trimmed(std::string_view text, std::string_view what = " \n\t\r") {
  const size_t first = text.find_first_not_of(what);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(what) - first + 1);
}

// "p.m." and "a.m." end in a dot that ends no sentence.
bool IsHalfOfDay(std::string_view text, size_t dot) {
  return dot >= 3 && Lower(text[dot - 1]) == 'm' && text[dot - 2] == '.' &&
         (Lower(text[dot - 3]) == 'a' || Lower(text[dot - 3]) == 'p');
}

// Up to the end of the sentence or line.
std::string_view Sentence(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const bool is_last = i + 1 == text.size() || text[i + 1] == ' ' || text[i + 1] == '\n';
    if (text[i] == '\n') return text.substr(0, i);
    if ((text[i] == '!' || text[i] == '?') && is_last) return text.substr(0, i);
    if (text[i] == '.' && is_last && !IsHalfOfDay(text, i)) return text.substr(0, i);
  }
  return text;
}

bool IsNumeric(AnswerType type) {
  return type == AnswerType::kInteger || type == AnswerType::kDecimal ||
         type == AnswerType::kMoney || type == AnswerType::kFraction;
}

// The first word of letters at or behind `at`, lower case.
std::string WordAt(std::string_view text, size_t at) {
  while (at < text.size() && text[at] == ' ') ++at;
  std::string word;
  while (at < text.size() && IsLetter(text[at])) word += Lower(text[at++]);
  return word;
}

// What stands where the last "answer is" says it, without markup.
std::optional<std::string> StatedAnswer(const std::string& text) {
  const std::string lower = LowerCase(text);
  size_t best = std::string::npos;
  for (const std::string_view phrase : {"answer is", "answer:", "answer to the question is"}) {
    size_t at = lower.rfind(phrase);
    if (at == std::string::npos) continue;
    at += phrase.size();
    if (best == std::string::npos || at > best) best = at;
  }
  if (best == std::string::npos) return std::nullopt;
  while (best < text.size() && (text[best] == ' ' || text[best] == ':')) ++best;
  // "The answer is:" may stand on a line of its own.
  while (best < text.size() && (text[best] == '\n' || text[best] == ' ')) ++best;
  const std::string_view found = Trimmed(Sentence(std::string_view(text).substr(best)), " :");
  return found.empty() ? std::nullopt : std::optional<std::string>(found);
}

std::optional<std::string> MarkedAnswer(const std::string& text) {
  const size_t at = text.rfind("####");
  if (at == std::string::npos) return std::nullopt;
  std::string_view rest = std::string_view(text).substr(at + 4);
  rest = Trimmed(rest.substr(0, rest.find('\n')));
  if (rest.ends_with('.') && !IsHalfOfDay(rest, rest.size() - 1)) rest.remove_suffix(1);
  return rest.empty() ? std::nullopt : std::optional<std::string>(rest);
}

std::optional<std::string> LastLine(const std::string& text) {
  std::string_view rest = Trimmed(text);
  rest = Trimmed(rest.substr(rest.rfind('\n') + 1));
  if (rest.ends_with('.') && !IsHalfOfDay(rest, rest.size() - 1)) rest.remove_suffix(1);
  return rest.empty() ? std::nullopt : std::optional<std::string>(rest);
}

std::vector<std::string> LetterWords(std::string_view text) {
  std::vector<std::string> words;
  for (size_t at = 0; at < text.size();) {
    if (!IsLetter(text[at])) {
      ++at;
      continue;
    }
    std::string word;
    while (at < text.size() && (IsLetter(text[at]) || IsDigit(text[at]) ||
                                ((text[at] == '\'' || text[at] == '-') && at + 1 < text.size() &&
                                 IsLetter(text[at + 1]))))
      word += text[at++];
    words.push_back(std::move(word));
  }
  return words;
}

// 1 yes, 0 no, -1 neither.
int YesNo(std::string_view word) {
  const std::string lower = LowerCase(word);
  if (lower == "yes" || lower == "true") return 1;
  if (lower == "no" || lower == "false") return 0;
  return -1;
}

std::optional<std::string> LastOfType(const std::string& text, AnswerType type) {
  if (IsNumeric(type)) {
    const std::vector<NumberSpan> numbers = FindNumbers(text);
    if (numbers.empty()) return std::nullopt;
    const NumberSpan& last = numbers.back();
    std::string found = text.substr(last.begin, last.end - last.begin);
    if (const std::string unit = WordAt(text, last.end);  // they change the value
        type == AnswerType::kMoney && (unit == "cent" || unit == "cents"))
      found += " cents";
    return found;
  }
  const auto cut = [&](const auto& found) {
    return text.substr(found.begin, found.end - found.begin);
  };
  if (type == AnswerType::kTime) {
    if (const auto time = LastTime(text)) return cut(*time);
  }
  if (type == AnswerType::kDate) {
    if (const auto date = LastDate(text)) return cut(*date);
  }
  if (type == AnswerType::kYesNo) {
    const std::vector<std::string> words = LetterWords(text);
    const auto last = std::find_if(words.rbegin(), words.rend(),
                                   [](const std::string& word) { return YesNo(word) >= 0; });
    return last == words.rend() ? std::nullopt : std::optional<std::string>(*last);
  }
  if (type == AnswerType::kWord) {
    const std::vector<std::string> words = LetterWords(text);
    return words.empty() ? std::nullopt : std::optional<std::string>(words.back());
  }
  return LastLine(text);
}

// ---- Comparison ----

struct Quantity {
  Rational value;
  bool is_cents = false;
  bool is_dollars = false;  // a sign or a word says so
};

std::string_view SkipBlanks(std::string_view text) {
  const size_t first = text.find_first_not_of(' ');
  return first == std::string_view::npos ? std::string_view() : text.substr(first);
}

bool IsOperator(std::string_view text) {
  for (const std::string_view sign :
       {"+", "*", "/", "\xC3\x97", "\xC3\xB7", "- ", "x ", "\\times"}) {
    if (text.starts_with(sign)) return true;
  }
  return text.size() > 1 && text[0] == '-' && IsDigit(text[1]);
}

// The one number that an answer states: its first one; behind the last "=" if it is a calculation. Empty for none, for two that
// are joined ("5 or 6", "3 to 4", "3, 4"), and for a calculation without a result.
std::optional<Quantity> ReadQuantity(std::string_view given) {
  std::string text = WithoutMarkup(given);
  if (const size_t slash = text.find(" / ");  // a fraction, written wide
      slash != std::string::npos && text.find('=') == std::string::npos)
    text.replace(slash, 3, "/");
  const std::vector<NumberSpan> numbers = FindNumbers(text);
  if (numbers.empty()) return std::nullopt;
  size_t index = 0;
  std::string_view rest = SkipBlanks(std::string_view(text).substr(numbers[0].end));
  if (IsOperator(rest)) {
    const size_t equals = text.rfind('=');
    if (equals == std::string::npos) return std::nullopt;
    while (index < numbers.size() && numbers[index].begin < equals) ++index;
    if (index == numbers.size()) return std::nullopt;
    rest = SkipBlanks(std::string_view(text).substr(numbers[index].end));
    if (IsOperator(rest)) return std::nullopt;
  }
  Quantity quantity{.value = numbers[index].value, .is_dollars = numbers[index].has_currency};
  const std::string unit = WordAt(rest, 0);
  quantity.is_cents = unit == "cent" || unit == "cents" || rest.starts_with("\xC2\xA2");
  quantity.is_dollars =
      quantity.is_dollars || unit == "dollar" || unit == "dollars" || unit == "usd";
  if (index + 1 < numbers.size()) {
    const NumberSpan& next = numbers[index + 1];
    const std::string between =
        LowerCase(text.substr(numbers[index].end, next.begin - numbers[index].end));
    const std::string next_unit = WordAt(text, next.end);
    const bool are_cents = next_unit == "cent" || next_unit == "cents";
    if (quantity.is_dollars && are_cents && !quantity.is_cents) {  // 5 dollars and 30 cents
      const auto cents = Product(next.value, {1, 100});
      const auto sum = cents ? Sum(quantity.value, *cents) : std::nullopt;
      if (!sum) return std::nullopt;
      quantity.value = *sum;
      return quantity;
    }
    for (const std::string_view joint : {" or ", " and ", " to ", "\xE2\x80\x93"}) {
      if (between.ends_with(joint)) return std::nullopt;
    }
    if (Trimmed(between, " ").empty() || Trimmed(between, " ") == "," ||
        Trimmed(between, " ") == ";")
      return std::nullopt;
  }
  return quantity;
}

bool SameQuantity(std::string_view found, std::string_view key, bool is_money) {
  const auto a = ReadQuantity(found), b = ReadQuantity(key);
  if (!a || !b) return false;
  if (!is_money || a->is_cents == b->is_cents) return a->value == b->value;
  // "75 cents" is $0.75; a bare key "75" may well be meant in cents.
  const auto in_dollars = [](const Quantity& q) {
    return q.is_cents ? Product(q.value, {1, 100}) : std::optional<Rational>(q.value);
  };
  if (in_dollars(*a) == in_dollars(*b)) return true;
  return a->is_cents && !b->is_dollars && b->value.den == 1 && a->value == b->value;
}

// Lower case words and digits with single blanks, articles in front left out.
std::string NormalWords(std::string_view given) {
  std::string normal;
  for (const char c : LowerCase(WithoutMarkup(given))) {
    if (IsLetter(c) || IsDigit(c) || c == '\'' || c == '-') {
      normal += c;
    } else if (!normal.empty() && normal.back() != ' ') {
      normal += ' ';
    }
  }
  normal = std::string(Trimmed(normal, " '-"));
  for (const std::string_view article : {"the ", "a ", "an "}) {
    if (normal.starts_with(article) && normal.size() > article.size()) {
      normal.erase(0, article.size());
      break;
    }
  }
  return normal;
}

// The same words; a clause that explains may follow behind a comma, a bracket or a semicolon, and "because" or "since".
bool SameWords(std::string_view found, std::string_view key) {
  const std::string wanted = NormalWords(key);
  if (wanted.empty()) return false;
  if (NormalWords(found) == wanted) return true;
  const std::string text = WithoutMarkup(found);
  size_t cut = text.find_first_of(",;(");
  for (const std::string_view word : {" because ", " since ", " as "})
    cut = std::min(cut, text.find(word));
  return cut != std::string::npos && NormalWords(text.substr(0, cut)) == wanted;
}

bool SameTimeAnswer(std::string_view found, std::string_view key) {
  const std::string a = WithoutMarkup(found), b = WithoutMarkup(key);
  const auto key_duration = ParseDuration(b);
  if (key_duration) {
    if (const auto duration = ParseDuration(a)) return *duration == *key_duration;
  }
  const auto key_time = FirstTime(b);
  if (!key_time) {
    if (key_duration) return false;
    return SameQuantity(found, key, /*is_money=*/false);
  }
  const auto time = FirstTime(a);
  return time && SameTime(*time, *key_time);
}

bool SameDateAnswer(std::string_view found, std::string_view key) {
  const auto b = FirstDate(WithoutMarkup(key));
  if (!b) return SameWords(found, key);
  const auto a = FirstDate(WithoutMarkup(found));
  return a && SameDate(*a, *b);
}

bool SameYesNo(std::string_view found, std::string_view key) {
  const auto first = [](std::string_view text) {
    const std::vector<std::string> words = LetterWords(WithoutMarkup(text));
    return words.empty() ? -1 : YesNo(words[0]);
  };
  const auto words = LetterWords(WithoutMarkup(found));
  const int wanted = first(key);
  if (wanted < 0 || first(found) != wanted) return false;
  // "yes or no" is no answer.
  return std::none_of(words.begin(), words.end(), [&](const std::string& word) {
    const int said = YesNo(word);
    return said >= 0 && said != wanted;
  });
}

std::vector<std::string> Elements(std::string_view given) {
  std::string text = WithoutMarkup(given);
  for (char& c : text) {
    if (c == '[' || c == ']' || c == '(' || c == ')' || c == '{' || c == '}' || c == '"') c = ' ';
    if (c == ';' || c == '<' || c == '>' || c == '\n') c = ',';
  }
  for (const std::string_view joint :
       {", and ", " and ", "->", "\xE2\x86\x92", ", then ", " then "}) {
    for (size_t at = 0; (at = text.find(joint, at)) != std::string::npos; ++at)
      text.replace(at, joint.size(), ",");
  }
  std::vector<std::string> elements;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    const std::string_view element = Trimmed(std::string_view(text).substr(at, end - at), " -.'");
    if (!element.empty()) elements.emplace_back(element);
    at = end + 1;
  }
  return elements;
}

std::vector<std::string> BlankSeparated(const std::string& text) {
  std::vector<std::string> parts;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(' ', at), text.size());
    if (end > at) parts.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

// Two numbers, else two phrases.
bool SameElement(const std::string& found, const std::string& key) {
  if (const auto number = NumberAt(key, 0); number && number->end == key.size())
    return SameQuantity(found, key, /*is_money=*/false);
  if (FirstTime(key)) return SameTimeAnswer(found, key);
  return NormalWords(found) == NormalWords(key);
}

bool SameList(std::string_view found, std::string_view key) {
  std::vector<std::string> a = Elements(found), b = Elements(key);
  if (b.size() == 1) b = BlankSeparated(b[0]);
  if (a.size() == 1 && b.size() > 1) a = BlankSeparated(a[0]);
  return !b.empty() && a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), SameElement);
}

}  // namespace

std::optional<AnswerType> AnswerTypeFromName(std::string_view name) {
  std::string plain;
  for (const char c : LowerCase(name)) plain += c == '-' || c == ' ' || c == '/' ? '_' : c;
  for (const AnswerType type : kTypes) {
    if (plain == AnswerTypeName(type)) return type;
  }
  static constexpr std::pair<std::string_view, AnswerType> kOthers[] = {
      {"int", AnswerType::kInteger},        {"number", AnswerType::kDecimal},
      {"numeric", AnswerType::kDecimal},    {"float", AnswerType::kDecimal},
      {"real", AnswerType::kDecimal},       {"percent", AnswerType::kDecimal},
      {"percentage", AnswerType::kDecimal}, {"currency", AnswerType::kMoney},
      {"price", AnswerType::kMoney},        {"rational", AnswerType::kFraction},
      {"duration", AnswerType::kTime},      {"clock", AnswerType::kTime},
      {"day", AnswerType::kDate},           {"weekday", AnswerType::kDate},
      {"text", AnswerType::kWord},          {"string", AnswerType::kWord},
      {"letter", AnswerType::kWord},        {"name", AnswerType::kWord},
      {"boolean", AnswerType::kYesNo},      {"bool", AnswerType::kYesNo},
      {"yesno", AnswerType::kYesNo},        {"true_false", AnswerType::kYesNo},
      {"sequence", AnswerType::kList},      {"ordering", AnswerType::kList}};
  for (const auto& [other, type] : kOthers) {
    if (plain == other) return type;
  }
  return std::nullopt;
}

AnswerType GuessAnswerType(std::string_view key) {
  const std::string text = WithoutMarkup(Trimmed(key));
  if (LetterWords(text).size() == 1 && YesNo(text) >= 0) return AnswerType::kYesNo;
  if (const auto number = NumberAt(text, 0)) {
    const std::string_view rest = SkipBlanks(std::string_view(text).substr(number->end));
    if (FirstTime(text) || ParseDuration(text)) return AnswerType::kTime;
    if (FirstDate(text)) return AnswerType::kDate;
    if (rest.find(',') == std::string_view::npos || FindNumbers(text).size() == 1) {
      if (number->has_currency) return AnswerType::kMoney;
      if (text.find('/') != std::string::npos) return AnswerType::kFraction;
      return number->value.den == 1 ? AnswerType::kInteger : AnswerType::kDecimal;
    }
  }
  if (FirstDate(text)) return AnswerType::kDate;
  if (FirstTime(text)) return AnswerType::kTime;
  return Elements(text).size() > 1 ? AnswerType::kList : AnswerType::kWord;
}

std::optional<std::string> ExtractAnswer(std::string_view given, AnswerType type) {
  if (const auto stated = StatedAnswer(WithoutMarkup(given))) return stated;
  if (const auto boxed = LastBoxed(given); boxed && !Trimmed(*boxed).empty())
    return std::string(Trimmed(WithoutMarkup(*boxed)));
  const std::string text = WithoutMarkup(given);
  if (const auto marked = MarkedAnswer(text)) return marked;
  return LastOfType(text, type);
}

bool SameAnswer(std::string_view found, std::string_view key, AnswerType type) {
  switch (type) {
    case AnswerType::kInteger:
    case AnswerType::kDecimal:
    case AnswerType::kFraction:
      return SameQuantity(found, key, /*is_money=*/false);
    case AnswerType::kMoney:
      return SameQuantity(found, key, /*is_money=*/true);
    case AnswerType::kTime:
      return SameTimeAnswer(found, key);
    case AnswerType::kDate:
      return SameDateAnswer(found, key);
    case AnswerType::kYesNo:
      return SameYesNo(found, key);
    case AnswerType::kList:
      return SameList(found, key);
    case AnswerType::kWord:
      break;
  }
  // A key that is a number, in a column of words.
  if (const auto number = NumberAt(key, 0); number && number->end == key.size())
    return SameQuantity(found, key, /*is_money=*/false);
  return SameWords(found, key);
}

}  // namespace planish
