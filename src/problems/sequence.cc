// SPDX-License-Identifier: Apache-2.0
// Sequences and counting: what comes next, counting up and down in steps, rules with two turns, doubling, how many of a list
// have a property.
#include "problems/lexicon.h"
#include "problems/skills.h"
#include "problems/worked.h"

namespace planish {
namespace {

constexpr const char* kNext[] = {"What number comes next: {list}, ...?",
                                 "[Find|Give] the next number in the sequence {list}, ...",
                                 "Look at the sequence {list}. What is the next number?",
                                 "What is the next number in this pattern: {list}, ...?",
                                 "{A} writes {list}. What number should {A.he} write next?",
                                 "What number comes after these: {list}, ...?",
                                 "The numbers {list} follow a rule. Which number is next?",
                                 "Continue the sequence {list}, ... What is the next number?"};
constexpr const char* kLater[] = {
    "Look at the sequence {list}, ... What is the {k} number after {last}?",
    "The sequence {list}, ... goes on in the same way. Which number comes {count} places after "
    "{last}?",
    "{A} writes {list} and goes on by the same rule. What is the {k} number that {A.he} writes "
    "after {last}?",
    "In the pattern {list}, ..., what is the {k} number after {last}?",
    "The numbers {list}, ... follow a rule. Find the {k} number after {last}.",
    "The sequence {list}, ... goes on by the same rule. What is the {k} number after {last}?"};
constexpr const char* kCountUp[] = {
    "{A} starts at {n} and counts up by {m}. What number does {A.he} reach after {count} steps?",
    "Start at {n} and add {m} again and again. What do you get after {count} additions?",
    "Count up from {n} in steps of {m}. Which number comes after {count} steps?",
    "A frog sits on number {n}. It makes {count} jumps of {m} forward. On which number does it "
    "land?",
    "Begin with {n}. Add {m} to it {count} times. What is the result?",
    "{A} starts at {n} and adds {m} again and again. What number comes after {count} steps?",
    "{A} has {n} points and gets {m} points in each round. How many points does {A.he} have after "
    "{count} rounds?",
    "A plant is {n} cm tall and grows {m} cm each week. How tall is it after {count} weeks?"};
constexpr const char* kCountDown[] = {
    "{A} starts at {n} and counts down by {m}. What number does {A.he} reach after {count} steps?",
    "Start at {n} and subtract {m} again and again. What do you get after {count} subtractions?",
    "Count down from {n} in steps of {m}. Which number comes after {count} steps?",
    "A frog sits on number {n}. It makes {count} jumps of {m} back. On which number does it land?",
    "{A} has {n} dollars and spends {m} dollars each day. How many dollars are left after {count} "
    "days?",
    "{A} starts at {n} and takes away {m} again and again. What number comes after {count} steps?"};
constexpr const char* kTurns[] = {
    "Start at {n}. {rule} In turns, {count} steps in all. What number do you reach?",
    "A game starts at {n}. {rule} You do this in turns. What is the number after {count} steps?",
    "{A} starts with {n}. {rule} {A.he} goes on in turns. What number does {A.he} have after "
    "{count} steps?",
    "Begin at {n}. {rule} Repeat this in turns. Which number comes after {count} steps?",
    "The first number is {n}. {rule} It goes on in turns. What is the number after {count} steps?",
    "{A} begins with {n}. {rule} It goes on in turns. What number comes after {count} steps?"};
constexpr const char* kRule[] = {"First add {m}, then subtract {p}.",
                                 "The first step adds {m}, the second takes away {p}.",
                                 "One step is plus {m}, the next is minus {p}.",
                                 "You add {m}, then you take away {p}.",
                                 "Add {m} first, and subtract {p} after that.",
                                 "First add {m}, then take away {p}."};
constexpr const char* kDoubling[] = {
    "{A} starts with {n} and {v} it {count} times. What is the result?",
    "There are {n} cells. Their number {becomes} every hour. How many are there after {count} "
    "hours?",
    "Start with {n}. In each step the number {becomes}. What is it after {count} steps?",
    "A number is {n}. It {becomes} {count} times. What is it then?",
    "Begin with {n}. In each step the number {becomes}. What is it after {count} steps?",
    "A game starts at {n} points, and the number {becomes} in each round. How many points is it "
    "after {count} rounds?"};
constexpr const char* kHowMany[] = {
    "How many of these numbers are {property}: {list}?",
    "Look at the numbers {list}. How many of them are {property}?",
    "Here is a list: {list}. Count the numbers that are {property}.",
    "{A} writes down {list}. How many of these are {property}?",
    "Count how many are {property}: {list}.",
    "Count the numbers that are {property}: {list}.",
    "In the list {list}, how many numbers are {property}?"};
constexpr const char* kCountWord[] = {"How many times does {o.1} occur in this list: {list}?",
                                      "Look at the list {list}. How often do you see {o.1}?",
                                      "{A} draws {list}. How many times does {A.he} draw {o.1}?",
                                      "Count the word {o.1} in: {list}.",
                                      "Here is a list: {list}. How many times is {o.1} in it?",
                                      "How often does {o.1} occur here: {list}?"};

constexpr const char* kMoreThan[] = {
    "What number is {m} more than {n}?",
    "Count on {m} from {n}. Which number do you reach?",
    "Which number comes {m} after {n}?",
    "The rule of a sequence is to add {m}. What comes after {n}?",
    "{A} stands on step {n} and goes {m} steps up. On which step is {A.he} now?",
    "What number do you reach if you count on {m} from {n}?",
    "A sequence grows by {m} each time. One of its numbers is {n}. What is the next?"};
constexpr const char* kLessThan[] = {
    "What number is {m} less than {n}?",
    "Count back {m} from {n}. Which number do you reach?",
    "Which number comes {m} before {n}?",
    "The rule of a sequence is to subtract {m}. What comes after {n}?",
    "{A} stands on step {n} and goes {m} steps down. On which step is {A.he} now?",
    "What number do you reach if you count back {m} from {n}?",
    "A sequence falls by {m} each time. One of its numbers is {n}. What is the next?"};

std::string Listed(const std::vector<int64_t>& values) {
  std::string out;
  for (const int64_t value : values) out += (out.empty() ? "" : ", ") + std::to_string(value);
  return out;
}

void OneStep(Story* story) {
  const int64_t n = story->Longest();
  const bool more = story->draw().Chance(50);
  const int64_t m = more ? story->Number() : story->NumberBelow(n);
  story->slots().Set("n", n);
  story->slots().Set("m", m);
  story->Ask(more ? Frames(kMoreThan) : Frames(kLessThan));
  story->AnswerInteger(more ? story->Add("next", n, m) : story->Subtract("next", n, m));
}

// Equal differences: the first step finds the difference, each later one adds it.
void Differences(Story* story) {
  Slots& slots = story->slots();
  Draw& draw = story->draw();
  const int steps = story->steps();
  const bool down = draw.Chance(30);
  const int64_t d = draw.Between(2, story->digits() == 2 ? 9 : story->digits() == 3 ? 40 : 250);
  int64_t value = story->Longest();
  const int shown = static_cast<int>(draw.Between(3, 4));
  std::vector<int64_t> values;
  for (int i = 0; i < shown; ++i) {
    values.push_back(value);
    story->Operand(value);
    value += down ? -d : d;
  }
  if (down && value - d * steps < 0) return story->GiveUp();
  slots.Set("list", Listed(values));
  slots.Set("last", values.back());
  slots.Set("count", static_cast<int64_t>(steps - 1));
  slots.Set("k", OrdinalWord(steps - 1));
  story->Key(steps);
  steps == 2 ? story->Ask(kNext) : story->Ask(kLater);
  const auto n = values.size();
  down ? story->Subtract("step", values[n - 2], values[n - 1])
       : story->Subtract("step", values[n - 1], values[n - 2]);
  value = values.back();
  for (int i = 1; i < steps; ++i) {
    const std::string label = std::to_string(i);
    value = down ? story->Subtract(label, value, d) : story->Add(label, value, d);
  }
  story->AnswerInteger(value);
}

void Counting(Story* story) {
  Slots& slots = story->slots();
  Draw& draw = story->draw();
  const bool down = draw.Chance(40);
  int64_t value = story->Longest();
  const int64_t most = down ? value / story->steps() : story->digits() == 2 ? 25 : 300;
  if (most < 2) return story->GiveUp();
  const int64_t d = draw.Between(2, std::min<int64_t>(most, story->digits() == 2 ? 30 : 400));
  story->Operand(d);
  slots.Set("n", value);
  slots.Set("m", d);
  slots.Set("count", static_cast<int64_t>(story->steps()));
  story->Key(down);
  story->Ask(down ? Frames(kCountDown) : Frames(kCountUp));
  story->Given("start", value);
  for (int i = 1; i <= story->steps(); ++i) {
    const std::string label = std::to_string(i);
    value = down ? story->Subtract(label, value, d) : story->Add(label, value, d);
  }
  story->AnswerInteger(value);
}

void Turns(Story* story) {
  Slots& slots = story->slots();
  int64_t value = story->Longest();
  const int64_t up = story->NumberBelow(100),
                back = story->NumberBelow(std::min<int64_t>(up, value / 4));
  if (story->gave_up()) return;
  slots.Set("n", value);
  slots.Set("m", up);
  slots.Set("p", back);
  slots.Set("rule", story->Phrase(kRule));
  slots.Set("count", static_cast<int64_t>(story->steps()));
  story->Ask(kTurns);
  story->Given("start", value);
  for (int i = 1; i <= story->steps(); ++i) {
    const std::string label = std::to_string(i);
    value = i % 2 ? story->Add(label, value, up) : story->Subtract(label, value, back);
  }
  story->AnswerInteger(value);
}

void Doubling(Story* story) {
  Slots& slots = story->slots();
  int64_t value = story->Longest();
  const int64_t factor = story->steps() < 3 ? story->draw().Between(2, 4) : 2;
  static constexpr const char* kVerbs[][2] = {{"doubles", "doubles"},
                                              {"triples", "triples"},
                                              {"multiplies by 4", "becomes 4 times as large"}};
  slots.Set("n", value);
  slots.Set("v", factor == 4 ? std::string("quadruples") : std::string(kVerbs[factor - 2][0]));
  slots.Set("becomes", std::string(kVerbs[factor - 2][1]));
  slots.Set("count", static_cast<int64_t>(story->steps()));
  story->Key(factor);
  if (value << story->steps() > 99999) return story->GiveUp();
  story->Ask(kDoubling);
  story->Given("start", value);
  for (int i = 1; i <= story->steps(); ++i)
    value = story->Multiply(std::to_string(i), value, factor);
  story->AnswerInteger(value);
}

// One step a number of the list.
void CountNumbers(Story* story) {
  Slots& slots = story->slots();
  Draw& draw = story->draw();
  std::vector<int64_t> values = {story->Longest()};
  while (static_cast<int>(values.size()) < story->steps()) values.push_back(story->Number());
  const int64_t property = draw.Between(0, 3);
  const int64_t limit = property < 2 ? values[draw.Index(values.size())] + draw.Between(1, 5) : 0;
  static constexpr const char* kProperties[][2] = {{"greater than", "larger than"},
                                                   {"less than", "smaller than"},
                                                   {"even", "even"},
                                                   {"odd", "odd"}};
  std::string text = kProperties[property][draw.Chance(50)];
  if (property < 2) text += fmt::format(" {}", limit);
  if (property < 2) story->Operand(limit);
  story->Key(property);
  slots.Set("property", text);
  slots.Set("list", Listed(values));
  story->Ask(kHowMany);
  int64_t count = 0;
  for (const int64_t value : values) {
    const bool counts = property == 0   ? value > limit
                        : property == 1 ? value < limit
                        : property == 2 ? value % 2 == 0
                                        : value % 2 == 1;
    count += counts;
    const std::string test = property < 2 ? fmt::format("{}{}{}", value,
                                                        value > limit   ? ">"
                                                        : value < limit ? "<"
                                                                        : "=",
                                                        limit)
                                          : fmt::format("{} {}", value, value % 2 ? "odd" : "even");
    story->Line(fmt::format("{}: {} {}", test, counts ? "yes" : "no", count), true);
  }
  story->AnswerInteger(count);
}

void CountWords(Story* story) {
  Slots& slots = story->slots();
  Draw& draw = story->draw();
  if (story->digits() != 2 || story->steps() < 3) return story->GiveUp();
  const auto nouns = draw.Several(draw.Chance(50) ? Foods() : SmallThings(), 3);
  std::string list;
  std::vector<size_t> picks;
  for (int i = 0; i < story->steps(); ++i) {
    picks.push_back(draw.Index(3));
    list += (list.empty() ? "" : ", ") + std::string(nouns[picks.back()].one);
    story->Key(static_cast<int64_t>(picks.back()));
  }
  for (const Noun& noun : nouns) story->Key(static_cast<int64_t>(noun.one[0] * 256 + noun.one[1]));
  const size_t wanted = picks[draw.Index(picks.size())];
  slots.Set("o", nouns[wanted]);
  slots.Set("list", list);
  story->Ask(kCountWord);
  int64_t count = 0;
  for (const size_t pick : picks) {
    count += pick == wanted;
    story->Line(fmt::format("{}: {} {}", nouns[pick].one, pick == wanted ? "yes" : "no", count),
                true);
  }
  story->AnswerInteger(count);
}

}  // namespace

void SequenceProblem(Story* story) {
  story->slots().Set("A", story->Names(1)[0]);
  story->slots().voice.has_commas = false;
  const int64_t kind = story->draw().Between(0, 99);
  if (story->steps() == 1) return OneStep(story);
  if (kind < 35) return Differences(story);
  if (kind < 55) return Counting(story);
  if (kind < 65) return Turns(story);
  if (kind < 75) return Doubling(story);
  if (kind < 92) return CountNumbers(story);
  CountWords(story);
}

}  // namespace planish
