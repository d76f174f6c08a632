// SPDX-License-Identifier: Apache-2.0
// Percentages: of a number, a part and the rest, discounts and rises, what percent one number is of another, and stories with
// several of these.
#include "problems/inventory.h"
#include "problems/lexicon.h"
#include "problems/skills.h"
#include "problems/worked.h"

namespace planish {
namespace {

constexpr const char* kPercentOf[] = {"What is {k}% of {n}?",
                                      "Find {k}% of {n}.",
                                      "Calculate {k} percent of {n}.",
                                      "How much is {k} percent of {n}?",
                                      "What number is {k}% of {n}?",
                                      "How much is {k}% of {n}?",
                                      "[Work out|Tell me] {k}% of the number {n}."};
constexpr const char* kGroup[] = {
    "There <are|were> {n} {w} [in the hall|at the event|in the group]. {k}% of them {are}.",
    "A group <has|had> {n} {w}. {k}% of the {w} {are}.",
    "Of {n} {w}, {k}% {are}.",
    "{k}% of the {n} {w} [in the building|in town] {are}.",
    "Out of {n} {w}, {k} percent {are}.",
    "In a group of {n} {w}, {k}% {are}."};
constexpr const char* kHowManyAre[] = {"How many {w} {are}?",
                                       "How many of [them|the {w}] {are}?",
                                       "How many {w} is that?",
                                       "Find the number of {w} who {are}.",
                                       "What is the number of {w} who {are}?",
                                       "How many of the {w} {are}?"};
constexpr const char* kHowManyNot[] = {
    "How many {w} [do not|are not in this group]?", "How many {w} are not among them?",
    "How many {w} are in the rest of the group?",   "How many are not counted in this?",
    "How many {w} remain if these leave?",          "How many {w} are not in that part?"};
constexpr const char* kPrice[] = {"[A|One] {ware} <costs|cost> ${n.d}.",
                                  "The price of a {ware} <is|was> ${n.d}.",
                                  "A {ware} <is|was> sold for ${n.d}.",
                                  "{A} <wants|wanted> to buy a {ware} for ${n.d}.",
                                  "The {ware} in the shop <costs|cost> {n} dollars.",
                                  "A {ware} in the shop <costs|cost> ${n.d}."};
constexpr const char* kCheaper[] = {"It <is|was> on sale for {k}% off.",
                                    "The shop <takes|took> {k}% off the price.",
                                    "Then the price <falls|fell> by {k}%.",
                                    "There <is|was> a discount of {k}%.",
                                    "The price <is|was> reduced by {k} percent.",
                                    "Then it <is|was> {k}% cheaper.",
                                    "{A} <gets|got> {k}% off."};
constexpr const char* kDearer[] = {"The price <rises|rose> by {k}%.",
                                   "A tax of {k}% <is|was> added.",
                                   "Then the price <goes|went> up by {k}%.",
                                   "Tax of {k} percent <is|was> added to it.",
                                   "The shop <raises|raised> the price by {k}%.",
                                   "Then the price <rises|rose> by {k} percent."};
constexpr const char* kFlat[] = {
    "Then ${n.d} <is|was> added for delivery.", "Delivery <costs|cost> another ${n.d}.",
    "There <is|was> also a fee of ${n.d}.",     "{A} <pays|paid> ${n.d} more for a box.",
    "Then ${n.d} <is|was> added for a bag.",    "Then a fee of ${n.d} <is|was> added."};
constexpr const char* kCount[] = {
    "{A} <buys|bought> {n} of them.",    "{A} <takes|took> {n} of these.",
    "{A} <needs|needed> {n} of them.",   "{n} of them <are|were> bought.",
    "{A} <orders|ordered> {n} of them.", "{A} <gets|got> {n} of them."};
constexpr const char* kNewPrice[] = {"What is the [new|final] price?",
                                     "How much does {A} [have to pay|pay]?",
                                     "How much does it cost [now|then|in the end]?",
                                     "What does {A} pay [in the end|in all]?",
                                     "Find the [new|final] price.",
                                     "How much is it in the end?"};
constexpr const char* kWhatPercent[] = {
    "What percent of {n} is {m}?",
    "{A} <has|had> {n} {o} and <gives|gave> away {m} of them. What percent of the {o} is that?",
    "There are {n} {o}, and {m} of them are {color}. What percent of the {o} are {color}?",
    "{m} of the {n} {o} are {color}. What percentage is that?",
    "{A} scored {m} out of {n} points. What percent is that?",
    "{m} is what percent of {n}?",
    "Out of {n} {o}, {m} are {color}. What percent is that?"};

void PercentOf(Story* story) {
  Slots& slots = story->slots();
  int64_t n = story->Longest();
  if (story->draw().Chance(70)) n = std::max<int64_t>(20, n / 20 * 20);
  const int64_t k = ChoosePercent(&story->draw(), n);
  if (k == 0) return story->GiveUp();
  story->Operand(n);
  story->Operand(k);
  slots.Set("n", n);
  slots.Set("k", k);
  int64_t part = 0;
  const std::string work = WorkedPercent(k, n, &part);
  story->Line(fmt::format("{}% of {}: {}", k, n, work), true);
  if (story->steps() == 1 && story->draw().Chance(45)) {
    story->Ask(kPercentOf);
    return story->AnswerInteger(part);
  }
  static constexpr const char* kAre[] = {
      "like music", "play tennis", "have a dog",    "are left-handed", "wear glasses",
      "go by bus",  "like tea",    "speak Spanish", "have a bike",     "can swim"};
  slots.Set("w", story->draw().Of(Workers()));
  slots.Set("are", std::string(story->draw().Of(kAre)));
  story->Say(kGroup);
  if (story->steps() == 1) {
    story->Ask(kHowManyAre);
    return story->AnswerInteger(part);
  }
  story->Ask(kHowManyNot);
  story->AnswerInteger(story->Subtract("rest", n, part));
}

// A price that falls and rises; what is asked is the price at the end.
void Price(Story* story) {
  Slots& slots = story->slots();
  Draw& draw = story->draw();
  static constexpr const char* kWares[] = {"coat",   "bike",  "phone",  "table", "lamp",  "camera",
                                           "jacket", "radio", "watch",  "desk",  "chair", "tent",
                                           "carpet", "clock", "guitar", "bed"};
  slots.Set("ware", std::string(draw.Of(kWares)));
  int64_t price = story->Longest();
  if (draw.Chance(80)) price = std::max<int64_t>(20, price / 20 * 20);
  slots.Set("n", price);
  story->Operand(price);
  story->Say(kPrice);
  story->Given("price", price);
  bool is_first = true;
  while (story->done_steps() < story->steps() && !story->gave_up()) {
    const int left = story->steps() - story->done_steps();
    if (left == 1 && is_first) return story->GiveUp();
    if (left == 1 || (!is_first && draw.Chance(25))) {
      if (draw.Chance(50)) {
        const int64_t n = story->Small();
        slots.Set("n", n);
        story->Operand(n);
        if (left > 1) return story->GiveUp();  // several pieces come last
        story->Say(kCount);
        price = story->Multiply("all", price, n);
      } else {
        const int64_t n = story->Number();
        slots.Set("n", n);
        story->Say(kFlat);
        price = story->Add("price", price, n);
      }
      continue;
    }
    const int64_t k = ChoosePercent(&draw, price);
    if (k == 0) return story->GiveUp();
    const bool falls = k > 50 || draw.Chance(65);
    slots.Set("k", k);
    story->Operand(k);
    story->Say(falls ? Frames(kCheaper) : Frames(kDearer));
    int64_t part = 0;
    const std::string work = WorkedPercent(k, price, &part);
    story->Line(fmt::format("{}% of {}: {}", k, price, work), true);
    price = falls ? story->Subtract("price", price, part) : story->Add("price", price, part);
    is_first = false;
  }
  story->Ask(kNewPrice);
  story->AnswerMoney(100 * price);
}

void WhatPercent(Story* story) {
  Slots& slots = story->slots();
  static constexpr int64_t kParts[] = {5,  10, 15, 20, 25, 30, 35, 40, 45, 50,
                                       55, 60, 65, 70, 75, 80, 85, 90, 95};
  int64_t n = story->Longest();
  if (n < 100)
    n = std::max<int64_t>(10, n / 10 * 10);
  else
    n = n / 100 * 100;
  const int64_t k = story->draw().Of(kParts);
  if (k * n % 100 != 0) return story->GiveUp();
  const int64_t m = k * n / 100;
  slots.Set("n", n);
  slots.Set("m", m);
  slots.Set("o", story->draw().Of(SmallThings()));
  slots.Set("color", std::string(story->draw().Of(Colors())));
  story->Operand(n);
  story->Operand(m);
  story->Ask(kWhatPercent);
  // m of n is 100 m / n percent, and n has at most two zeros to lose.
  if (n % 100 == 0) {
    story->Line(fmt::format("1%: {}", WorkedQuotient(n, 100)));
    story->Divide("percent", m, n / 100);
  } else {
    story->Line(fmt::format("10%: {}", WorkedQuotient(n, 10)));
    story->Line(fmt::format("times 10: {}", WorkedProduct(m, 10)));
    story->Divide("percent", m * 10, n / 10);
  }
  story->Answer(AnswerType::kInteger, std::to_string(k));
}

}  // namespace

void PercentProblem(Story* story) {
  story->slots().Set("A", story->Names(1)[0]);
  const int64_t kind = story->draw().Between(0, 99);
  const int steps = story->steps();
  if (steps == 1)
    return kind < 65   ? PercentOf(story)
           : kind < 90 ? WhatPercent(story)
                       : InventoryProblem(story, {.percents = 1});
  if (steps == 2 && kind < 35) return PercentOf(story);
  if (kind < 60) return Price(story);
  InventoryProblem(story, {.changes = 2, .groups = 1, .percents = 3, .endings = 25});
}

}  // namespace planish
