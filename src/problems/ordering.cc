// SPDX-License-Identifier: Apache-2.0
// Comparison and ordering: who has most, second, between; sorted lists; yes-no questions about two numbers. A step is one
// comparison: finding the largest of k takes k - 1, sorting k takes as many as there are places to fill.
#include "problems/lexicon.h"
#include "problems/skills.h"

namespace planish {
namespace {

struct Scale {
  const char* sentence[4];  // the last one is for tests
  const char* most;
  const char* least;
  const char* descending;
  const char* ascending;
  const char* more;  // yes-no: "does {X} have more {o} than {Y}?"
  const char* less;
};
constexpr Scale kScales[] = {
    {{"{X} has {n} {o}.", "{X} owns {n} {o}.", "{X} collected {n} {o}.",
      "There are {n} {o} in {X}'s bag."},
     "has the most {o}",
     "has the fewest {o}",
     "from the most {o} to the fewest",
     "from the fewest {o} to the most",
     "does {X} have more {o} than {Y}?",
     "does {X} have fewer {o} than {Y}?"},
    {{"{X} scored {n} points.", "{X} has {n} points.", "{X} got {n} points in the game.",
      "{X}'s score is {n} points."},
     "has the highest score",
     "has the lowest score",
     "from the highest score to the lowest",
     "from the lowest score to the highest",
     "did {X} score more points than {Y}?",
     "did {X} score fewer points than {Y}?"},
    {{"{X}'s rope is {n} cm long.", "{X}'s ribbon is {n} cm long.", "{X}'s wire is {n} cm long.",
      "The rope of {X} is {n} cm long."},
     "has the longest one",
     "has the shortest one",
     "from the longest to the shortest",
     "from the shortest to the longest",
     "is {X}'s longer than {Y}'s?",
     "is {X}'s shorter than {Y}'s?"},
    {{"{X} walked {n} meters.", "{X} ran {n} meters.", "{X} swam {n} meters.",
      "{X} went {n} meters."},
     "went the farthest",
     "went the shortest way",
     "from the longest way to the shortest",
     "from the shortest way to the longest",
     "did {X} go farther than {Y}?",
     "did {X} go less far than {Y}?"},
    {{"{X} has {n} dollars.", "{X} earned {n} dollars.", "{X} saved {n} dollars.",
      "{X}'s savings are {n} dollars."},
     "has the most money",
     "has the least money",
     "from the most money to the least",
     "from the least money to the most",
     "does {X} have more money than {Y}?",
     "does {X} have less money than {Y}?"},
    {{"{X}'s parcel weighs {n} grams.", "{X}'s bag weighs {n} grams.",
      "{X}'s box weighs {n} grams.", "The weight of {X}'s bag is {n} grams."},
     "has the heaviest one",
     "has the lightest one",
     "from the heaviest to the lightest",
     "from the lightest to the heaviest",
     "is {X}'s heavier than {Y}'s?",
     "is {X}'s lighter than {Y}'s?"}};

constexpr const char* kWho[] = {"Who {most}?",
                                "Which [person|of them] {most}?",
                                "Which of [the {count}|them] {most}?",
                                "[Tell me|Say|Find out] who {most}.",
                                "Who of them {most}?",
                                "Who of the {count} {most}?"};
constexpr const char* kOrder[] = {"Put them in order {order}.", "List them {order}.",
                                  "Order the names {order}.",   "Sort them {order}.",
                                  "Write the names {order}.",   "Put the names in order {order}."};
constexpr const char* kSecond[] = {"Who comes {place} {order}?",
                                   "If you sort them {order}, who is {place}?",
                                   "Sorted {order}, who is {place}?",
                                   "Who is {place} in the list {order}?",
                                   "In the order {order}, who is {place}?",
                                   "Who is {place} if they are sorted {order}?"};
// {same} asks by the scale: "does Tom have more apples than Anna?"
constexpr const char* kYesNo[] = {"{same}",
                                  "Yes or no: {same}",
                                  "{same} Answer [with |]yes or no.",
                                  "Answer yes or no: {same}",
                                  "[Tell me|Say], yes or no: {same}",
                                  "{same} Yes or no?"};
constexpr const char* kNumbers[] = {"Put these numbers in order from {order}: {list}.",
                                    "Sort the numbers {list} from {order}.",
                                    "Write {list} in order from {order}.",
                                    "Here are some numbers: {list}. Sort them from {order}.",
                                    "Order these numbers from {order}: {list}.",
                                    "Sort these from {order}: {list}."};
constexpr const char* kLargest[] = {"Which of these numbers is the {most}: {list}?",
                                    "What is the {most} number in the list {list}?",
                                    "Find the {most} number: {list}.",
                                    "Look at {list}. Which number is the {most}?",
                                    "Here are some numbers: {list}. Which is the {most}?",
                                    "Find the {most} of the numbers {list}."};

std::vector<int64_t> Different(Story* story, size_t count) {
  std::vector<int64_t> values = {story->Longest()};
  while (values.size() < count && !story->gave_up()) {
    // Often near one that is there, so that more than the first digit must be looked at.
    int64_t value = values[story->draw().Index(values.size())];
    const int64_t span = value < 100 ? 9 : value < 1000 ? 60 : 500;
    value = story->draw().Chance(50) ? value + story->draw().Between(-span, span) : 0;
    if (value < 2) {
      value = story->Number();
    } else {
      story->Operand(value);
    }
    if (std::find(values.begin(), values.end(), value) != values.end()) {
      story->GiveUp();
      return values;
    }
    values.push_back(value);
  }
  return values;
}

struct Entry {
  std::string name;
  int64_t value;
};

// "Tom 5>Ann 3, so Tom" by a running best: one comparison a line.
Entry Best(Story* story, const std::vector<Entry>& entries, bool wants_most, bool has_names) {
  Entry best = entries[0];
  for (size_t i = 1; i < entries.size(); ++i) {
    const Entry& next = entries[i];
    const bool is_more = next.value > best.value;
    const std::string line = fmt::format("{}{}{}: ", next.value, is_more ? ">" : "<", best.value);
    if (is_more == wants_most) best = next;
    story->Line(line + (has_names ? fmt::format("{} {}", best.name, best.value)
                                  : std::to_string(best.value)),
                true);
  }
  return best;
}

// Takes the largest (or smallest) of what is left, over and over.
std::vector<Entry> Sorted(Story* story, std::vector<Entry> left, bool descending, bool has_names) {
  std::vector<Entry> sorted;
  const size_t count = left.size();
  while (!left.empty()) {
    size_t best = 0;
    for (size_t i = 1; i < left.size(); ++i)
      if ((left[i].value > left[best].value) == descending) best = i;
    sorted.push_back(left[best]);
    left.erase(left.begin() + static_cast<ptrdiff_t>(best));
    const Entry& taken = sorted.back();
    std::string line = fmt::format("{}: ", sorted.size());
    line += has_names ? fmt::format("{} {}", taken.value, taken.name) : std::to_string(taken.value);
    if (!left.empty()) {
      line += ", left";
      for (const Entry& entry : left) line += fmt::format(" {}", entry.value);
    }
    story->Line(line, sorted.size() < count);
  }
  return sorted;
}

std::string Names(const std::vector<Entry>& entries, bool has_names) {
  std::string out;
  for (const Entry& entry : entries)
    out += (out.empty() ? "" : ", ") + (has_names ? entry.name : std::to_string(entry.value));
  return out;
}

void AboutPeople(Story* story) {
  Draw& draw = story->draw();
  Slots& slots = story->slots();
  const size_t count = static_cast<size_t>(story->steps()) + 1;
  const auto people = story->Names(count);
  const auto values = Different(story, count);
  if (story->gave_up()) return;
  const Scale& scale = draw.Of(kScales);
  const char* sentence = scale.sentence[story->is_test() ? 3 : draw.Index(3)];
  std::vector<Entry> entries;
  for (size_t i = 0; i < count; ++i) {
    slots.Set("X", people[i]);
    slots.Set("n", values[i]);
    story->SayFrame(sentence);
    entries.push_back({people[i].name, values[i]});
    story->Given(people[i].name, values[i]);
  }
  slots.Set("count", NumberWords(static_cast<int64_t>(count)));
  const bool most = draw.Chance(50);
  slots.Set("order", story->Fill(most ? scale.descending : scale.ascending));
  if (count == 2 && draw.Chance(50)) {
    slots.Set("X", people[0]);
    slots.Set("Y", people[1]);
    slots.Set("same", story->Fill(most ? scale.more : scale.less));
    story->Ask(kYesNo);
    const bool is_more = values[0] > values[1];
    story->Line(fmt::format("{}{}{}", values[0], is_more ? ">" : "<", values[1]), true);
    return story->Answer(AnswerType::kYesNo, is_more == most ? "yes" : "no");
  }
  const int64_t kind = draw.Between(0, 99);
  if (kind < 45 || count == 2) {
    slots.Set("most", story->Fill(most ? scale.most : scale.least));
    story->Ask(kWho);
    return story->Answer(AnswerType::kWord, Best(story, entries, most, true).name);
  }
  const auto sorted = Sorted(story, entries, most, true);
  if (kind < 75) {
    story->Ask(kOrder);
    return story->Answer(AnswerType::kList, Names(sorted, true));
  }
  const size_t place = 1 + draw.Index(count - 2);
  slots.Set("place", OrdinalWord(static_cast<int64_t>(place) + 1));
  story->Key(static_cast<int64_t>(place));
  story->Ask(kSecond);
  story->Answer(AnswerType::kWord, sorted[place].name);
}

void AboutNumbers(Story* story) {
  Draw& draw = story->draw();
  Slots& slots = story->slots();
  const size_t count = static_cast<size_t>(story->steps()) + 1;
  std::vector<Entry> entries;
  std::vector<std::string> shown;
  for (const int64_t value : Different(story, count)) {
    entries.push_back({"", value});
    shown.push_back(std::to_string(value));
  }
  if (story->gave_up()) return;
  const bool most = draw.Chance(50);
  std::string list;
  for (const std::string& value : shown) list += (list.empty() ? "" : ", ") + value;
  slots.Set("list", list);
  if (draw.Chance(50)) {
    static constexpr const char* kMost[] = {"largest", "biggest", "greatest", "highest"};
    static constexpr const char* kLeast[] = {"smallest", "lowest", "smallest", "least"};
    slots.Set("most", std::string(most ? draw.Of(kMost) : draw.Of(kLeast)));
    story->Ask(kLargest);
    return story->AnswerInteger(Best(story, entries, most, false).value);
  }
  static constexpr const char* kDown[] = {"largest to smallest", "biggest to smallest",
                                          "greatest to least", "high to low"};
  static constexpr const char* kUp[] = {"smallest to largest", "smallest to biggest",
                                        "least to greatest", "low to high"};
  slots.Set("order", std::string(most ? draw.Of(kDown) : draw.Of(kUp)));
  story->Ask(kNumbers);
  story->Answer(AnswerType::kList, Names(Sorted(story, entries, most, false), false));
}

}  // namespace

void OrderingProblem(Story* story) {
  Draw& draw = story->draw();
  story->slots().Set("o", draw.Chance(35) ? draw.Of(Foods()) : draw.Of(SmallThings()));
  draw.Chance(70) ? AboutPeople(story) : AboutNumbers(story);
}

}  // namespace planish
