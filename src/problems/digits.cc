// SPDX-License-Identifier: Apache-2.0
// Numbers as strings of digits: sums of digits, reversed, picked, counted, places, even or odd. A step is one digit or one sum.
#include "problems/lexicon.h"
#include "problems/skills.h"
#include "problems/worked.h"

namespace planish {
namespace {

constexpr const char* kDigitSum[] = {"What is the sum of the digits of {list}?",
                                     "Add [up |]all the digits of {list}.",
                                     "Find the digit sum of {list}.",
                                     "What do you get when you add all the digits of {list}?",
                                     "{A} adds all digits of {list}. What is the sum?",
                                     "Find the sum of all the digits of {list}."};
constexpr const char* kDigitReverse[] = {
    "Write the digits of {list} in reverse order.",
    "Reverse the digits of {list}.",
    "What is {list} written backwards?",
    "How do you write {list} from the last digit to the first?",
    "{A} reads the digits of {list} backwards. What does {A.he} get?",
    "Write {list} backwards."};
constexpr const char* kDigitPick[] = {
    "Take the {k} digit of each number: {list}. Which number do they make?",
    "Write down the {k} digit of each of {list}. What number do you get?",
    "What number do the {k} digits of {list} make?",
    "{A} takes the {k} digit of each of these numbers: {list}. What number does {A.he} get?",
    "Put together the {k} digit of each number: {list}.",
    "Take the {k} digit of each of {list}. What number do you get?"};
constexpr const char* kDigitCount[] = {
    "How many times does the digit {d} [occur|appear] in {list}?",
    "Count the digit {d} in {list}.",
    "How often is the digit {d} used in {list}?",
    "How many of the digits of {list} are {d}?",
    "In {list}, how many digits are {d}?",
    "How many times is the digit {d} in {list}?"};
constexpr const char* kNthDigit[] = {"What is the {k} digit of {n}?",
                                     "Which digit is {k} in the number {n}?",
                                     "Look at the number {n}. What is its {k} digit?",
                                     "Name the {k} digit of the number {n}.",
                                     "In the number {n}, which digit is the {k}?",
                                     "What is the {k} digit of the number {n}?"};
constexpr const char* kPlace[] = {"Which digit is in the {place} place of {n}?",
                                  "What is the {place} digit of {n}?",
                                  "In the number {n}, which digit stands for the {place}?",
                                  "Look at {n}. What is the digit of the {place}?",
                                  "Name the digit in the {place} place of the number {n}.",
                                  "Which digit of {n} is in the {place} place?"};
constexpr const char* kEvenOdd[] = {"Is the number {n} even or odd?",
                                    "Is {n} an even number or an odd number?",
                                    "Even or odd: {n}?",
                                    "{A} writes {n}. Is this number even or odd?",
                                    "Say if {n} is even or odd.",
                                    "Is {n} even or odd?"};
constexpr const char* kEnds[] = {
    "What is the last digit of {n}?", "Which digit stands at the end of {n}?",
    "With which digit does {n} end?", "Look at the number {n}. What is its last digit?",
    "Name the last digit of {n}.",    "Which digit is the last one in {n}?"};

std::string DigitsSpelled(const std::vector<int64_t>& numbers) {
  std::string out;
  for (const int64_t number : numbers)
    for (const char c : std::to_string(number)) (out += out.empty() ? "" : " ") += c;
  return out;
}

// The n-th digit, counted off.
void NthDigit(Story* story) {
  const std::string number = std::to_string(story->Longest());
  const auto steps = static_cast<size_t>(story->steps());
  if (steps > number.size()) return story->GiveUp();
  story->slots().Set("k", OrdinalWord(story->steps()));
  story->slots().Set("n", number);
  story->Key(100 + story->steps());
  story->Ask(kNthDigit);
  std::string line;
  for (size_t i = 0; i < steps; ++i)
    line += fmt::format("{}{} {}", i ? ", " : "", i + 1, number[i]);
  story->Line(line);
  story->CountSteps(story->steps());
  story->AnswerInteger(number[steps - 1] - '0');
}

// One look at a digit.
void OneDigit(Story* story) {
  Draw& draw = story->draw();
  const std::string number = std::to_string(story->Longest());
  story->slots().Set("n", number);
  const int64_t task = draw.Between(0, 2);
  story->Key(200 + task);
  story->CountSteps(1);
  if (task == 0) {
    static constexpr const char* kPlaces[] = {"ones", "tens", "hundreds", "thousands"};
    const size_t place = draw.Index(number.size());
    story->Key(static_cast<int64_t>(place));
    story->slots().Set("place", std::string(kPlaces[place]));
    story->Ask(kPlace);
    std::string line;
    for (size_t i = 0; i <= place; ++i)
      line += fmt::format("{}{} {}", i ? ", " : "", kPlaces[i], number[number.size() - 1 - i]);
    story->Line(line);
    return story->AnswerInteger(number[number.size() - 1 - place] - '0');
  }
  story->Line(fmt::format("end {}", number.back()));
  if (task == 1) {
    story->Ask(kEvenOdd);
    return story->Answer(AnswerType::kWord, (number.back() - '0') % 2 ? "odd" : "even");
  }
  story->Ask(kEnds);
  story->AnswerInteger(number.back() - '0');
}

}  // namespace

// Numbers as strings of digits.
void DigitsProblem(Story* story) {
  Slots& slots = story->slots();
  Draw& draw = story->draw();
  const int steps = story->steps();
  if (steps == 1 && draw.Chance(75)) return OneDigit(story);
  if (steps == 1 || (steps <= story->digits() && draw.Chance(15))) return NthDigit(story);
  const int64_t task = draw.Between(0, 3);
  std::vector<int64_t> numbers = {story->Longest()};
  // Sums take one step less than there are digits, counting and reversing one a digit, picking one a number.
  const int wanted = task == 0 ? steps + 1 : steps;
  const auto size = [&] {
    if (task == 2) return static_cast<int>(numbers.size());
    int digits = 0;
    for (const int64_t number : numbers) digits += DigitCount(number);
    return digits;
  };
  while (size() < wanted) numbers.push_back(task == 2 ? story->Longest() : story->Number());
  if (size() != wanted || (task == 1 && numbers.size() > 1) || numbers.size() > 8)
    return story->GiveUp();
  std::vector<std::string> shown;
  for (const int64_t number : numbers) shown.push_back(std::to_string(number));
  slots.Set("list", JoinedList(shown));
  story->Key(task);
  const std::string spelled = DigitsSpelled(numbers);
  if (task == 0) {
    story->Ask(kDigitSum);
    story->Line("digits: " + spelled);
    int64_t sum = spelled[0] - '0';
    for (size_t i = 2; i < spelled.size(); i += 2) sum = story->Add("sum", sum, spelled[i] - '0');
    return story->AnswerInteger(sum);
  }
  if (task == 1) {
    if (numbers[0] % 10 == 0) return story->GiveUp();
    story->Ask(kDigitReverse);
    story->Line("digits: " + spelled);
    const std::string reversed(shown[0].rbegin(), shown[0].rend());
    story->Line("back: " + Spelled(reversed));
    story->CountSteps(steps);
    return story->Answer(AnswerType::kInteger, reversed);
  }
  if (task == 2) {
    const auto place = static_cast<size_t>(draw.Between(1, story->digits()));
    slots.Set("k", OrdinalWord(static_cast<int64_t>(place)));
    story->Key(static_cast<int64_t>(place));
    std::string result;
    for (const std::string& number : shown) {
      result += number[place - 1];
      story->Line(fmt::format("{}: {} {}", Spelled(number),
                              OrdinalWord(static_cast<int64_t>(place)), result.back()),
                  true);
    }
    if (result[0] == '0' || steps < 2) return story->GiveUp();
    story->Ask(kDigitPick);
    return story->AnswerInteger(std::stoll(result));
  }
  const char digit = spelled[2 * draw.Index((spelled.size() + 1) / 2)];
  slots.Set("d", std::string(1, digit));
  story->Key(digit);
  story->Ask(kDigitCount);
  int64_t count = 0;
  std::string line;
  for (const char c : spelled) {
    if (c == ' ') continue;
    count += c == digit;
    line += fmt::format("{}{} {}", line.empty() ? "" : ", ", c, count);
  }
  story->Line("count: " + line);
  story->CountSteps(steps);
  story->AnswerInteger(count);
}

}  // namespace planish
