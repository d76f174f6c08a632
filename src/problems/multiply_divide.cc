// SPDX-License-Identifier: Apache-2.0
// Products and quotients in words: equal groups, sharing, packing, rates, "times as many", and chains of these.
#include "problems/lexicon.h"
#include "problems/settings.h"
#include "problems/skills.h"

namespace planish {
namespace {

// n groups of m: one product.
constexpr const char* kGroups[] = {
    "There are {n} {c} with {m} {o} in each {c.1}.",
    "{A} <has|had> {n} {c}. Each {c.1} <holds|held> {m} {o}.",
    "Each {c.1} <has|had> {m} {o} in it, and there <are|were> {n} {c}.",
    "{A} <fills|filled> {n} {c} with {m} {o} each.",
    "[A shop|A store|{A}] <has|had> {n} {c} of {o}. There are {m} {o} in [every|each] {c.1}.",
    "{n} {c} <hold|held> {m} {o} each.",
    "{A} <buys|bought> {n} {c} of {o}, with {m} {o} in each {c.1}.",
    "One {c.1} <has|had> {m} {o}. {A} <has|had> {n} such {c}.",
    "{A} <puts|put> {m} {o} into each of {n} {c}.",
    "In each of the {n} {c} there <are|were> {m} {o}.",
    "{A} <packs|packed> {m} {o} in every {c.1} and <fills|filled> {n} {c}.",
    "There <are|were> {m} {o} in every {c.1}. {A} <has|had> {n} {c}."};
constexpr const char* kRates[] = {
    "{A} <makes|made> {m} {o} [a|every|each] day for {n} days.",
    "A machine <makes|made> {m} {o} [an hour|every hour|each hour] and <runs|ran> for {n} hours.",
    "Each of {n} {w} <brings|brought> {m} {o}.",
    "{n} {w} <have|had> {m} {o} each.",
    "{A} <sells|sold> {m} {o} each week, for {n} weeks.",
    "There <are|were> {n} {w}. Each [of them|one|{w.1}] <gets|got> {m} {o}.",
    "[Every|Each] day, {A} <collects|collected> {m} {o}. {A.he} <does|did> this for {n} days.",
    "{A} <gives|gave> {m} {o} to each of {n} {w}.",
    "In one hour, {A} <packs|packed> {m} {o}. {A.he} <works|worked> for {n} hours.",
    "The {o} <stand|stood> in {n} rows with {m} in each row.",
    "There <are|were> {n} rows of {o}, and each row <has|had> {m} {o}.",
    "For {n} days, {A} <buys|bought> {m} {o} every day."};
constexpr const char* kTotalQuestion[] = {"How many {o} are there [in all|altogether|in total]?",
                                          "How many {o} is that [in all|altogether|in total]?",
                                          "What is the total number of {o}?",
                                          "Find the total number of {o}.",
                                          "[Altogether|In total|In all], how many {o} are there?",
                                          "How many {o} are there altogether?",
                                          "How many {o} does this make?",
                                          "[Work out|Calculate] the total number of {o}."};
constexpr const char* kTimesSentence[] = {
    "How many {o} are in {n} {c} if each {c.1} has {m}?",
    "If one {c.1} has {m} {o}, how many {o} do {n} {c} have?",
    "{A} needs {m} {o} for each {c.1}. How many {o} does {A.he} need for {n} {c}?",
    "What is the total number of {o} in {n} {c} of {m}?",
    "A {c.1} has {m} {o}. How many {o} are in {n} {c}?",
    "How many {o} are there in {n} {c} with {m} {o} each?",
    "A box holds {m} {o}. What number of {o} fits in {n} such boxes?"};
constexpr const char* kShare[] = {
    "{A} <shares|shared> {n} {o} equally among {m} {w}.",
    "{n} {o} <are|were> shared equally by {m} {w}.",
    "{m} {w} <share|shared> {n} {o} equally.",
    "{A} <divides|divided> {n} {o} into {m} equal groups, one for each {w.1}.",
    "{A} <gives|gave> {n} {o} to {m} {w}, the same number to each.",
    "{n} {o} <are|were> given to {m} {w} in equal parts.",
    "There <are|were> {n} {o} for {m} {w}, and each <gets|got> the same number.",
    "{A} <has|had> {n} {o} and <splits|split> them evenly between {m} {w}.",
    "{n} {o} <are|were> divided equally between {m} {w}.",
    "{A} <wants|wanted> to give {n} {o} to {m} {w} so that each <gets|got> the same number.",
    "A group of {m} {w} <splits|split> {n} {o} evenly.",
    "{A} <hands|handed> out {n} {o} to {m} {w}, with the same number for each."};
constexpr const char* kEachQuestion[] = {
    "How many {o} does each {w.1} get?",   "How many {o} did each [of them|{w.1}] get?",
    "How many does each [one|{w.1}] get?", "What number of {o} does each {w.1} receive?",
    "Find how many {o} each {w.1} gets.",  "How many {o} are there for each {w.1}?",
    "How many {o} will each {w.1} have?"};
constexpr const char* kPack[] = {
    "{A} <packs|packed> {n} {o} into {c}, {m} in each {c.1}.",
    "{A} <puts|put> {n} {o} into {c} of {m}.",
    "{n} {o} <are|were> put into {c} that <hold|held> {m} each.",
    "A {c.1} <holds|held> {m} {o}, and there <are|were> {n} {o} to pack.",
    "{A} <has|had> {n} {o}. {A.he} <puts|put> {m} of them in each {c.1}.",
    "{A} <has|had> {n} {o} and <puts|put> {m} in every {c.1}.",
    "There <are|were> {n} {o}. Each {c.1} <has|had> room for {m} of them."};
constexpr const char* kPackQuestion[] = {"How many {c} does {A} need?",
                                         "How many {c} are needed?",
                                         "How many {c} [are filled|can be filled|are there]?",
                                         "What number of {c} is needed?",
                                         "How many {c} is that?",
                                         "How many {c} are needed for all the {o}?"};

constexpr const char* kHas[] = {
    "{X} <has|had> {n} {o}.",      "{X} <collects|collected> {n} {o}.",
    "{X} <gets|got> {n} {o}.",     "There <are|were> {n} {o} in {X}'s bag.",
    "{X} <picks|picked> {n} {o}.", "{X} <owns|owned> {n} {o}."};
constexpr const char* kTimesAsMany[] = {
    "{Y} <has|had> {times} as many {o} as {X}.",
    "{Y} <has|had> {times} as many as {X}.",
    "{Y}'s number of {o} <is|was> {times} that of {X}.",
    "{Y} <has|had> {times} the number of {o} that {X} <has|had>.",
    "Compared with {X}, {Y} <has|had> {times} as many {o}.",
    "{Y} <owns|owned> {times} as many {o} as {X}."};
constexpr const char* kPartAsMany[] = {
    "{Y} <has|had> {part} as many {o} as {X}.",
    "{Y} <has|had> {part} as many as {X}.",
    "{X} <has|had> {times} as many {o} as {Y}.",
    "{Y} <has|had> {part} of the number of {o} that {X} <has|had>.",
    "{Y}'s number of {o} <is|was> {part} of that of {X}.",
    "Compared with {X}, {Y} <has|had> {part} as many {o}."};
constexpr const char* kHowManyOf[] = {
    "How many {o} does {Y} have?",     "How many {o} <does|did> {Y} have?",
    "Find the number of {o} {Y} has.", "What is the number of {o} that {Y} has?",
    "How many {o} are {Y}'s?",         "So how many {o} does {Y} have?"};

// Chains: what is done to all {o} there are.
constexpr const char* kThenTimes[] = {
    "{T} the number of {o} [becomes|grows to] {times} as large.",
    "{T} {A} <gets|got> so many {o} that the number <is|was> {times} as large.",
    "{T} there <are|were> {times} as many {o}.",
    "{T} the number of {o} <is|was> multiplied by {m}.",
    "{T} {A} <has|had> {times} as many {o} as before.",
    "{T} the number of {o} [is|becomes] {times} what it was."};
constexpr const char* kThenPart[] = {
    "{T} only {part} of the {o} <are|were> left.",
    "{T} {A} <keeps|kept> only {part} of the {o}.",
    "{T} the number of {o} <is|was> divided by {m}.",
    "{T} the {o} <are|were> put into {m} equal piles and {A} <keeps|kept> one pile.",
    "{T} {A} <shares|shared> the {o} equally with [others|friends], {m} people in all, and "
    "<keeps|kept> one part.",
    "{T} {A} <has|had> only {part} of the {o} left."};
constexpr const char* kStart[] = {"{A} <has|had> {n} {o}.",
                                  "At first, there <are|were> {n} {o}.",
                                  "{A} <starts|started> with {n} {o}.",
                                  "In the beginning, {A} <has|had> {n} {o}.",
                                  "There <are|were> {n} {o} at the start.",
                                  "At the start, {A} <has|had> {n} {o}."};
constexpr const char* kHowManyNow[] = {
    "How many {o} [are there|does {A} have] [now|in the end|at the end]?",
    "What is the number of {o} [now|at the end]?",
    "How many {o} is that [now|in the end]?",
    "Find the number of {o} at the end.",
    "How many {o} does {A} have then?",
    "How many {o} does {A} have in the end?"};

constexpr const char* kNumberStart[] = {"Start with {n}.",
                                        "Take the number {n}.",
                                        "Begin with the number {n}.",
                                        "{A} thinks of the number {n}.",
                                        "{A} writes down the number {n}.",
                                        "Start with the number {n}."};
constexpr const char* kNumberTimes[] = {"Multiply it by {m}.",
                                        "[Then|Next] multiply by {m}.",
                                        "{T} {A.he} multiplies it by {m}.",
                                        "Multiply the result by {m}.",
                                        "Take {times} the number.",
                                        "{T} multiply it by {m}."};
constexpr const char* kNumberPart[] = {
    "Divide it by {m}.",         "[Then|Next] divide by {m}.", "{T} {A.he} divides it by {m}.",
    "Divide the result by {m}.", "Take {part} of it.",         "{T} divide it by {m}."};
constexpr const char* kNumberQuestion[] = {
    "What is the result?",       "What number do you get?",       "Which number comes out?",
    "What is the final number?", "What number is it at the end?", "What is the number at the end?"};

// Sentences that go on from a total.
constexpr const char* kSamePlaces[] = {
    "[|In all, ]{m} [shops|rooms|schools] <have|had> the same number of {o}.",
    "{m} {w} each <have|had> that many {o}.",
    "This <happens|happened> {m} times.",
    "There <are|were> {m} such [rooms|houses|trucks], each with that many {o}.",
    "{m} [teams|families|groups] each <do|did> the same.",
    "The same number of {o} [arrives|arrived] on each of {m} days."};
constexpr const char* kAllShared[] = {
    "All the {o} <are|were> then shared equally among {m} {w}.",
    "Then {m} {w} <share|shared> all of the {o} equally.",
    "{A} <divides|divided> all the {o} equally among {m} {w}.",
    "Then all of them <are|were> given to {m} {w}, the same number to each.",
    "The {o} <are|were> then split evenly between {m} {w}.",
    "All of the {o} <are|were> shared equally by {m} {w}."};

const char* TimesWord(Draw* draw, int64_t factor) {
  static constexpr const char* kWords[][2] = {
      {"twice", "2 times"},       {"3 times", "three times"}, {"4 times", "four times"},
      {"5 times", "five times"},  {"6 times", "six times"},   {"7 times", "seven times"},
      {"8 times", "eight times"}, {"9 times", "nine times"},  {"10 times", "ten times"}};
  return kWords[factor - 2][draw->Chance(factor == 2 ? 20 : 30)];
}

const char* PartWord(Draw* draw, int64_t divisor) {
  static constexpr const char* kWords[][2] = {{"half", "half"},
                                              {"a third", "one third"},
                                              {"a quarter", "one quarter"},
                                              {"a fifth", "one fifth"},
                                              {"a sixth", "one sixth"},
                                              {"a seventh", "one seventh"},
                                              {"an eighth", "one eighth"},
                                              {"a ninth", "one ninth"},
                                              {"a tenth", "one tenth"}};
  return kWords[divisor - 2][draw->Chance(40)];
}

void SetFactor(Story* story, int64_t factor) {
  story->slots().Set("m", factor);
  story->slots().Set("times", std::string(TimesWord(&story->draw(), factor)));
  story->slots().Set("part", std::string(PartWord(&story->draw(), factor)));
  story->Operand(factor);
}

// Factors of a chain that starts at a number of the length asked for and stays in sight: {factor, is product}.
struct Factor {
  int64_t value;
  bool is_product;
};
std::vector<Factor> Chain(Story* story, int64_t start, int steps) {
  std::vector<Factor> chain;
  int64_t value = start;
  for (int i = 0; i < steps; ++i) {
    std::vector<int64_t> divisors;
    for (int64_t d = 2; d <= 10; ++d)
      if (value % d == 0 && value / d > 1) divisors.push_back(d);
    const bool is_product =
        divisors.empty() || (value < 20000 && story->draw().Chance(value < 1000 ? 50 : 25));
    int64_t factor = is_product ? story->draw().Between(2, value < 2000 ? 9 : 4)
                                : divisors[story->draw().Index(divisors.size())];
    // Not just back to where it was.
    if (!chain.empty() && chain.back().value == factor && chain.back().is_product != is_product) {
      if (!is_product && divisors.size() < 2) story->GiveUp();
      factor = is_product ? (factor == 2 ? 3 : factor - 1)
                          : (divisors[0] == factor ? divisors.back() : divisors[0]);
    }
    chain.push_back({factor, is_product});
    value = is_product ? value * factor : value / factor;
    if (value > 99999) story->GiveUp();
  }
  return chain;
}

int64_t Apply(Story* story, std::string_view label, int64_t value, const Factor& factor) {
  return factor.is_product ? story->Multiply(label, value, factor.value)
                           : story->Divide(label, value, factor.value);
}

void Relatives(Story* story) {
  const auto people = story->Names(static_cast<size_t>(story->steps()) + 1);
  int64_t value = story->Longest();
  story->slots().Set("X", people[0]);
  story->slots().Set("n", value);
  story->Say(kHas);
  story->Given(people[0].name, value);
  const auto chain = Chain(story, value, story->steps());
  for (size_t i = 0; i < chain.size() && !story->gave_up(); ++i) {
    story->slots().Set("X", people[i]);
    story->slots().Set("Y", people[i + 1]);
    SetFactor(story, chain[i].value);
    story->Say(chain[i].is_product ? Frames(kTimesAsMany) : Frames(kPartAsMany));
    value = Apply(story, people[i + 1].name, value, chain[i]);
  }
  story->Ask(kHowManyOf);
  story->AnswerInteger(value);
}

void Process(Story* story, bool is_number) {
  int64_t value = story->Longest();
  story->slots().Set("n", value);
  story->Say(is_number ? Frames(kNumberStart) : Frames(kStart));
  story->Given("start", value);
  for (const Factor& factor : Chain(story, value, story->steps())) {
    SetFactor(story, factor.value);
    static constexpr const char* kThen[] = {"Then", "Later", "Next,", "After that,"};
    story->slots().Set("T", std::string(is_number ? "Then" : story->draw().Of(kThen)));
    if (is_number) {
      story->Say(factor.is_product ? Frames(kNumberTimes) : Frames(kNumberPart));
    } else {
      story->Say(factor.is_product ? Frames(kThenTimes) : Frames(kThenPart));
    }
    value = Apply(story, factor.is_product ? "times" : "divide", value, factor);
  }
  story->Ask(is_number ? Frames(kNumberQuestion) : Frames(kHowManyNow));
  story->AnswerInteger(value);
}

// n groups of m; then more of the same, or all shared. One to three steps.
void Groups(Story* story) {
  Slots& slots = story->slots();
  Draw& draw = story->draw();
  const int64_t size = story->Longest(),
                count = draw.Chance(75) ? story->Small() : draw.Between(11, 30);
  story->Operand(count);
  const bool swapped = draw.Chance(25);
  slots.Set("n", swapped ? size : count);
  slots.Set("m", swapped ? count : size);
  const bool is_sentence = story->steps() == 1 && draw.Chance(30);
  if (!is_sentence) story->Say(draw.Chance(50) ? Frames(kGroups) : Frames(kRates));
  story->Ask(is_sentence ? Frames(kTimesSentence) : Frames(kTotalQuestion));
  int64_t total = story->Multiply("total", size, count);
  for (int i = 1; i < story->steps() && !story->gave_up(); ++i) {
    const auto chain = Chain(story, total, 1);
    if (!chain[0].is_product && i + 1 < story->steps()) return story->GiveUp();
    slots.Set("w", draw.Of(Workers()));
    SetFactor(story, chain[0].value);
    story->Say(chain[0].is_product ? Frames(kSamePlaces) : Frames(kAllShared));
    total = Apply(story, chain[0].is_product ? "all" : "each", total, chain[0]);
    if (!chain[0].is_product) {
      story->Ask(kEachQuestion);
      return story->AnswerInteger(total);
    }
  }
  story->AnswerInteger(total);
}

// A single quotient, or groups whose total is packed anew.
void Share(Story* story) {
  Slots& slots = story->slots();
  Draw& draw = story->draw();
  const int64_t divisor = story->Small();
  int64_t total = story->Longest();
  total -= total % divisor;
  if (total < 2 * divisor) return story->GiveUp();
  story->Operand(divisor);
  story->Operand(total);
  slots.Set("n", total);
  slots.Set("m", divisor);
  const bool packs = draw.Chance(40);
  story->Say(packs ? Frames(kPack) : Frames(kShare));
  story->Ask(packs ? Frames(kPackQuestion) : Frames(kEachQuestion));
  story->AnswerInteger(story->Divide(packs ? "packs" : "each", total, divisor));
}

}  // namespace

void MultiplyDivideProblem(Story* story) {
  Draw& draw = story->draw();
  ChooseSetting(&story->slots(), &draw);
  story->slots().Set("o", draw.Chance(40) ? draw.Of(Foods()) : draw.Of(SmallThings()));
  story->slots().Set("c", draw.Of(Containers()));
  story->slots().Set("w", draw.Of(Workers()));
  const int steps = story->steps();
  if (steps == 1 && draw.Chance(80)) return draw.Chance(50) ? Groups(story) : Share(story);
  if (steps <= 3 && draw.Chance(50)) return Groups(story);
  const int64_t kind = draw.Between(0, 99);
  if (kind < 50) return Relatives(story);
  Process(story, kind < 72);
}

}  // namespace planish
