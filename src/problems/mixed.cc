// SPDX-License-Identifier: Apache-2.0
// Stories that need all four operations: an inventory, groups of several kinds put together, relations with a total.
#include "problems/inventory.h"
#include "problems/lexicon.h"
#include "problems/settings.h"
#include "problems/skills.h"

namespace planish {
namespace {

constexpr const char* kBuys[] = {"{A} <buys|bought> {n} {c} with {m} {o} in each {c.1}.",
                                 "{A} <has|had> {n} {c} with {m} {o} each.",
                                 "There <are|were> {n} {c} with {m} {o} in each.",
                                 "{A} <packs|packed> {n} {c} with {m} {o} in each.",
                                 "There <are|were> {n} {c}, each with {m} {o}.",
                                 "{n} {c} <hold|held> {m} {o} each.",
                                 "Each of {n} {c} <holds|held> {m} {o}."};
constexpr const char* kLoose[] = {"There <are|were> also {n} {o} [outside|on the table].",
                                  "{A} also <has|had> {n} {o}.",
                                  "Another {n} {o} <are|were> [on the table|on the floor].",
                                  "{A.he} also <has|had> {n} loose {o}.",
                                  "Besides, there <are|were> {n} {o} more.",
                                  "There <are|were> also {n} loose {o}."};
constexpr const char* kAllThings[] = {"How many {o} are there [altogether|in all|in total]?",
                                      "How many {o} is that [altogether|in all|in total]?",
                                      "What is the total number of {o}?",
                                      "Find the total number of {o}.",
                                      "How many {o} are there if you count them all?",
                                      "How many {o} does that make in [all|total]?"};
constexpr const char* kHas[] = {
    "{X} <has|had> {n} {o}.",  "{X} <finds|found> {n} {o}.", "{X} <collects|collected> {n} {o}.",
    "{X} <gets|got> {n} {o}.", "{X} <buys|bought> {n} {o}.", "{X} <owns|owned> {n} {o}."};
constexpr const char* kRelation[][6] = {
    {"{Y} <has|had> {n} more {o} than {X}.", "{Y} <has|had> {n} more than {X}.",
     "{Y} <collects|collected> {n} more {o} than {X}.", "{Y} <gets|got> {n} more than {X}.",
     "{Y} <finds|found> {n} more {o} than {X}.", "{Y} <owns|owned> {n} more {o} than {X}."},
    {"{Y} <has|had> {n} fewer {o} than {X}.", "{Y} <has|had> {n} less than {X}.",
     "{Y} <collects|collected> {n} fewer {o} than {X}.", "{Y} <gets|got> {n} fewer than {X}.",
     "{Y} <finds|found> {n} fewer {o} than {X}.", "{Y} <owns|owned> {n} fewer {o} than {X}."},
    {"{Y} <has|had> {times} as many {o} as {X}.", "{Y} <has|had> {times} as many as {X}.",
     "{Y} <collects|collected> {times} as many {o} as {X}.",
     "{Y} <gets|got> {times} as many as {X}.", "{Y} <finds|found> {times} as many {o} as {X}.",
     "{Y} <owns|owned> {times} as many {o} as {X}."},
    {"{Y} <has|had> half as many {o} as {X}.", "{Y} <has|had> half as many as {X}.",
     "{Y} <collects|collected> half as many {o} as {X}.",
     "{Y} <gets|got> half of what {X} <gets|got>.", "{Y} <finds|found> half as many {o} as {X}.",
     "{Y} <owns|owned> half as many {o} as {X}."}};
constexpr const char* kOne[] = {
    "How many {o} does {Y} have?",       "What is the number of {o} {Y} has?",
    "How many {o} <does|did> {Y} have?", "Find how many {o} {Y} has.",
    "How many {o} are {Y}'s?",           "So how many {o} does {Y} have?"};
constexpr const char* kAll[] = {"How many {o} do they have [altogether|in all|in total]?",
                                "How many {o} do they have together?",
                                "What is the total number of {o}?",
                                "Find the total number of {o}.",
                                "Together, how many {o} do they have?",
                                "In all, how many {o} do they have?"};

// Earnings: an hourly wage, hours a day, days, what is spent.
constexpr const char* kWage[] = {
    "{A} <earns|earned> ${n.d} an hour.",      "{A} <gets|got> {n} dollars for each hour of work.",
    "{A} <is|was> paid ${n.d} an hour.",       "For one hour of work, {A} <gets|got> ${n.d}.",
    "{A}'s work <pays|paid> ${n.d} per hour.", "{A} <earns|earned> {n} dollars per hour."};
constexpr const char* kHours[] = {"{A.he} <works|worked> {n} hours[| in all].",
                                  "{A.he} <works|worked> for {n} hours.",
                                  "Last week, {A.he} <works|worked> {n} hours.",
                                  "{A.his} work <takes|took> {n} hours.",
                                  "{A.he} <does|did> this for {n} hours.",
                                  "This week, {A.he} <works|worked> for {n} hours."};
constexpr const char* kPerWeek[] = {"{A.he} <does|did> the same for {n} weeks.",
                                    "This <goes|went> on for {n} weeks.",
                                    "{A.he} <does|did> this {n} weeks in a row.",
                                    "{A.he} <works|worked> like this for {n} weeks.",
                                    "It <is|was> the same for {n} weeks.",
                                    "{A.he} <works|worked> the same in each of {n} weeks."};
constexpr const char* kSpends[] = {"{A.he} <spends|spent> ${n.d} on [food|books|clothes|rent].",
                                   "Then {A.he} <pays|paid> {n} dollars for [a bag|a bike|shoes].",
                                   "{A.he} <gives|gave> ${n.d} to {B}.",
                                   "{A.he} <pays|paid> ${n.d} in tax.",
                                   "Out of this money, {A.he} <spends|spent> ${n.d}.",
                                   "Then {A.he} <spends|spent> ${n.d} on [food|a gift]."};
constexpr const char* kBonus[] = {"{A.he} also <gets|got> a bonus of ${n.d}.",
                                  "{B} <gives|gave> {A.him} another ${n.d}.",
                                  "{A.he} also <gets|got> {n} dollars from {B}.",
                                  "There <is|was> also a bonus of {n} dollars.",
                                  "{A.he} <finds|found> ${n.d} more.",
                                  "{A.he} also <receives|received> ${n.d} from {B}."};
constexpr const char* kMoney[] = {"How much money does {A} have [now|then]?",
                                  "How many dollars does {A.he} have [now|in the end]?",
                                  "How much money is that [now|in the end]?",
                                  "How many dollars does {A} have at the end?",
                                  "What amount of money does {A} have then?",
                                  "How much money does {A} have at the end?"};

// Products and their sum: 2k - 1 steps, with loose ones 2k.
void SeveralGroups(Story* story) {
  Slots& slots = story->slots();
  Draw& draw = story->draw();
  const int kinds = (story->steps() + 1) / 2;
  int64_t total = 0;
  const bool has_loose = story->steps() % 2 == 0;
  for (int i = 0; i < kinds && !story->gave_up(); ++i) {
    const int64_t count = story->Small();
    const int64_t size = story->Number();
    story->Operand(count);
    slots.Set("c", draw.Of(Containers()));
    slots.Set("n", count);
    slots.Set("m", size);
    story->Say(kBuys);
    const int64_t all = story->Multiply(story->Fill("{c}"), size, count);
    total = i == 0 ? all : story->Add("total", total, all);
  }
  if (has_loose) {
    const int64_t loose = story->Number();
    slots.Set("n", loose);
    story->Say(kLoose);
    total = story->Add("total", total, loose);
  }
  story->Ask(kAllThings);
  story->AnswerInteger(total);
}

void RelationsProblem(Story* story) {
  Slots& slots = story->slots();
  Draw& draw = story->draw();
  const bool sums = story->steps() % 2 == 0;
  const int links = sums ? story->steps() / 2 : story->steps();
  const auto people = story->Names(static_cast<size_t>(links) + 1);
  int64_t amount = story->Longest();
  std::vector<int64_t> amounts = {amount};
  slots.Set("X", people[0]);
  slots.Set("n", amount);
  story->Say(kHas);
  story->Given(people[0].name, amount);
  for (size_t i = 1; i < people.size() && !story->gave_up(); ++i) {
    int64_t kind = draw.Between(0, 3);
    if ((kind == 1 && amount < 5) || (kind == 3 && (amount % 2 || amount < 4)) ||
        (kind == 2 && amount > 9000))
      kind = 0;
    const int64_t n = kind == 0   ? story->Number()
                      : kind == 1 ? story->NumberBelow(amount)
                      : kind == 2 ? draw.Between(2, amount < 500 ? 5 : 3)
                                  : 2;
    if (kind == 2) story->Operand(n);
    slots.Set("X", people[i - 1]);
    slots.Set("Y", people[i]);
    slots.Set("n", n);
    slots.Set("times", n == 2 ? std::string("twice") : fmt::format("{} times", n));
    story->Say(kRelation[kind]);
    const char* name = people[i].name;
    amount = kind == 0   ? story->Add(name, amount, n)
             : kind == 1 ? story->Subtract(name, amount, n)
             : kind == 2 ? story->Multiply(name, amount, n)
                         : story->Divide(name, amount, 2);
    amounts.push_back(amount);
  }
  if (!sums) {
    story->Ask(kOne);
    return story->AnswerInteger(amount);
  }
  int64_t total = amounts[0];
  for (size_t i = 1; i < amounts.size(); ++i) total = story->Add("total", total, amounts[i]);
  story->Ask(kAll);
  story->AnswerInteger(total);
}

void Earnings(Story* story) {
  Slots& slots = story->slots();
  Draw& draw = story->draw();
  const int64_t hours = story->Small(), wage = draw.Between(6, 40);
  story->Operand(hours);
  story->Operand(wage);
  slots.Set("n", wage);
  story->Say(kWage);
  slots.Set("n", hours);
  story->Say(kHours);
  int64_t money = story->Multiply("earned", wage, hours);
  if (story->steps() > 2 && draw.Chance(60)) {
    const int64_t weeks = story->Small();
    story->Operand(weeks);
    slots.Set("n", weeks);
    story->Say(kPerWeek);
    money = story->Multiply("weeks", money, weeks);
  }
  while (story->done_steps() < story->steps() && !story->gave_up()) {
    const bool gains = money < 10 || draw.Chance(40);
    const int64_t n = gains ? story->Number() : story->NumberBelow(money);
    slots.Set("n", n);
    story->Say(gains ? Frames(kBonus) : Frames(kSpends));
    money = gains ? story->Add(fmt::format("gets {}", n), money, n)
                  : story->Subtract(fmt::format("pays {}", n), money, n);
  }
  story->Ask(kMoney);
  story->AnswerMoney(100 * money);
}

}  // namespace

void MixedProblem(Story* story) {
  Draw& draw = story->draw();
  ChooseSetting(&story->slots(), &draw);
  story->slots().Set("o", draw.Chance(30) ? draw.Of(Foods()) : draw.Of(SmallThings()));
  const int64_t kind = draw.Between(0, 99);
  if (kind < 40)
    return InventoryProblem(story,
                            {.changes = 3, .groups = 4, .times = 1, .fractions = 1, .endings = 40});
  if (kind < 60) return SeveralGroups(story);
  if (kind < 82) return RelationsProblem(story);
  Earnings(story);
}

}  // namespace planish
