// SPDX-License-Identifier: Apache-2.0
// Fractions of quantities: a part, the rest, what fraction something is, wholes from parts, and stories with several.
#include <numeric>

#include "problems/inventory.h"
#include "problems/lexicon.h"
#include "problems/skills.h"
#include "problems/worked.h"

namespace planish {
namespace {

constexpr const char* kFractionOf[] = {"What is {f} of {n}?",        "Find {f} of {n}.",
                                       "How much is {f} of {n}?",    "Calculate {f} of {n}.",
                                       "What number is {f} of {n}?", "Find {f} of the number {n}."};
constexpr const char* kParts[] = {
    "{A} <has|had> {n} {o}. {f} of them <are|were> {color}.",
    "There <are|were> {n} {o} in a {c.1}, and {f} of them <are|were> {color}.",
    "{f} of {A}'s {n} {o} <are|were> {color}.",
    "Of {n} {o}, {f} <are|were> {color}.",
    "{A} <counts|counted> {n} {o} and <sees|saw> that {f} of them <are|were> {color}.",
    "{A} <owns|owned> {n} {o}, and {f} of them <are|were> {color}.",
    "{A} <paints|painted> {f} of {n} {o} {color}."};
constexpr const char* kHowMany[] = {
    "How many {o} are {color}?",        "How many {color} {o} are there?",
    "How many of the {o} are {color}?", "What is the number of {color} {o}?",
    "Find the number of {color} {o}.",  "How many {color} {o} is that?"};
constexpr const char* kHowManyNot[] = {"How many {o} are not {color}?",
                                       "How many of the {o} are not {color}?",
                                       "How many {o} have another color?",
                                       "Find the number of {o} that are not {color}.",
                                       "What is the number of {o} that are not {color}?",
                                       "How many of the {n} {o} are not {color}?"};
constexpr const char* kColors[] = {
    "[A bag|A box|{A}] <has|had> {n} {color} {o} and {m} {color2} ones.",
    "There <are|were> {n} {color} {o} and {m} {color2} {o}.",
    "{A} <has|had> {n} {color} and {m} {color2} {o}.",
    "{n} {o} <are|were> {color} and {m} <are|were> {color2}.",
    "In a {c.1} there <are|were> {n} {color} {o} and {m} {color2} ones.",
    "{A} <has|had> {n} {color} {o} and {m} {color2} {o}."};
constexpr const char* kWhatFraction[] = {
    "What fraction of [all |the |]{o} [is|are] {color}?",
    "What fraction of them is {color}? Give it in lowest terms.",
    "What part of the {o} is {color}? Give a fraction in lowest terms.",
    "Which fraction of the {o} is {color}?",
    "As a fraction in lowest terms, what part of the {o} is {color}?",
    "What fraction of all the {o} is {color}? Give it in lowest terms."};
constexpr const char* kSimplify[] = {
    "Simplify the fraction {n}/{m}.",
    "Write {n}/{m} in lowest terms.",
    "What is {n}/{m} in its simplest form?",
    "Reduce {n}/{m} to lowest terms.",
    "{A} got {n} out of {m} points. What fraction is that in lowest terms?",
    "Write the fraction {n}/{m} in its simplest form.",
    "{n} of {m} {o} are {color}. What fraction is that in lowest terms?"};
constexpr const char* kWhole[] = {
    "{f} of {A}'s {o} <are|were> {n}. How many {o} does {A} have in all?",
    "{n} {o} are {f} of all {o}. How many {o} are there in all?",
    "{A} gave away {n} {o}. That was {f} of them. How many did {A.he} have?",
    "If {f} of a number is {n}, what is the number?",
    "{f} of a number is {n}. What is the number?",
    "{n} is {f} of a number. What is the number?",
    "{n} of the {o} are {color}, and that is {f} of all. How many {o} are there?"};

void SetWords(Story* story) {
  Draw& draw = story->draw();
  const auto colors = draw.Several(Colors(), 2);
  story->slots().Set("o", draw.Of(SmallThings()));
  story->slots().Set("c", draw.Of(Containers()));
  story->slots().Set("A", story->Names(1)[0]);
  story->slots().Set("color", std::string(colors[0]));
  story->slots().Set("color2", std::string(colors[1]));
}

bool SetFraction(Story* story, int64_t of, int64_t* a, int64_t* b) {
  if (!ChooseFraction(&story->draw(), of, a, b)) return false;
  story->slots().Set("f", FractionText(&story->draw(), *a, *b));
  story->slots().Set("n", of);
  story->Operand(of);
  story->Key(*a * 100 + *b);
  return true;
}

// One step: the part; two: the rest.
void Part(Story* story) {
  int64_t n = story->Longest(), a = 0, b = 0;
  if (story->draw().Chance(60)) n = std::max<int64_t>(12, n / 12 * 12);
  if (!SetFraction(story, n, &a, &b)) return story->GiveUp();
  int64_t part = 0;
  const std::string work = WorkedFraction(a, b, n, &part);
  story->Line(fmt::format("{}/{} of {}: {}", a, b, n, work), true);
  if (story->steps() == 1 && story->draw().Chance(30)) {
    story->Ask(kFractionOf);
    return story->AnswerInteger(part);
  }
  story->Say(kParts);
  if (story->steps() == 1) {
    story->Ask(kHowMany);
    return story->AnswerInteger(part);
  }
  story->Ask(kHowManyNot);
  story->AnswerInteger(story->Subtract("rest", n, part));
}

// Divides both sides by small numbers until nothing is left to divide by. One line.
std::string Reduced(Story* story, int64_t a, int64_t b) {
  std::string line = fmt::format("{}/{}", a, b);
  while (std::gcd(a, b) > 1) {
    int64_t d = 2;
    for (int64_t t = 10; t >= 2; --t) {
      if (a % t == 0 && b % t == 0) {
        d = t;
        break;
      }
      if (t == 2) return story->GiveUp(), "";  // a common factor above 10: too hard to see
    }
    line += fmt::format(",{},{}", WorkedQuotient(a, d), WorkedQuotient(b, d));
    a /= d;
    b /= d;
  }
  story->Line("reduce: " + line, true);
  return fmt::format("{}/{}", a, b);
}

void WhatFraction(Story* story) {
  Slots& slots = story->slots();
  const int64_t d = story->draw().Between(2, 9);
  int64_t n = std::max<int64_t>(1, story->Longest() / d) * d;
  const int64_t parts = story->draw().Between(1, 9);
  int64_t m = n * parts / story->draw().Between(1, 9);
  if (m < 2 || m == n || DigitCount(n + m) > story->digits()) return story->GiveUp();
  if (story->draw().Chance(50)) std::swap(n, m);
  slots.Set("n", n);
  slots.Set("m", m);
  story->Operand(n);
  story->Operand(m);
  story->Say(kColors);
  story->Ask(kWhatFraction);
  const int64_t total = story->Add("total", n, m);
  story->Answer(AnswerType::kFraction, Reduced(story, n, total));
}

void Simplify(Story* story) {
  Slots& slots = story->slots();
  const int64_t b = story->draw().Between(2, 12), a = story->draw().Between(1, b - 1);
  if (std::gcd(a, b) != 1) return story->GiveUp();
  const int64_t m = story->Longest() / b * b, n = m / b * a;
  if (m == b || m == 0) return story->GiveUp();
  slots.Set("n", n);
  slots.Set("m", m);
  story->Operand(n);
  story->Operand(m);
  story->Ask(kSimplify);
  story->Answer(AnswerType::kFraction, Reduced(story, n, m));
}

void Whole(Story* story) {
  Slots& slots = story->slots();
  const int64_t b = story->draw().Between(2, 10),
                a = story->draw().Chance(50) ? 1 : story->draw().Between(1, b - 1);
  if (std::gcd(a, b) != 1) return story->GiveUp();
  const int64_t n = std::max<int64_t>(1, story->Longest() / a) * a;
  slots.Set("f", FractionText(&story->draw(), a, b));
  slots.Set("n", n);
  story->Operand(n);
  story->Key(a * 100 + b);
  story->Ask(kWhole);
  if (a > 1) story->Line(fmt::format("1/{}: {}", b, WorkedQuotient(n, a)));
  story->AnswerInteger(story->Multiply("all", n / a, b));
}

}  // namespace

void FractionProblem(Story* story) {
  SetWords(story);
  const int64_t kind = story->draw().Between(0, 99);
  const int steps = story->steps();
  if (steps == 1 && kind < 50) return Part(story);
  if (steps == 1 && kind < 80) return kind < 65 ? Simplify(story) : Whole(story);
  if (steps == 2 && kind < 30) return Part(story);
  if (steps == 2 && kind < 60) return WhatFraction(story);
  InventoryProblem(story, {.changes = 2, .groups = 1, .fractions = 3, .endings = 25});
}

}  // namespace planish
