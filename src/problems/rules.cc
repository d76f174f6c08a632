// SPDX-License-Identifier: Apache-2.0
// Logic with a state or a rule: switches that are pressed, turns to the left and right, numbers that fit conditions.
#include "problems/lexicon.h"
#include "problems/skills.h"

namespace planish {
namespace {

constexpr const char* kLampStart[] = {"The {lamp} is {state}.",
                                      "At first, the {lamp} is {state}.",
                                      "In the morning, the {lamp} is {state}.",
                                      "{A} sees that the {lamp} is {state}.",
                                      "When the story begins, the {lamp} is {state}.",
                                      "At the start, the {lamp} is {state}."};
constexpr const char* kPressOnce[] = {
    "{X} presses the switch.",      "Then {X} presses the switch.",
    "{X} presses the switch once.", "After that, {X} pushes the switch.",
    "Next, {X} pushes the switch.", "Then {X} pushes the switch."};
constexpr const char* kPressTimes[] = {
    "{X} presses the switch {times}.",       "Then {X} presses the switch {times}.",
    "{X} pushes the switch {times}.",        "After that, {X} presses the switch {times}.",
    "Next, {X} presses the switch {times}.", "Then {X} pushes the switch {times}."};
constexpr const char* kLampEnd[] = {
    "Each press changes the {lamp}. Is it on or off [now|at the end]?",
    "Is the {lamp} on or off now? Every press turns it from on to off or back.",
    "Each press switches it over. Is the {lamp} on or off at the end?",
    "Every press switches it over. Is it on or off in the end?",
    "Each press changes it. Is the {lamp} on or off?",
    "Every press changes the {lamp}. Is it on or off at the end?"};
constexpr const char* kFacing[] = {"{A} faces {d}.",     "{A} looks {d}.",
                                   "A robot faces {d}.", "{A} is facing {d}.",
                                   "A ship sails {d}.",  "A robot is facing {d}."};
constexpr const char* kTurn[] = {"Then comes a turn to the {t}.",
                                 "There is a turn {t}.",
                                 "Turn {t}.",
                                 "Next comes a {t} turn.",
                                 "After that, there is a turn to the {t}.",
                                 "Then there is a turn to the {t}."};
constexpr const char* kFacingEnd[] = {
    "Which direction is it now?",        "What is the direction now?",
    "Which way is that in the end?",     "What is the direction at the end?",
    "In which direction does this end?", "Which direction is it at the end?"};

// Every rule holds: yes.
constexpr const char* kRuleStart[] = {
    "A door opens for a number that is {rules}.", "A number wins if it is {rules}.",
    "{A} likes numbers that are {rules}.",        "A box takes only numbers that are {rules}.",
    "A lock accepts a number if it is {rules}.",  "A machine takes a number if it is {rules}."};
constexpr const char* kRuleEnd[] = {
    "Is {n} such a number?",        "Does {n} fit[| the rule]?",
    "Does this work for {n}?",      "Is this true for the number {n}?",
    "Is {n} one of these numbers?", "Is it true for {n}?"};

}  // namespace

void SwitchesProblem(Story* story) {
  Slots& slots = story->slots();
  Draw& draw = story->draw();
  if (story->digits() > 2 || story->steps() < 2) return story->GiveUp();
  static constexpr const char* kLamps[] = {"lamp", "light", "radio", "fan", "TV", "heater"};
  bool on = draw.Chance(50);
  slots.Set("lamp", std::string(draw.Of(kLamps)));
  slots.Set("state", std::string(on ? "on" : "off"));
  story->Say(kLampStart);
  story->Line(on ? "on" : "off");
  for (int left = story->steps(); left > 0;) {
    const int presses = static_cast<int>(std::min<int64_t>(left, draw.Between(1, 3)));
    static constexpr const char* kTimes[] = {"once", "twice", "3 times"};
    const Person person = story->Names(1)[0];
    slots.Set("X", person);
    slots.Set("times", std::string(kTimes[presses - 1]));
    story->Key(person.name[0] * 256 + presses);
    std::string line = person.name;
    // A sentence without a count is one press.
    if (presses == 1) {
      story->Say(kPressOnce);
    } else {
      story->Say(kPressTimes);
    }
    for (int i = 0; i < presses; ++i) {
      on = !on;
      line += on ? " on" : " off";
    }
    story->Line(line);
    story->CountSteps(presses);
    left -= presses;
  }
  story->Ask(kLampEnd);
  story->Answer(AnswerType::kWord, on ? "on" : "off");
}

void DirectionsProblem(Story* story) {
  Slots& slots = story->slots();
  Draw& draw = story->draw();
  if (story->digits() > 2) return story->GiveUp();
  static constexpr const char* kDirections[] = {"north", "east", "south", "west"};
  size_t d = draw.Index(4);
  slots.Set("d", std::string(kDirections[d]));
  story->Key(static_cast<int64_t>(d));
  story->Say(kFacing);
  story->Line(kDirections[d]);
  for (int i = 0; i < story->steps(); ++i) {
    const bool right = draw.Chance(50);
    story->Key(right);
    slots.Set("t", std::string(right ? "right" : "left"));
    story->Say(kTurn);
    d = (d + (right ? 1 : 3)) % 4;
    story->Line(fmt::format("{}: {}", right ? "right" : "left", kDirections[d]), true);
  }
  story->Ask(kFacingEnd);
  story->Answer(AnswerType::kWord, kDirections[d]);
}

// A number and conditions on it. All are tested, whatever the first ones gave.
void RulesProblem(Story* story) {
  Slots& slots = story->slots();
  Draw& draw = story->draw();
  const int64_t n = story->Longest();
  if (story->steps() > 4) return story->GiveUp();
  std::vector<int> kinds = {0, 1, 2, 3};
  draw.Shuffle(&kinds);
  kinds.resize(static_cast<size_t>(story->steps()));
  bool fits = true;
  std::vector<std::string> rules, lines;
  for (const int kind : kinds) {
    const int64_t span = std::max<int64_t>(4, n / 4);
    const int64_t limit =
        std::max<int64_t>(2, n + (draw.Chance(70) ? (kind == 0 ? -1 : 1) : (kind == 0 ? 1 : -1)) *
                                     draw.Between(1, span));
    bool holds = true;
    if (kind < 2) {
      story->Operand(limit);
      holds = kind == 0 ? n > limit : n < limit;
      rules.push_back(fmt::format("{} than {}",
                                  kind == 0         ? draw.Chance(50) ? "greater" : "larger"
                                  : draw.Chance(50) ? "less"
                                                    : "smaller",
                                  limit));
      lines.push_back(fmt::format("{}{}{}", n, n > limit ? ">" : n < limit ? "<" : "=", limit));
    } else if (kind == 2) {
      const bool wants_even = n % 2 == 0 ? draw.Chance(75) : draw.Chance(25);
      holds = wants_even == (n % 2 == 0);
      rules.push_back(wants_even ? "even" : "odd");
      lines.push_back(fmt::format("{} {}", n, n % 2 ? "odd" : "even"));
    } else {
      const int64_t digit = draw.Chance(75) ? n % 10 : draw.Between(0, 9);
      holds = digit == n % 10;
      story->Key(digit);
      rules.push_back(fmt::format("written with a {} at the end", digit));
      lines.push_back(fmt::format("{} end {}", n, n % 10));
    }
    lines.back() += holds ? ": yes" : ": no";
    fits = fits && holds;
  }
  for (const std::string& line : lines) story->Line(line, true);
  slots.Set("rules", JoinedList(rules));
  slots.Set("n", n);
  story->Say(kRuleStart);
  story->Ask(kRuleEnd);
  story->Answer(AnswerType::kYesNo, fits ? "yes" : "no");
}

}  // namespace planish
