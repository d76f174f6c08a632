// SPDX-License-Identifier: Apache-2.0
// What several people have: put together, compared in a chain, and the difference after each has gained and lost.
#include "problems/lexicon.h"
#include "problems/settings.h"
#include "problems/skills.h"

namespace planish {
namespace {

constexpr const char* kHas[] = {"{X} <has|had> {n} {o}.",
                                "{X} <collects|collected> {n} {o}.",
                                "{X} <finds|found> {n} {o}.",
                                "{X} <buys|bought> {n} {o}.",
                                "{X} [also |]<has|had> {n} {o} [at home|in a bag|in a box].",
                                "{X} <owns|owned> {n} {o}.",
                                "{X} <brings|brought> {n} {o}.",
                                "{X} <gets|got> {n} {o}."};
constexpr const char* kListed[] = {
    "{list}.",
    "[Some friends|The children|The neighbors] <have|had> {o}: {list}.",
    "{place2}, {list}.",
    "Here is what we know: {list}.",
    "[Last week|Yesterday|On Sunday], {list}.",
    "[Today|This week|On the way home] {list}."};
constexpr const char* kAltogether[] = {
    "How many {o} do they have [altogether|in all|in total|together]?",
    "How many {o} is that [altogether|in all|in total]?",
    "What is the total number of {o}?",
    "How many {o} are there [altogether|in all|in total]?",
    "If they put all the {o} together, how many are there?",
    "How many {o} do they have when they put them together?",
    "Find the total number of {o}.",
    "[Altogether|In total], how many {o} do they have?",
    "How many {o} do all of them have together?"};
constexpr const char* kCompareMore[] = {
    "{Y} <has|had> {n} more {o} than {X}.",  "{Y} <has|had> {n} more than {X}.",
    "{X} <has|had> {n} fewer {o} than {Y}.", "Compared with {X}, {Y} <has|had> {n} more {o}.",
    "{Y} <beats|beat> {X} by {n} {o}.",      "{Y} <owns|owned> {n} more {o} than {X}."};
constexpr const char* kCompareLess[] = {
    "{Y} <has|had> {n} fewer {o} than {X}.", "{Y} <has|had> {n} less than {X}.",
    "{X} <has|had> {n} more {o} than {Y}.",  "Compared with {X}, {Y} <has|had> {n} fewer {o}.",
    "{Y} <is|was> {n} {o} behind {X}.",      "{Y} <owns|owned> {n} fewer {o} than {X}."};
constexpr const char* kHowManyOf[] = {"How many {o} does {Y} have?",
                                      "How many {o} <does|did> {Y} have?",
                                      "What is the number of {o} {Y} has?",
                                      "Find the number of {o} that {Y} has.",
                                      "How many {o} are {Y}'s?",
                                      "So how many {o} does {Y} have?",
                                      "[Work out|Calculate|Tell me] how many {o} {Y} has."};
constexpr const char* kDifference[] = {
    "How many more {o} does {X} have than {Y}?",
    "What is the difference between {X}'s and {Y}'s number of {o}?",
    "By how many {o} is {X} ahead of {Y}?",
    "How many fewer {o} does {Y} have than {X}?",
    "How many {o} more than {Y} does {X} have?",
    "How many {o} does {Y} need to have as many as {X}?"};

// Things that people own, whatever the setting was.
void SetOwnThing(Story* story) {
  Draw& draw = story->draw();
  story->slots().Set("o", draw.Chance(35) ? draw.Of(Foods()) : draw.Of(SmallThings()));
}

std::string Clause(Story* story) {
  std::string clause = story->Phrase(kHas);
  clause.pop_back();
  return clause;
}

}  // namespace

// Amounts of several people, put together.
void TogetherProblem(Story* story) {
  Slots& slots = story->slots();
  SetOwnThing(story);
  const auto people = story->Names(static_cast<size_t>(story->steps()) + 1);
  slots.Set("place2", std::string("in the village"));
  std::vector<std::string> clauses;
  std::vector<int64_t> amounts;
  const bool is_listed = story->steps() < 4 && story->draw().Chance(50);
  for (const Person& person : people) {
    slots.Set("X", person);
    amounts.push_back(story->Number());
    slots.Set("n", amounts.back());
    story->Given(person.name, amounts.back());
    if (is_listed) {
      clauses.push_back(Clause(story));
    } else {
      story->Say(kHas);
    }
  }
  if (is_listed) {
    slots.Set("list", JoinedList(clauses));
    story->Say(kListed);
  }
  int64_t total = amounts[0];
  for (size_t i = 1; i < amounts.size(); ++i) total = story->Add("total", total, amounts[i]);
  story->Ask(kAltogether);
  story->AnswerInteger(total);
}

// Tom has 5, Ann 3 more than Tom, Eva 2 fewer than Ann.
void ComparisonsProblem(Story* story) {
  Slots& slots = story->slots();
  Draw& draw = story->draw();
  SetOwnThing(story);
  const int steps = story->steps();
  // With all of them together, half of the steps are sums.
  const bool sums = steps >= 2 && steps % 2 == 0 && draw.Chance(50);
  const int links = sums ? steps / 2 : steps;
  const auto people = story->Names(static_cast<size_t>(links) + 1);
  int64_t amount = story->Number();
  std::vector<int64_t> amounts = {amount};
  slots.Set("X", people[0]);
  slots.Set("n", amount);
  story->Say(kHas);
  story->Given(people[0].name, amount);
  for (int i = 1; i <= links && !story->gave_up(); ++i) {
    const bool more = amount < 6 || draw.Chance(55);
    const int64_t change = more ? story->Number() : story->NumberBelow(amount);
    slots.Set("X", people[static_cast<size_t>(i) - 1]);
    slots.Set("Y", people[static_cast<size_t>(i)]);
    slots.Set("n", change);
    story->Say(more ? Frames(kCompareMore) : Frames(kCompareLess));
    const char* name = people[static_cast<size_t>(i)].name;
    amount = more ? story->Add(name, amount, change) : story->Subtract(name, amount, change);
    amounts.push_back(amount);
  }
  if (!sums) {
    story->Ask(kHowManyOf);
    return story->AnswerInteger(amount);
  }
  int64_t total = amounts[0];
  for (size_t i = 1; i < amounts.size(); ++i) total = story->Add("total", total, amounts[i]);
  story->Ask(kAltogether);
  story->AnswerInteger(total);
}

// Two people gain and lose, then the difference of what they have.
void DifferenceProblem(Story* story) {
  Slots& slots = story->slots();
  const Setting& setting = ChooseSetting(&slots, &story->draw());
  if (*setting.holder || *setting.place) return story->GiveUp();
  const auto people = story->Names(4);
  slots.Set("B", people[2]);  // who gives and gets beside them
  slots.Set("C", people[3]);
  int64_t amounts[2];
  const int changes[2] = {(story->steps() - 1) / 2, story->steps() / 2};
  for (const int who : {0, 1}) {
    slots.Set("X", people[static_cast<size_t>(who)]);
    slots.Set("S", people[static_cast<size_t>(who)]);
    const char* name = people[static_cast<size_t>(who)].name;
    amounts[who] = story->Number();
    slots.Set("n", amounts[who]);
    story->Say(kHas);
    story->Given(name, amounts[who]);
    for (int i = 0; i < changes[who] && !story->gave_up(); ++i) {
      const bool gains = amounts[who] < 6 || story->draw().Chance(50);
      const int64_t change = gains ? story->Number() : story->NumberBelow(amounts[who]);
      ChooseEvent(story, setting, gains);
      slots.Set("n", change);
      story->Say(EventFrames());
      const std::string label = story->Fill(std::string(name) + " {v} {n.d}");
      amounts[who] = gains ? story->Add(label, amounts[who], change)
                           : story->Subtract(label, amounts[who], change);
    }
  }
  const int more = amounts[0] > amounts[1] ? 0 : 1;
  if (amounts[0] == amounts[1]) return story->GiveUp();
  slots.Set("X", people[static_cast<size_t>(more)]);
  slots.Set("Y", people[static_cast<size_t>(1 - more)]);
  story->Ask(kDifference);
  story->AnswerInteger(story->Subtract("difference", amounts[more], amounts[1 - more]));
}

}  // namespace planish
