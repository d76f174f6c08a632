// SPDX-License-Identifier: Apache-2.0
// Units of length, weight, volume, time and count: conversions, and stories that mix two units of one kind.
#include "problems/lexicon.h"
#include "problems/skills.h"
#include "problems/worked.h"

namespace planish {
namespace {

struct UnitPair {
  Noun big, small;
  int64_t factor;
  const char* thing;  // measured in them: "{thing} of 3 meters"
  const char* add;    // "joins a piece of"
  const char* take;
  Noun part;  // what it is cut into
};
constexpr UnitPair kPairs[] = {
    {{"meter", "meters"},
     {"centimeter", "centimeters"},
     100,
     "rope",
     "adds",
     "cuts off",
     {"piece", "pieces"}},
    {{"meter", "meters"},
     {"centimeter", "centimeters"},
     100,
     "ribbon",
     "adds",
     "cuts off",
     {"piece", "pieces"}},
    {{"kilometer", "kilometers"},
     {"meter", "meters"},
     1000,
     "path",
     "adds",
     "leaves out",
     {"part", "parts"}},
    {{"kilogram", "kilograms"},
     {"gram", "grams"},
     1000,
     "bag of flour",
     "adds",
     "takes out",
     {"portion", "portions"}},
    {{"kilogram", "kilograms"},
     {"gram", "grams"},
     1000,
     "sack of rice",
     "adds",
     "uses",
     {"portion", "portions"}},
    {{"liter", "liters"},
     {"milliliter", "milliliters"},
     1000,
     "bottle of juice",
     "pours in",
     "drinks",
     {"glass", "glasses"}},
    {{"liter", "liters"},
     {"milliliter", "milliliters"},
     1000,
     "can of water",
     "pours in",
     "pours out",
     {"cup", "cups"}},
    {{"centimeter", "centimeters"},
     {"millimeter", "millimeters"},
     10,
     "wire",
     "adds",
     "cuts off",
     {"piece", "pieces"}},
    {{"hour", "hours"},
     {"minute", "minutes"},
     60,
     "recording",
     "adds",
     "deletes",
     {"part", "parts"}},
    {{"minute", "minutes"},
     {"second", "seconds"},
     60,
     "video",
     "adds",
     "cuts out",
     {"part", "parts"}},
    {{"day", "days"}, {"hour", "hours"}, 24, "stay", "adds", "cancels", {"part", "parts"}},
    {{"week", "weeks"}, {"day", "days"}, 7, "holiday", "adds", "cancels", {"part", "parts"}},
    {{"year", "years"}, {"month", "months"}, 12, "course", "adds", "cancels", {"part", "parts"}},
    {{"foot", "feet"}, {"inch", "inches"}, 12, "board", "adds", "cuts off", {"piece", "pieces"}},
    {{"dozen", "dozen eggs"}, {"egg", "eggs"}, 12, "delivery", "adds", "uses", {"box", "boxes"}}};

constexpr const char* kToSmall[] = {"How many {s} are there in {n} {b}?",
                                    "How many {s} are {n} {b}?",
                                    "Convert {n} {b} to {s}.",
                                    "{A} has a {thing} of {n} {b}. How many {s} is that?",
                                    "A {thing} measures {n} {b}. What is that in {s}?",
                                    "How many {s} is {n} {b}?",
                                    "[Write|Give] {n} {b} in {s}.",
                                    "A {thing} is {n} {b}. How many {s} is it?"};
constexpr const char* kToBig[] = {"How many {b} are {n} {s}?",
                                  "Convert {n} {s} to {b}.",
                                  "{A} has a {thing} of {n} {s}. How many {b} is that?",
                                  "How many {b} are there in {n} {s}?",
                                  "[Write|Give] {n} {s} in {b}.",
                                  "How many {b} is {n} {s}?",
                                  "A {thing} is {n} {s}. What is that in {b}?"};
constexpr const char* kStart[] = {"{A} has a {thing} of {n} {b}.",
                                  "{A} looks at a {thing} of {n} {b}.",
                                  "{A}'s {thing} is {n} {b}.",
                                  "{A} gets a {thing} of {n} {b}.",
                                  "{A} begins with a {thing} of {n} {b}.",
                                  "{A} starts with a {thing} of {n} {b}.",
                                  "The {thing} of {A} is {n} {b}."};
constexpr const char* kStartBoth[] = {"{A} has a {thing} of {n} {b} and {m} {s}.",
                                      "{A}'s {thing} is {n} {b} and {m} {s}.",
                                      "{A} gets a {thing} of {n} {b} and {m} {s}.",
                                      "The {thing} of {A} is {n} {b} and {m} {s}.",
                                      "{A} begins with a {thing} of {n} {b} {m} {s}.",
                                      "{A} starts with a {thing} of {n} {b} and {m} {s}."};
constexpr const char* kMore[] = {"{A.he} {add} {n} {unit}[| more].",
                                 "Then {A.he} {add} {n} {unit}.",
                                 "{B} {add} {n} {unit}.",
                                 "[Later|After that], {A} {add} {n} {unit}.",
                                 "Another {n} {unit} are added.",
                                 "Then {B} {add} {n} {unit}."};
constexpr const char* kLess[] = {
    "{A.he} {take} {n} {unit}.",       "Then {A.he} {take} {n} {unit}.",
    "{B} {take} {n} {unit}.",          "[Later|After that], {A} {take} {n} {unit}.",
    "Then {n} {unit} are taken away.", "Then {B} {take} {n} {unit}."};
constexpr const char* kHowMany[] = {"How many {s} are [there|left] [now|in the end]?",
                                    "How many {s} is that [in all|now|in the end]?",
                                    "What is the result in {s}?",
                                    "Give the result in {s}.",
                                    "How many {s} does this make?",
                                    "How many {s} is it in the end?"};
constexpr const char* kParts[] = {
    "It is divided into {n} equal {p}. How many {s} is [each|one] {p.1}?",
    "{A.he} makes {n} equal {p} of it. How many {s} has each {p.1}?",
    "Then it is split into {n} equal {p}. What is one {p.1} in {s}?",
    "{n} equal {p} are made of it. How many {s} is one {p.1}?",
    "At the end, there are {n} equal {p}. How many {s} is one of them?",
    "Then it is divided into {n} equal {p}. How many {s} is one {p.1}?"};
constexpr const char* kCopies[] = {"How many {s} are {n} such things together?",
                                   "{B} has {n} times as much. How many {s} is that?",
                                   "{n} of these are the same. How many {s} are they together?",
                                   "How many {s} would {n} times as much be?",
                                   "{A} needs {n} times as much. How many {s} is that?",
                                   "{A.he} needs {n} times as much. How many {s} is that?"};

void SetPair(Story* story, const UnitPair& pair) {
  Slots& slots = story->slots();
  slots.Set("b", pair.big);
  slots.Set("s", pair.small);
  slots.Set("thing", std::string(pair.thing));
  slots.Set("add", std::string(pair.add));
  slots.Set("take", std::string(pair.take));
  slots.Set("p", pair.part);
}

const char* Singular(const UnitPair& pair) { return pair.big.one; }

void Convert(Story* story) {
  Slots& slots = story->slots();
  const UnitPair& pair = story->draw().Of(kPairs);
  SetPair(story, pair);
  if (story->draw().Chance(55)) {
    const int64_t n = story->Longest();
    if (n * pair.factor > 99999) return story->GiveUp();
    slots.Set("n", n);
    story->Line(fmt::format("1 {}={} {}", Singular(pair), pair.factor, pair.small.many));
    story->Ask(kToSmall);
    story->Key(pair.factor);
    return story->AnswerInteger(story->Multiply(pair.small.many, n, pair.factor));
  }
  const int64_t n = story->Longest() / pair.factor * pair.factor;
  if (n < 2 * pair.factor) return story->GiveUp();
  slots.Set("n", n);
  story->Operand(n);
  story->Key(pair.factor);
  story->Line(fmt::format("1 {}={} {}", Singular(pair), pair.factor, pair.small.many));
  story->Ask(kToBig);
  story->AnswerInteger(story->Divide(pair.big.many, n, pair.factor));
}

// A length in two units, more and less of it, then parts or copies. The first step converts.
void Measures(Story* story) {
  Slots& slots = story->slots();
  Draw& draw = story->draw();
  const UnitPair& pair = draw.Of(kPairs);
  SetPair(story, pair);
  story->Key(pair.factor);
  const int64_t big = story->digits() == 4 && pair.factor < 100 && draw.Chance(50)
                          ? draw.Between(100, 900)
                          : story->Small();
  story->Operand(big);
  slots.Set("n", big);
  story->Line(fmt::format("1 {}={} {}", Singular(pair), pair.factor, pair.small.many));
  const bool both = story->steps() >= 2 && draw.Chance(45);
  int64_t total = 0;
  if (both) {
    const int64_t rest = story->NumberBelow(pair.factor);
    slots.Set("m", rest);
    story->Say(kStartBoth);
    total = story->Multiply(pair.small.many, big, pair.factor);
    total = story->Add("total", total, rest);
  } else {
    story->Say(kStart);
    total = story->Multiply(pair.small.many, big, pair.factor);
  }
  const int64_t ending = story->done_steps() < story->steps() ? draw.Between(0, 2) : 0;
  const int body = story->steps() - (ending > 0 ? 1 : 0);
  while (story->done_steps() < body && !story->gave_up()) {
    const bool in_big = body - story->done_steps() >= 2 && draw.Chance(35);
    const bool more = total < 3 * (in_big ? pair.factor : 1) || draw.Chance(50);
    int64_t n = 0;
    if (in_big) {
      n = draw.Between(2, more ? 9 : std::min<int64_t>(9, total / pair.factor - 1));
      story->Operand(n);
      if (n < 2) return story->GiveUp();
    } else {
      n = more ? story->Number() : story->NumberBelow(total);
    }
    slots.Set("n", n);
    slots.Set("unit", in_big ? pair.big : pair.small);
    story->Say(more ? Frames(kMore) : Frames(kLess));
    if (in_big) n = story->Multiply(pair.small.many, n, pair.factor);
    total = more ? story->Add("total", total, n) : story->Subtract("total", total, n);
  }
  if (ending == 0) {
    story->Ask(kHowMany);
    return story->AnswerInteger(total);
  }
  int64_t n = story->Small();
  if (ending == 1)
    for (int i = 0; i < 8 && total % n != 0; ++i) n = n == 9 ? 2 : n + 1;
  slots.Set("n", n);
  story->Operand(n);
  story->Ask(ending == 1 ? Frames(kParts) : Frames(kCopies));
  story->AnswerInteger(ending == 1 ? story->Divide("each", total, n)
                                   : story->Multiply("all", total, n));
}

}  // namespace

void UnitsProblem(Story* story) {
  const auto people = story->Names(2);
  story->slots().Set("A", people[0]);
  story->slots().Set("B", people[1]);
  story->steps() == 1 ? Convert(story) : Measures(story);
}

}  // namespace planish
