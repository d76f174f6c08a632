// SPDX-License-Identifier: Apache-2.0
// Sums and differences in words: counts that grow and shrink, what was there at first, what is missing to a goal. Amounts of
// several people are in amounts.cc.
#include "problems/settings.h"
#include "problems/skills.h"

namespace planish {
namespace {

constexpr const char* kStart[] = {
    "{S} <has|had> {n} {o}.",
    "[At first|In the beginning|At the start], {S} <has|had> {n} {o}.",
    "{S} <starts|started> with {n} {o}.",
    "There <are|were> {n} {o} that {S} <has|had>.",
    "{S} <owns|owned> {n} {o}[| in all].",
    "At the beginning of the [day|week], {S} <has|had> [|exactly ]{n} {o}.",
    "{S} <begins|began> the [day|week|month] with {n} {o}.",
    "{S} already <has|had> {n} {o}.",
    "We know that {S} <has|had> {n} {o}.",
    "The number of {o} {S} <has|had> [|at first ]<is|was> {n}.",
    "{S} <keeps|kept> {n} {o} [in a box|in a safe place|at home].",
    "[In the morning|On Monday|Today|Yesterday], {S} <has|had> {n} {o}."};
constexpr const char* kStartPlace[] = {
    "There <are|were> {n} {o} {place}.",
    "[At first|In the beginning], there <are|were> {n} {o} {place}.",
    "{n} {o} <are|were> {place}.",
    "[In the morning|At noon|At 9 o'clock] there <are|were> {n} {o} {place}.",
    "We <count|counted> {n} {o} {place}.",
    "[At the start|To begin with], {n} {o} <are|were> {place}.",
    "{A} <sees|saw> {n} {o} {place}."};
constexpr const char* kMore[] = {"{S.he} {v} {n} more[| {o}]{v.tail}.",
                                 "Then {S.he} {v} {n} more {o}{v.tail}.",
                                 "{t}, {S.he} {v} another {n}[| {o}]{v.tail}.",
                                 "{t}, {S} {v} {n} more[| {o}]{v.tail}.",
                                 "{S} then {v} {n} more {o}{v.tail}.",
                                 "After that, {S.he} {v} {n} more[| {o}]{v.tail}."};
constexpr const char* kLess[] = {"{S.he} {v} {n} of them{v.tail}.",
                                 "Then {S.he} {v} {n} of the {o}{v.tail}.",
                                 "{t}, {S.he} {v} {n} of [them|the {o}|{S.his} {o}]{v.tail}.",
                                 "{S} then {v} {n} of {S.his} {o}{v.tail}.",
                                 "But then {S.he} {v} {n}[| of them]{v.tail}.",
                                 "Then {S} {v} {n} of {S.his} {o}{v.tail}."};
constexpr const char* kChangePlace[] = {
    "{n}[| of them] {v.they}.",   "Then {n}[| {o}] {v.they}.",
    "{t}, {n} {o} {v.they}.",     "After that, {n} {o} {v.they}.",
    "Next, {n}[| {o}] {v.they}.", "[Soon after|A little later], {n} {o} {v.they}.",
    "{t} {n}[| {o}] {v.they}."};
constexpr const char* kMorePlace[] = {"{n} more[| {o}] {v.they}.",
                                      "Then {n} more {o} {v.they}.",
                                      "{t}, {n} more[| {o}] {v.they}.",
                                      "Another {n}[| {o}] {v.they}.",
                                      "After some time, {n} more {o} {v.they}.",
                                      "{t}, another {n} {o} {v.they}."};
constexpr const char* kHowManyNow[] = {
    "How many {o} does {S} have now?",
    "How many {o} does {S.he} have [now|in the end|at the end]?",
    "How many {o} <does|did> {S} have in the end?",
    "What is the number of {o} {S} has now?",
    "Find [out |]how many {o} {S} has [now|at the end].",
    "How many {o} [are left with|remain with|belong to] {S} [now|at the end]?",
    "Now how many {o} does {S} have?",
    "[Tell me|Work out|Calculate] how many {o} {S} has now.",
    "After all this, how many {o} does {S} have?",
    "What is {S}'s final number of {o}?",
    "So how many {o} does {S} [have|own] now?",
    "How many {o} will {S} have [then|after that|at the end]?"};
constexpr const char* kHowManyLeft[] = {"How many {o} are left?",
                                        "How many {o} does {S} have left?",
                                        "How many {o} remain?",
                                        "How many {o} does {S.he} still have?",
                                        "What number of {o} is left?",
                                        "How many {o} [are left now|remain now|are still left]?",
                                        "How many {o} are still with {S}?"};
constexpr const char* kHowManyPlace[] = {
    "How many {o} are {place} now?",
    "How many {o} <are|were> there [now|at the end|in the end]?",
    "How many {o} are there {place} at the end?",
    "What is the number of {o} {place} now?",
    "Find the number of {o} that are {place} now.",
    "Now how many {o} are {place}?",
    "How many {o} are {place} after that?"};
constexpr const char* kOneSentence[] = {
    "{S} <has|had> {n} {o} and {v} {m} [more|others]. How many {o} does {S} have [now|in all]?",
    "How many {o} does {S} have if {S.he} [starts with|first has] {n} and then {v} {m} more?",
    "If {S} <has|had> {n} {o} and {v} {m} more, how many {o} does {S.he} have [now|altogether]?",
    "{S} {v} {m} more {o} after already having {n}. How many {o} is that in [all|total]?",
    "{S} <has|had> {n} {o}, and then {S.he} {v} {m} more. What is the total?",
    "{S} {v} {m} more {o}. Before that, {S.he} had {n}. How many does {S.he} have now?"};
constexpr const char* kOneSentenceLess[] = {
    "{S} <has|had> {n} {o} and {v} {m} of them. How many {o} are left?",
    "How many {o} does {S} have left if {S.he} <has|had> {n} and {v} {m} of them?",
    "If {S} <has|had> {n} {o} and {v} {m}, how many does {S.he} have [left|now]?",
    "{S} {v} {m} of {S.his} {n} {o}. How many {o} [remain|are left|does {S} have left]?",
    "Out of {n} {o}, {S} {v} {m}. How many {o} are left?",
    "{S} <has|had> {n} {o}, but {v} {m} of them. How many {o} does {S} still have?"};

constexpr const char* kUnknownStart[] = {"{S} <has|had> some {o}.",
                                         "{S} <starts|started> with some {o}.",
                                         "We do not know how many {o} {S} <has|had> at first.",
                                         "{S} <has|had> a number of {o}.",
                                         "At first, {S} <has|had> [an unknown number of|some] {o}.",
                                         "[In the morning|On Monday], {S} <has|had> some {o}."};
constexpr const char* kEnd[] = {"Now {S.he} has {n} {o}.",
                                "[In the end|At the end], {S.he} <has|had> {n} {o}[| left].",
                                "After that, {S} <has|had> {n} {o}.",
                                "That <leaves|left> {S.him} with {n} {o}.",
                                "Now there are {n} {o}.",
                                "In the end {S} <has|had> {n} {o}."};
constexpr const char* kHowManyFirst[] = {
    "How many {o} did {S} have at first?",
    "How many {o} did {S.he} have [at the start|in the beginning]?",
    "With how many {o} did {S} start?",
    "How many {o} were there [at first|to begin with]?",
    "What number of {o} did {S} have at the start?",
    "How many {o} did {S} have to begin with?",
    "Find how many {o} {S} had at first."};
constexpr const char* kGoal[] = {
    "{S} <wants|wanted> to have {n} {o}.",
    "{S} <needs|needed> {n} {o} [in all|in total].",
    "{S}'s goal <is|was> {n} {o}.",
    "{S} <plans|planned> to get {n} {o}.",
    "{S} <must|had to> have {n} {o} [by Friday|by the end of the week].",
    "{S} <hopes|hoped> to reach {n} {o}."};
constexpr const char* kHowManyMissing[] = {
    "How many more {o} does {S} need?",
    "How many {o} are [still missing|missing]?",
    "How many more {o} does {S.he} [have to get|need to reach the goal]?",
    "How many {o} does {S} still need?",
    "How many more are needed?",
    "How many more {o} are needed to reach the goal?"};

// A count that grows and shrinks, told from its start to its end.
void RunningCount(Story* story) {
  Slots& slots = story->slots();
  Draw& draw = story->draw();
  const Setting& setting = ChooseSetting(&slots, &draw);
  const bool has_place = *setting.place != 0;
  int64_t count = story->Number();
  slots.Set("n", count);
  story->Given("start", count);
  if (story->steps() == 1 && !has_place && draw.Chance(35)) {
    const bool gains = draw.Chance(50);
    ChooseEvent(story, setting, gains);
    const int64_t change = gains ? story->Number() : story->NumberBelow(count);
    slots.Set("m", change);
    const std::string label = story->Fill(fmt::format("{{v}} {}", change));
    gains ? story->Add(label, count, change) : story->Subtract(label, count, change);
    gains ? story->Ask(kOneSentence) : story->Ask(kOneSentenceLess);
    return story->AnswerInteger(gains ? count + change : count - change);
  }
  story->Say(has_place ? Frames(kStartPlace) : Frames(kStart));
  bool gains = false;
  for (int step = 0; step < story->steps() && !story->gave_up(); ++step) {
    gains = count < 6 || draw.Chance(50);
    const int64_t change = gains ? story->Number() : story->NumberBelow(count);
    slots.Set("n", change);
    ChooseEvent(story, setting, gains);
    if (has_place) {
      story->Say(gains && draw.Chance(50) ? Frames(kMorePlace) : Frames(kChangePlace));
    } else {
      story->Say(draw.Chance(50) ? EventFrames() : gains ? Frames(kMore) : Frames(kLess));
    }
    const std::string label = story->Fill(has_place ? "{v.they} {n.d}" : "{v} {n.d}");
    count = gains ? story->Add(label, count, change) : story->Subtract(label, count, change);
  }
  story->Ask(has_place                   ? Frames(kHowManyPlace)
             : !gains && draw.Chance(60) ? Frames(kHowManyLeft)
                                         : Frames(kHowManyNow));
  story->AnswerInteger(count);
}

// The end is known, the start is asked for: every change is undone, the last one first.
void UnknownStart(Story* story) {
  Slots& slots = story->slots();
  Draw& draw = story->draw();
  const Setting& setting = ChooseSetting(&slots, &draw);
  if (*setting.place) return story->GiveUp();
  struct Change {
    bool gains;
    int64_t amount;
    std::string label;
  };
  int64_t count = story->Longest();
  std::vector<Change> changes;
  story->Say(kUnknownStart);
  for (int i = 0; i < story->steps() && !story->gave_up(); ++i) {
    const bool gains = count < 6 || draw.Chance(50);
    const int64_t change = gains ? story->Number() : story->NumberBelow(count);
    ChooseEvent(story, setting, gains);
    slots.Set("n", change);
    story->Say(gains && i > 0 && draw.Chance(30) ? Frames(kMore) : EventFrames());
    changes.push_back({gains, change, story->Fill("undo {v} {n.d}")});
    count += gains ? change : -change;
  }
  slots.Set("n", count);
  story->Say(kEnd);
  story->Operand(count);
  story->Given("end", count);
  for (size_t i = changes.size(); i-- > 0;) {
    const Change& change = changes[i];
    count = change.gains ? story->Subtract(change.label, count, change.amount)
                         : story->Add(change.label, count, change.amount);
  }
  story->Ask(kHowManyFirst);
  story->AnswerInteger(count);
}

void Goal(Story* story) {
  Slots& slots = story->slots();
  const Setting& setting = ChooseSetting(&slots, &story->draw());
  if (*setting.place) return story->GiveUp();
  const int64_t goal = story->Longest();
  slots.Set("n", goal);
  story->Say(kGoal);
  int64_t count = story->NumberBelow(goal);
  slots.Set("n", count);
  story->Say(kStart);
  story->Given("goal", goal);
  story->Given("start", count);
  for (int i = 1; i < story->steps() && !story->gave_up(); ++i) {
    const bool gains = count < 6 || story->draw().Chance(75);
    const int64_t change = story->NumberBelow(gains ? goal - count : count);
    ChooseEvent(story, setting, gains);
    slots.Set("n", change);
    story->Say(gains && story->draw().Chance(50) ? Frames(kMore) : EventFrames());
    const std::string label = story->Fill("{v} {n.d}");
    count = gains ? story->Add(label, count, change) : story->Subtract(label, count, change);
  }
  story->Ask(kHowManyMissing);
  story->AnswerInteger(story->Subtract("missing", goal, count));
}

}  // namespace

void AddSubtractProblem(Story* story) {
  const int64_t kind = story->draw().Between(0, 99);
  if (kind < 38) return RunningCount(story);
  if (kind < 52) return TogetherProblem(story);
  if (kind < 68) return ComparisonsProblem(story);
  if (kind < 78) return DifferenceProblem(story);
  if (kind < 89) return UnknownStart(story);
  Goal(story);
}

}  // namespace planish
