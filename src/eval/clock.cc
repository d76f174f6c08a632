// SPDX-License-Identifier: Apache-2.0
#include "eval/clock.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

namespace planish {
namespace {

using Form = ClockTime::Form;

struct Word {
  std::string text;  // lower case; digits, or letters, or one other byte
  size_t begin = 0, end = 0;
  bool is_number = false;
  bool is_word = false;
  bool after_blank = false;
};

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
bool IsLetter(char c) { return Lower(c) >= 'a' && Lower(c) <= 'z'; }

std::vector<Word> Words(std::string_view text) {
  std::vector<Word> words;
  bool after_blank = false;
  for (size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (c == ' ' || c == '\n') {
      after_blank = true;
      ++at;
      continue;
    }
    Word word{
        .begin = at, .is_number = IsDigit(c), .is_word = IsLetter(c), .after_blank = after_blank};
    after_blank = false;
    do {
      word.text += Lower(text[at++]);
    } while (at < text.size() &&
             ((word.is_number && IsDigit(text[at])) || (word.is_word && IsLetter(text[at]))));
    word.end = at;
    words.push_back(std::move(word));
  }
  return words;
}

int Number(const Word& word) {
  return word.is_number && word.text.size() <= 4 ? std::stoi(word.text) : -1;
}

std::string At(const std::vector<Word>& words, size_t i) {
  return i < words.size() ? words[i].text : std::string();
}

// "am", "a.m.", "p . m": 'a' or 'p' and the index behind it, or 0.
char HalfOfDay(const std::vector<Word>& words, size_t i, size_t* end) {
  const std::string first = At(words, i);
  if (first == "am" || first == "pm") {
    *end = i + 1;
    return first[0];
  }
  if ((first == "a" || first == "p") && At(words, i + 1) == "." && At(words, i + 2) == "m") {
    *end = i + 3 + (At(words, i + 3) == "." ? 1 : 0);
    return first[0];
  }
  return 0;
}

std::optional<ClockTime> TimeAt(const std::vector<Word>& words, size_t i, size_t* end) {
  *end = i + 1;
  if (At(words, i) == "noon" || At(words, i) == "midday") return ClockTime{12 * 3600, Form::kHalf};
  if (At(words, i) == "midnight") return ClockTime{0, Form::kHalf};
  int hour = i < words.size() ? Number(words[i]) : -1;
  if (hour < 0 || hour > 24 || words[i].text.size() > 2) return std::nullopt;
  int minute = 0, second = 0;
  bool has_minutes = false;
  const auto two_digits = [&](size_t at) {
    return at < words.size() && words[at].text.size() == 2 && !words[at].after_blank &&
                   Number(words[at]) < 60
               ? Number(words[at])
               : -1;
  };
  if (At(words, i + 1) == ":" && two_digits(i + 2) >= 0) {
    minute = two_digits(i + 2);
    has_minutes = true;
    *end = i + 3;
    if (At(words, i + 3) == ":" && two_digits(i + 4) >= 0) {
      second = two_digits(i + 4);
      *end = i + 5;
    }
  }
  const char half = HalfOfDay(words, *end, end);
  if (half == 0 && !has_minutes) {
    if (At(words, *end) != "o") return std::nullopt;
    const std::string mark = At(words, *end + 1);
    size_t after = *end + 2;
    if (mark == "\xE2") after += 2;  // a typographic apostrophe is three bytes
    if (At(words, after) != "clock") return std::nullopt;
    *end = after + 1;
  }
  if (half != 0) {
    if (hour < 1 || hour > 12) return std::nullopt;
    hour = hour % 12 + (half == 'p' ? 12 : 0);
  }
  const bool is_full =
      hour == 0 || hour > 12 || (words[i].text.size() == 2 && words[i].text[0] == '0');
  return ClockTime{(hour % 24 * 60 + minute) * 60 + second, half != 0 ? Form::kHalf
                                                            : is_full ? Form::kFull
                                                                      : Form::kOpen};
}

constexpr std::array<std::string_view, 12> kMonths = {
    "january", "february", "march",     "april",   "may",      "june",
    "july",    "august",   "september", "october", "november", "december"};
constexpr std::array<std::string_view, 7> kWeekdays = {
    "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"};

// 1-based index of a full name, or of one cut after `least` letters or more ("sept"); 0 if none.
template <size_t N>
int NameIndex(const std::array<std::string_view, N>& names, std::string_view word, size_t least) {
  for (size_t i = 0; i < N; ++i) {
    if (word == names[i] ||
        (word.size() >= least && word.size() <= 4 && names[i].starts_with(word)))
      return static_cast<int>(i + 1);
  }
  return 0;
}

bool IsDay(int day) { return day >= 1 && day <= 31; }

// A day number with or without st, nd, rd, th; 0 if none.
int DayAt(const std::vector<Word>& words, size_t i, size_t* end) {
  if (i >= words.size() || words[i].text.size() > 2 || !IsDay(Number(words[i]))) return 0;
  *end = i + 1;
  const std::string suffix = At(words, i + 1);
  if (suffix == "st" || suffix == "nd" || suffix == "rd" || suffix == "th") ++*end;
  return Number(words[i]);
}

// Behind month and day: ", 2024" or " 2024".
void YearAt(const std::vector<Word>& words, size_t i, CalendarDate* date, size_t* end) {
  if (At(words, i) == ",") ++i;
  if (i < words.size() && words[i].text.size() == 4 && Number(words[i]) > 0) {
    date->year = Number(words[i]);
    *end = i + 1;
  }
}

std::optional<CalendarDate> DateAt(const std::vector<Word>& words, size_t i, size_t* end) {
  CalendarDate date;
  *end = i + 1;
  if (const int weekday = NameIndex(kWeekdays, At(words, i), 3); weekday != 0) {
    date.weekday = weekday;
    size_t next = i + 1 + (At(words, i + 1) == "," ? 1 : 0), after;
    if (At(words, next) == "the") ++next;
    if (const auto rest = DateAt(words, next, &after); rest && rest->weekday == 0) {
      const int same = date.weekday;
      date = *rest;
      date.weekday = same;
      *end = after;
    }
    return date;
  }
  if (const int month = NameIndex(kMonths, At(words, i), 3); month != 0) {
    size_t after = i + 1;
    if (At(words, after) == "." || At(words, after) == "the") ++after;
    const int day = DayAt(words, after, end);
    if (day == 0) return std::nullopt;
    date.month = month;
    date.day = day;
    YearAt(words, *end, &date, end);
    return date;
  }
  if (i + 4 < words.size() && words[i].is_number && !words[i + 1].after_blank) {
    const std::string mark = words[i + 1].text;
    if ((mark == "-" || mark == "/") && words[i + 3].text == mark && words[i + 2].is_number &&
        words[i + 4].is_number) {
      const int a = Number(words[i]), b = Number(words[i + 2]), c = Number(words[i + 4]);
      if (words[i].text.size() == 4)
        date = {.year = a, .month = b, .day = c};
      else if (words[i + 4].text.size() == 4)
        date = {.year = c, .month = a, .day = b};
      if (date.month >= 1 && date.month <= 12 && IsDay(date.day)) {
        *end = i + 5;
        return date;
      }
      return std::nullopt;
    }
  }
  size_t after = i;
  if (const int day = DayAt(words, i, &after); day != 0) {
    if (At(words, after) == "of") ++after;
    const int month = NameIndex(kMonths, At(words, after), 3);
    if (month == 0) return std::nullopt;
    date.month = month;
    date.day = day;
    *end = after + 1;
    YearAt(words, *end, &date, end);
    return date;
  }
  return std::nullopt;
}

template <typename Value, typename Parse>
std::vector<Value> FindAll(std::string_view text, const Parse& parse) {
  std::vector<Value> found;
  const std::vector<Word> words = Words(text);
  for (size_t i = 0; i < words.size();) {
    size_t end = i + 1;
    auto value = parse(words, i, &end);
    if (value) {
      value->begin = words[i].begin;
      value->end = words[end - 1].end;
      found.push_back(*value);
    }
    i = value ? end : i + 1;
  }
  return found;
}

template <typename Value>
std::optional<Value> First(const std::vector<Value>& all) {
  return all.empty() ? std::nullopt : std::optional<Value>(all.front());
}
template <typename Value>
std::optional<Value> Last(const std::vector<Value>& all) {
  return all.empty() ? std::nullopt : std::optional<Value>(all.back());
}

int64_t UnitSeconds(std::string_view word) {
  static constexpr std::pair<std::string_view, int64_t> kUnits[] = {
      {"s", 1},       {"sec", 1},      {"secs", 1},      {"second", 1},    {"seconds", 1},
      {"m", 60},      {"min", 60},     {"mins", 60},     {"minute", 60},   {"minutes", 60},
      {"h", 3600},    {"hr", 3600},    {"hrs", 3600},    {"hour", 3600},   {"hours", 3600},
      {"day", 86400}, {"days", 86400}, {"week", 604800}, {"weeks", 604800}};
  for (const auto& [name, seconds] : kUnits) {
    if (word == name) return seconds;
  }
  return 0;
}

}  // namespace

std::optional<ClockTime> FirstTime(std::string_view text) {
  return First(FindAll<ClockTime>(text, TimeAt));
}
std::optional<ClockTime> LastTime(std::string_view text) {
  return Last(FindAll<ClockTime>(text, TimeAt));
}

bool SameTime(const ClockTime& found, const ClockTime& key) {
  if (found.seconds == key.seconds) return true;
  constexpr int kHalf = 12 * 3600;
  return key.form == Form::kOpen && found.form == Form::kHalf &&
         found.seconds % kHalf == key.seconds % kHalf;
}

std::optional<Rational> ParseDuration(std::string_view text) {
  Rational total;
  bool is_empty = true;
  for (size_t at = 0; at < text.size();) {
    if (text[at] == ' ' || text[at] == ',') {
      ++at;
      continue;
    }
    if (!is_empty && text.substr(at).starts_with("and ")) {
      at += 4;
      continue;
    }
    const auto number = NumberAt(text, at);
    if (!number) break;
    size_t begin = number->end;
    while (begin < text.size() && (text[begin] == ' ' || text[begin] == '-')) ++begin;
    size_t end = begin;
    std::string unit;
    while (end < text.size() && IsLetter(text[end])) unit += Lower(text[end++]);
    const int64_t seconds = UnitSeconds(unit);
    if (seconds == 0) break;
    const auto part = Product(number->value, {seconds, 1});
    const auto sum = part ? Sum(total, *part) : std::nullopt;
    if (!sum) return std::nullopt;
    total = *sum;
    is_empty = false;
    at = end;
  }
  return is_empty ? std::nullopt : std::optional<Rational>(total);
}

std::optional<CalendarDate> FirstDate(std::string_view text) {
  return First(FindAll<CalendarDate>(text, DateAt));
}
std::optional<CalendarDate> LastDate(std::string_view text) {
  return Last(FindAll<CalendarDate>(text, DateAt));
}

bool SameDate(const CalendarDate& found, const CalendarDate& key) {
  const auto agrees = [](int a, int b) { return b == 0 || a == b; };
  const bool is_year_open = found.year == 0;  // "March 5" where the key adds the year
  return (is_year_open || agrees(found.year, key.year)) && agrees(found.month, key.month) &&
         agrees(found.day, key.day) && (key.month != 0 || agrees(found.weekday, key.weekday));
}

}  // namespace planish
