// SPDX-License-Identifier: Apache-2.0
#include "problems/phrase.h"

#include "base/error.h"

namespace planish {
namespace {

constexpr const char* kSmall[] = {"zero",    "one",     "two",       "three",    "four",
                                  "five",    "six",     "seven",     "eight",    "nine",
                                  "ten",     "eleven",  "twelve",    "thirteen", "fourteen",
                                  "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"};
constexpr const char* kTens[] = {"",      "",      "twenty",  "thirty", "forty",
                                 "fifty", "sixty", "seventy", "eighty", "ninety"};

// The end of the group that opens at `begin`, and its top-level bars.
size_t GroupEnd(std::string_view frame, size_t begin, char close, std::vector<size_t>* bars) {
  const char open = frame[begin];
  int depth = 0;
  for (size_t i = begin; i < frame.size(); ++i) {
    if (frame[i] == open) ++depth;
    if (frame[i] == close && --depth == 0) return i;
    if (frame[i] == '|' && depth == 1) {
      // A bar inside a group of the other kind is not ours.
      int other = 0;
      const char other_open = open == '[' ? '<' : '[', other_close = open == '[' ? '>' : ']';
      for (size_t j = begin; j < i; ++j)
        other += frame[j] == other_open ? 1 : frame[j] == other_close ? -1 : 0;
      if (other == 0) bars->push_back(i);
    }
  }
  PLANISH_CHECK(false, "unclosed group in frame: {}", frame);
  return 0;
}

std::string_view Part(std::string_view frame, size_t begin, size_t end,
                      const std::vector<size_t>& bars, size_t chosen) {
  const size_t from = chosen == 0 ? begin + 1 : bars[chosen - 1] + 1;
  const size_t to = chosen == bars.size() ? end : bars[chosen];
  return frame.substr(from, to - from);
}

const char* Pronoun(Gender gender, std::string_view form) {
  static constexpr const char* kForms[][4] = {{"she", "her", "her", "herself"},
                                              {"he", "him", "his", "himself"},
                                              {"it", "it", "its", "itself"},
                                              {"they", "them", "their", "themselves"}};
  const auto& row = kForms[static_cast<size_t>(gender)];
  if (form == "he") return row[0];
  if (form == "him") return row[1];
  if (form == "his") return row[2];
  if (form == "self") return row[3];
  return nullptr;
}

}  // namespace

std::string NumberWords(int64_t n) {
  PLANISH_CHECK(n >= 0 && n < 100000, "{}", n);
  if (n < 20) return kSmall[n];
  if (n < 100) return n % 10 ? fmt::format("{}-{}", kTens[n / 10], kSmall[n % 10]) : kTens[n / 10];
  if (n < 1000) {
    return std::string(kSmall[n / 100]) + " hundred" +
           (n % 100 ? " and " + NumberWords(n % 100) : "");
  }
  return NumberWords(n / 1000) + " thousand" +
         (n % 1000 ? (n % 1000 < 100 ? " and " : " ") + NumberWords(n % 1000) : "");
}

std::string WithCommas(int64_t n) {
  std::string digits = std::to_string(n);
  for (size_t i = digits.size(); i > 3u + (n < 0 ? 1u : 0u); i -= 3) digits.insert(i - 3, 1, ',');
  return digits;
}

std::string MoneyText(int64_t cents) {
  if (cents % 100 == 0) return fmt::format("${}", cents / 100);
  return fmt::format("${}.{:02}", cents / 100, cents % 100);
}

std::string WithArticle(std::string_view noun) {
  const bool vowel = std::string_view("aeiou").find(noun.front()) != std::string_view::npos &&
                     !noun.starts_with("uni") && !noun.starts_with("one");
  return fmt::format("{} {}", vowel ? "an" : "a", noun);
}

std::string OrdinalText(int64_t n) {
  const int64_t ten = n % 100 / 10, one = n % 10;
  return fmt::format("{}{}", n,
                     ten == 1   ? "th"
                     : one == 1 ? "st"
                     : one == 2 ? "nd"
                     : one == 3 ? "rd"
                                : "th");
}

std::string OrdinalWord(int64_t n) {
  static constexpr const char* kWords[] = {"",      "first",    "second",  "third",  "fourth",
                                           "fifth", "sixth",    "seventh", "eighth", "ninth",
                                           "tenth", "eleventh", "twelfth"};
  return n >= 1 && n <= 12 ? kWords[n] : OrdinalText(n);
}

std::string JoinedList(const std::vector<std::string>& items) {
  std::string out;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out += i + 1 == items.size() ? " and " : ", ";
    out += items[i];
  }
  return out;
}

