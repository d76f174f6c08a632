// SPDX-License-Identifier: Apache-2.0
// Sentence frames: text with slots and choices, filled in for one problem.
//   {A}        a slot; {A.he} {A.him} {A.his} of a person; {o} plural, {o.1} singular, {o.a} with article of a noun;
//              {v} verb by tense ("buys" or "bought"), {v.they} for a plural subject, {v.base}, {v.ing}, {v.tail} what follows the
//              object (" to Anna"); {n} number, {n.d} always in digits; {n.$} an amount of cents as money
//   [a|b|c]    one of these, at random; may be nested or empty
//   <has|had>  the first in a story told in the present, the second in the past
// The first letter of every sentence is made a capital.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "problems/draw.h"

namespace planish {

enum class Gender : uint8_t { kShe, kHe, kIt, kThey };

struct Person {
  const char* name;
  Gender gender;
};

struct Noun {
  const char* one;
  const char* many;
};

struct VerbForms {
  const char* base;   // buy
  const char* third;  // buys
  const char* past;   // bought
  const char* ing;    // buying
  const char* tail = "";
};

// How one problem writes.
struct Voice {
  bool is_past = false;
  int words_up_to = 0;      // numbers up to this are written as words
  bool has_commas = false;  // 1,250
};

class Slots {
 public:
  void Set(std::string_view key, const Person& person);
  void Set(std::string_view key, const Noun& noun);
  void Set(std::string_view key, const VerbForms& verb);
  void Set(std::string_view key, int64_t number);
  void Set(std::string_view key, std::string text);

  Voice voice;
  // The frame filled in, without capitals. Aborts on an unknown slot: a frame is ours.
  std::string Fill(std::string_view frame, Draw* draw) const;

 private:
  enum class Kind : uint8_t { kPerson, kNoun, kVerb, kNumber, kText };
  struct Value {
    std::string key;
    Kind kind = Kind::kText;
    Person person{};
    Noun noun{};
    VerbForms verb{};
    int64_t number = 0;
    std::string text;
  };
  Value* Put(std::string_view key, Kind kind);
  const Value& Find(std::string_view key, std::string_view frame) const;
  std::string Filled(std::string_view slot, std::string_view frame, Draw* draw) const;
  std::vector<Value> values_;
};

std::string WithCapitals(std::string text);
std::string NumberWords(int64_t n);              // 0..99999: "twenty-three"
std::string WithCommas(int64_t n);               // 1,250
std::string MoneyText(int64_t cents);            // $4.50, $12
std::string WithArticle(std::string_view noun);  // an apple
std::string OrdinalText(int64_t n);              // 1st, 22nd
std::string OrdinalWord(int64_t n);              // first .. twelfth, then 13th
// "a", "a and b", "a, b and c"
std::string JoinedList(const std::vector<std::string>& items);

}  // namespace planish
