// SPDX-License-Identifier: Apache-2.0
// Small logic: things that change hands, orders from clues, who has what by elimination; rules.cc has the rest. A step is one
// clue, swap or test.
#include "problems/lexicon.h"
#include "problems/skills.h"
#include "problems/worked.h"

namespace planish {
namespace {

constexpr const char* kOwns[] = {"{X} has the {item}.",           "The {item} belongs to {X}.",
                                 "{X} holds the {item}.",         "The {item} is {X}'s.",
                                 "At first, {X} has the {item}.", "{X} starts with the {item}."};
constexpr const char* kSwap[] = {"{X} and {Y} swap.",
                                 "Then {X} and {Y} swap [what they have|their things].",
                                 "{X} trades with {Y}.",
                                 "Next, {X} and {Y} trade[| what they have].",
                                 "After that, {X} swaps with {Y}.",
                                 "Then {X} trades with {Y}.",
                                 "{X} and {Y} exchange what they have."};
constexpr const char* kWhatHas[] = {"What does {X} have [now|in the end]?",
                                    "Which {kind} does {X} have [now|in the end|at the end]?",
                                    "What is {X} holding now?",
                                    "Which {kind} is {X}'s now?",
                                    "What does {X} have at the end?",
                                    "Which {kind} does {X} have at the end?"};
constexpr const char* kWhoHas[] = {"Who has the {item} [now|in the end|at the end]?",
                                   "Who is holding the {item} now?",
                                   "To whom does the {item} belong now?",
                                   "Who has the {item} in the end?",
                                   "Who holds the {item} at the end?",
                                   "Who has the {item} at the end?"};

struct Order {
  const char* before[6];  // {X} stands before {Y}; the last one is for tests
  const char* after[6];   // {Y} before {X}, said the other way round
  const char* first;
  const char* last;
};
constexpr Order kOrders[] = {
    {{"{X} is taller than {Y}.", "{X} is a little taller than {Y}.", "{X} is much taller than {Y}.",
      "Everyone sees that {X} is taller than {Y}.", "{Y} is not as tall as {X}.",
      "We know that {X} is taller than {Y}."},
     {"{Y} is shorter than {X}.", "{Y} is a bit shorter than {X}.", "{Y} is much shorter than {X}.",
      "Everyone sees that {Y} is shorter than {X}.", "{Y} is not so tall as {X}.",
      "We know that {Y} is shorter than {X}."},
     "the tallest",
     "the shortest"},
    {{"{X} is older than {Y}.", "{X} is a little older than {Y}.", "{X} is much older than {Y}.",
      "{X} was born before {Y}.", "Everyone knows that {X} is older than {Y}.",
      "We know that {X} is older than {Y}."},
     {"{Y} is younger than {X}.", "{Y} is a bit younger than {X}.", "{Y} is much younger than {X}.",
      "{Y} was born after {X}.", "Everyone knows that {Y} is younger than {X}.",
      "We know that {Y} is younger than {X}."},
     "the oldest",
     "the youngest"},
    {{"{X} runs faster than {Y}.", "{X} is faster than {Y}.", "{X} finishes before {Y}.",
      "{X} comes in ahead of {Y}.", "{X} beats {Y} in the race.",
      "We see that {X} is faster than {Y}."},
     {"{Y} runs slower than {X}.", "{Y} is slower than {X}.", "{Y} finishes after {X}.",
      "{Y} comes in behind {X}.", "{Y} loses to {X} in the race.",
      "We see that {Y} is slower than {X}."},
     "the fastest",
     "the slowest"},
    {{"{X} sits to the left of {Y}.", "{X} is on the left of {Y}.", "{X} stands left of {Y}.",
      "{X} has a place to the left of {Y}.", "{X} is somewhere to the left of {Y}.",
      "The place of {X} is to the left of {Y}."},
     {"{Y} sits to the right of {X}.", "{Y} is on the right of {X}.", "{Y} stands right of {X}.",
      "{Y} has a place to the right of {X}.", "{Y} is somewhere to the right of {X}.",
      "The place of {Y} is to the right of {X}."},
     "farthest to the left",
     "farthest to the right"}};
constexpr const char* kWhoIs[] = {"Who is {end}?",         "Which of them is {end}?",
                                  "Who of them is {end}?", "[Tell me|Find out] who is {end}.",
                                  "Which one is {end}?",   "Who of all of them is {end}?"};

constexpr const char* kTable[] = {
    "{names} have the {kind}s {items}, one each.",
    "{names} each have one of the {kind}s {items}.",
    "There are {kinds_count} {kind}s: {items}. {names} have one each.",
    "The {kind}s {items} belong to {names}, one to each.",
    "{names} each take a different {kind}: {items}.",
    "{names} each get one of the {kind}s {items}."};
constexpr const char* kNot[] = {
    "{X} does not have the {item}.",      "The {item} is not {X}'s.",
    "{X}'s {kind} is not the {item}.",    "It is not {X} who has the {item}.",
    "The {item} does not belong to {X}.", "{X} did not get the {item}."};
constexpr const char* kDoes[] = {"{X} has the {item}.",           "The {item} is {X}'s.",
                                 "The {item} belongs to {X}.",    "{X} took the {item}.",
                                 "It is {X} who has the {item}.", "{X} got the {item}."};

struct Items {
  std::vector<std::string> names;
  std::string kind;
};

// Things with a color, or numbers of the length asked for.
Items ChooseItems(Story* story, size_t count) {
  Draw& draw = story->draw();
  Items items;
  if (story->digits() > 2) {
    static constexpr const char* kKinds[] = {"card", "key", "ticket", "locker", "room"};
    items.kind = draw.Of(kKinds);
    while (items.names.size() < count) {
      std::string number = std::to_string(items.names.empty() ? story->Longest() : story->Number());
      const std::string name = items.kind + " " + number;
      if (std::find(items.names.begin(), items.names.end(), name) == items.names.end())
        items.names.push_back(name);
    }
    return items;
  }
  static constexpr const char* kKinds[] = {"ball", "hat", "book", "cup",
                                           "car",  "bag", "pen",  "kite"};
  items.kind = draw.Of(kKinds);
  for (const char* color : draw.Several(Colors(), count)) {
    items.names.push_back(std::string(color) + " " + items.kind);
    story->Key(color[0] * 256 + color[1]);
  }
  return items;
}

// "red ball" is "red", "card 347" is "347": what the answer says.
std::string Short(const std::string& item) {
  const size_t space = item.find(' ');
  const bool ends_in_number = item.back() >= '0' && item.back() <= '9';
  return ends_in_number ? item.substr(space + 1) : item.substr(0, space);
}

void AnswerItem(Story* story, const std::string& item) {
  const bool is_number = item.back() >= '0' && item.back() <= '9';
  story->Answer(is_number ? AnswerType::kInteger : AnswerType::kWord, Short(item));
}

void KeyNames(Story* story, const std::vector<Person>& people) {
  for (const Person& person : people) story->Key(person.name[0] * 256 + person.name[1]);
}

void Swaps(Story* story) {
  Slots& slots = story->slots();
  Draw& draw = story->draw();
  const size_t count =
      static_cast<size_t>(draw.Between(story->steps() == 1 ? 2 : 3, story->steps() > 4 ? 4 : 3));
  const auto people = story->Names(count);
  const Items items = ChooseItems(story, count);
  KeyNames(story, people);
  slots.Set("kind", items.kind);
  std::vector<size_t> holds(count);
  for (size_t i = 0; i < count; ++i) {
    holds[i] = i;
    slots.Set("X", people[i]);
    slots.Set("item", items.names[i]);
    story->Say(kOwns);
  }
  const auto line = [&] {
    std::string text;
    for (size_t i = 0; i < count; ++i)
      text += fmt::format("{}{} {}", i ? ", " : "", people[i].name, Short(items.names[holds[i]]));
    return text;
  };
  story->Line(line());
  size_t last = 0, last_pair = ~size_t{0};
  for (int step = 0; step < story->steps(); ++step) {
    size_t a = draw.Index(count), b = (a + 1 + draw.Index(count - 1)) % count;
    if (count > 2 && last_pair == (1u << a | 1u << b))
      b = 3 - a - b < count ? 3 - a - b : (b + 1) % count;
    if (a == b) return story->GiveUp();
    last_pair = 1u << a | 1u << b;
    story->Key(static_cast<int64_t>(a * 8 + b));
    slots.Set("X", people[a]);
    slots.Set("Y", people[b]);
    story->Say(kSwap);
    std::swap(holds[a], holds[b]);
    last = a;
    story->Line(fmt::format("swap {} {}: {}", people[a].name, people[b].name, line()), true);
  }
  const size_t asked = draw.Chance(70) ? last : draw.Index(count);
  if (draw.Chance(50)) {
    slots.Set("X", people[asked]);
    story->Ask(kWhatHas);
    return AnswerItem(story, items.names[holds[asked]]);
  }
  slots.Set("item", items.names[holds[asked]]);
  story->Ask(kWhoHas);
  story->Answer(AnswerType::kWord, people[asked].name);
}

// Clues that chain up, in mixed order; the line grows from the first clue.
void OrderChain(Story* story) {
  Slots& slots = story->slots();
  Draw& draw = story->draw();
  if (story->digits() > 2) return story->GiveUp();
  const size_t count = static_cast<size_t>(story->steps()) + 1;
  const auto people = story->Names(count);
  KeyNames(story, people);
  const Order& order = draw.Of(kOrders);
  // The clue i says people[i] before people[i + 1]. Each clue told next touches the line known so far.
  size_t low = draw.Index(count - 1), high = low;
  std::vector<size_t> clues = {low};
  while (clues.size() + 1 < count) {
    const bool up = low == 0 || (high + 2 < count && draw.Chance(60));
    clues.push_back(up ? ++high : --low);
  }
  size_t first = clues[0], end = clues[0] + 1;
  for (const size_t clue : clues) {
    slots.Set("X", people[clue]);
    slots.Set("Y", people[clue + 1]);
    story->Say(draw.Chance(60) ? Frames(order.before) : Frames(order.after));
    story->Key(static_cast<int64_t>(clue));
    first = std::min(first, clue);
    end = std::max(end, clue + 1);
    std::string line;
    for (size_t i = first; i <= end; ++i)
      line += (i > first ? " > " : "") + std::string(people[i].name);
    story->Line(line, true);
  }
  const bool asks_first = draw.Chance(50);
  slots.Set("end", std::string(asks_first ? order.first : order.last));
  story->Ask(kWhoIs);
  story->Answer(AnswerType::kWord, people[asks_first ? 0 : count - 1].name);
}

// Who has what: each clue strikes one out, and the last one left is the answer.
void Elimination(Story* story) {
  Slots& slots = story->slots();
  Draw& draw = story->draw();
  const size_t count = static_cast<size_t>(story->steps()) + 1;
  if (count < 3 || count > 6) return story->GiveUp();
  const auto people = story->Names(count);
  const Items items = ChooseItems(story, count);
  KeyNames(story, people);
  std::vector<std::string> names, things;
  std::vector<size_t> owner(count);  // of item i
  for (size_t i = 0; i < count; ++i) {
    owner[i] = i;
    names.push_back(people[i].name);
    things.push_back(Short(items.names[i]));
  }
  draw.Shuffle(&owner);
  slots.Set("names", JoinedList(names));
  slots.Set("items", JoinedList(things));
  slots.Set("kind", items.kind);
  slots.Set("kinds_count", static_cast<int64_t>(count));
  story->Say(kTable);
  const bool about_item = draw.Chance(50);
  const size_t target = draw.Index(count);  // the item whose owner is asked, or that is asked for
  std::vector<size_t> others;
  for (size_t i = 0; i < count; ++i)
    if (i != target) others.push_back(i);
  draw.Shuffle(&others);
  std::vector<size_t> left(count);
  for (size_t i = 0; i < count; ++i) left[i] = i;
  for (const size_t item : others) {
    // About one item: its owner is none of the others. About one person: the others have their own.
    slots.Set("X", people[owner[item]]);
    slots.Set("item", items.names[about_item ? target : item]);
    story->Say(about_item ? Frames(kNot) : Frames(kDoes));
    const size_t struck = about_item ? owner[item] : item;
    left.erase(std::find(left.begin(), left.end(), struck));
    std::string line = fmt::format("not {}, left", about_item ? names[struck] : things[struck]);
    for (const size_t i : left) line += " " + (about_item ? names[i] : things[i]);
    story->Line(line, true);
    story->Key(static_cast<int64_t>(struck));
  }
  if (about_item) {
    slots.Set("item", items.names[target]);
    story->Ask(kWhoHas);
    return story->Answer(AnswerType::kWord, people[owner[target]].name);
  }
  slots.Set("X", people[owner[target]]);
  story->Ask(kWhatHas);
  AnswerItem(story, items.names[target]);
}

}  // namespace

void LogicProblem(Story* story) {
  Draw& draw = story->draw();
  story->slots().Set("A", story->Names(1)[0]);
  story->slots().voice = {};
  const int64_t kind = draw.Between(0, 99);
  if (kind < 30) return Swaps(story);
  if (kind < 55) return OrderChain(story);
  if (kind < 75) return Elimination(story);
  if (kind < 83) return SwitchesProblem(story);
  if (kind < 90) return DirectionsProblem(story);
  RulesProblem(story);
}

}  // namespace planish