std::string WithCapitals(std::string text) {
  bool at_start = true;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == ' ' || c == '\n' || c == '"') {
      if (c == '\n') at_start = true;
      continue;
    }
    if (at_start && c >= 'a' && c <= 'z') text[i] = static_cast<char>(c - 'a' + 'A');
    // What follows "..." has the case its frame gives it.
    at_start = (c == '.' || c == '?' || c == '!') && i + 1 < text.size() && text[i + 1] == ' ' &&
               (i == 0 || text[i - 1] != '.');
  }
  return text;
}

Slots::Value* Slots::Put(std::string_view key, Kind kind) {
  for (Value& value : values_) {
    if (value.key == key) {
      value.kind = kind;
      return &value;
    }
  }
  values_.push_back({.key = std::string(key), .kind = kind});
  return &values_.back();
}

void Slots::Set(std::string_view key, const Person& person) {
  Put(key, Kind::kPerson)->person = person;
}
void Slots::Set(std::string_view key, const Noun& noun) { Put(key, Kind::kNoun)->noun = noun; }
void Slots::Set(std::string_view key, const VerbForms& verb) { Put(key, Kind::kVerb)->verb = verb; }
void Slots::Set(std::string_view key, int64_t number) { Put(key, Kind::kNumber)->number = number; }
void Slots::Set(std::string_view key, std::string text) {
  Put(key, Kind::kText)->text = std::move(text);
}

const Slots::Value& Slots::Find(std::string_view key, std::string_view frame) const {
  for (const Value& value : values_) {
    if (value.key == key) return value;
  }
  PLANISH_CHECK(false, "no slot {} for frame: {}", key, frame);
  return values_[0];
}

std::string Slots::Filled(std::string_view slot, std::string_view frame, Draw* draw) const {
  const size_t dot = slot.find('.');
  const Value& value = Find(slot.substr(0, dot), frame);
  const std::string_view form = dot == slot.npos ? "" : slot.substr(dot + 1);
  switch (value.kind) {
    case Kind::kPerson:
      if (const char* pronoun = Pronoun(value.person.gender, form)) return pronoun;
      PLANISH_CHECK(form.empty(), "form {} in frame: {}", form, frame);
      return Fill(value.person.name, draw);
    case Kind::kNoun:
      if (form == "1") return value.noun.one;
      if (form == "a") return WithArticle(value.noun.one);
      PLANISH_CHECK(form.empty(), "form {} in frame: {}", form, frame);
      return value.noun.many;
    case Kind::kVerb:
      if (form == "base") return value.verb.base;
      if (form == "past") return value.verb.past;
      if (form == "ing") return value.verb.ing;
      if (form == "tail") return Fill(value.verb.tail, draw);
      if (voice.is_past) return value.verb.past;
      return form == "they" ? value.verb.base : value.verb.third;
    case Kind::kNumber:
      if (form == "$") {
        if (value.number < 100 && draw->Chance(60)) return fmt::format("{} cents", value.number);
        if (value.number % 100 == 0 && draw->Chance(20))
          return fmt::format("{} dollar{}", value.number / 100, value.number == 100 ? "" : "s");
        return fmt::format(
            "${}{}",
            voice.has_commas ? WithCommas(value.number / 100) : std::to_string(value.number / 100),
            value.number % 100 ? fmt::format(".{:02}", value.number % 100) : "");
      }
      if (form.empty() && value.number >= 0 && value.number <= voice.words_up_to)
        return NumberWords(value.number);
      return voice.has_commas && form.empty() && value.number > 999 ? WithCommas(value.number)
                                                                    : std::to_string(value.number);
    case Kind::kText:
      return value.text;
  }
  return {};
}

std::string Slots::Fill(std::string_view frame, Draw* draw) const {
  std::string out;
  for (size_t i = 0; i < frame.size(); ++i) {
    if (frame[i] == '{') {
      const size_t end = frame.find('}', i);
      PLANISH_CHECK(end != frame.npos, "unclosed slot in frame: {}", frame);
      out += Filled(frame.substr(i + 1, end - i - 1), frame, draw);
      i = end;
    } else if (frame[i] == '[' || frame[i] == '<') {
      std::vector<size_t> bars;
      const bool is_choice = frame[i] == '[';
      const size_t end = GroupEnd(frame, i, is_choice ? ']' : '>', &bars);
      const size_t chosen = is_choice ? draw->Index(bars.size() + 1) : voice.is_past ? 1 : 0;
      PLANISH_CHECK(is_choice || bars.size() == 1, "two tenses expected in frame: {}", frame);
      out += Fill(Part(frame, i, end, bars, chosen), draw);
      i = end;
    } else {
      out += frame[i];
    }
  }
  return out;
}

}  // namespace planish
