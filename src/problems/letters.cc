// SPDX-License-Identifier: Apache-2.0
// Letters of words: spelled one by one, reversed, counted, picked, put in order. A step is one letter looked at or one word
// compared. The same with digits of numbers is in digits.cc.
#include "problems/lexicon.h"
#include "problems/skills.h"
#include "problems/worked.h"

namespace planish {
namespace {

constexpr const char* kReverse[] = {"[Write|Spell] the word {w} backwards.",
                                    "What is the word {w} spelled backwards?",
                                    "Reverse the word {w}.",
                                    "How do you write {w} from the last letter to the first?",
                                    "{A} writes {w} backwards. What does {A.he} write?",
                                    "What do you get when you spell {w} backwards?",
                                    "Reverse the letters of {w}."};
constexpr const char* kNth[] = {
    "What is the {k} letter of the word {w}?",   "Which letter is {k} in {w}?",
    "Name the {k} letter in the word {w}.",      "Look at the word {w}. What is its {k} letter?",
    "In the word {w}, which letter is the {k}?", "Which is the {k} letter in the word {w}?",
    "{A} writes {w}. What is the {k} letter?"};
constexpr const char* kCountLetter[] = {
    "How many times does the letter {c} [occur|appear] in the word {w}?",
    "How many {c}'s are in {w}?",
    "Count the letter {c} in the word {w}.",
    "How often is the letter {c} used in {w}?",
    "In the word {w}, how many letters are {c}?",
    "How many times is the letter {c} in the word {w}?"};
constexpr const char* kLength[] = {
    "How many letters does the word {w} have?", "How many letters are in {w}?",
    "Count the letters of the word {w}.",       "What is the length of the word {w}?",
    "How long is the word {w} in letters?",     "How many letters are in the word {w}?"};
constexpr const char* kVowels[] = {"How many vowels (a, e, i, o, u) are in the word {w}?",
                                   "Count the vowels in {w}.",
                                   "How many letters of {w} are vowels?",
                                   "The vowels are a, e, i, o and u. How many of them are in {w}?",
                                   "How many vowels does the word {w} have?",
                                   "Count the vowels in the word {w}."};
constexpr const char* kInitials[] = {
    "Take the first letter of each word: {list}. What do you get?",
    "Write the first letters of {list} next to each other. What do they spell?",
    "What do the first letters of {list} spell?",
    "Put together the first letter of each of these words: {list}.",
    "{A} takes the first letter of each word in {list}. What does {A.he} get?",
    "Take the first letters of {list}. What do they spell?"};
constexpr const char* kFinals[] = {
    "Take the last letter of each word: {list}. What do you get?",
    "Write the last letters of {list} next to each other. What do they spell?",
    "What do the last letters of {list} spell?",
    "Put together the last letter of each of these words: {list}.",
    "{A} takes the last letter of each word in {list}. What does {A.he} get?",
    "Take the last letters of {list}. What do they spell?"};
constexpr const char* kAlphabet[] = {"Put these words in alphabetical order: {list}.",
                                     "Sort the words {list} [alphabetically|by the alphabet].",
                                     "Write {list} in alphabetical order.",
                                     "Order these words as in a dictionary: {list}.",
                                     "What is the alphabetical order of {list}?",
                                     "Sort these words in alphabetical order: {list}."};
constexpr const char* kFirstWord[] = {
    "Which of these words comes first in the alphabet: {list}?",
    "Which word comes first in a dictionary: {list}?",
    "Of the words {list}, which one is first in alphabetical order?",
    "Look at {list}. Which word is first in alphabetical order?",
    "Find the word that comes first in the alphabet: {list}.",
    "Which of these words is first in alphabetical order: {list}?"};
constexpr const char* kReplace[] = {
    "In the word {w}, [change|replace] every {c} [to|by] {d}. What do you get?",
    "Write {w} with the letter {d} in place of every {c}.",
    "What does {w} become if each {c} is replaced by {d}?",
    "{A} writes {w} but uses {d} for every {c}. What does {A.he} write?",
    "Replace each {c} in {w} by {d}.",
    "In the word {w}, replace each {c} by {d}. What do you get?"};
constexpr const char* kRemove[] = {"Remove every {c} from the word {w}. What is left?",
                                   "Write the word {w} without the letter {c}.",
                                   "What is left of {w} if you take out each {c}?",
                                   "{A} writes {w} without any {c}. What does {A.he} write?",
                                   "Take the letter {c} out of {w}. What do you get?",
                                   "Write {w} without the letter {c}. What do you get?"};

int64_t KeyOf(std::string_view word) {
  int64_t key = 0;
  for (const char c : word) key = (key * 31 + c) % 1000003;
  return key;
}

std::string WordOfLength(Story* story, size_t length) {
  const auto words = Words();
  for (int i = 0; i < 200; ++i) {
    const char* word = words[story->draw().Index(words.size())];
    if (std::string_view(word).size() == length) return word;
  }
  story->GiveUp();
  return "word";
}

void SetWord(Story* story, const std::string& word, int64_t task) {
  story->slots().Set("w", story->draw().Chance(30) ? "\"" + word + "\"" : word);
  story->Key(task);
  story->Key(KeyOf(word));
}

// One step a letter.
void LetterByLetter(Story* story) {
  Slots& slots = story->slots();
  Draw& draw = story->draw();
  const auto steps = static_cast<size_t>(story->steps());
  const int64_t task = draw.Between(0, 6);
  const std::string word =
      WordOfLength(story, task == 1 ? std::max<size_t>(steps, 3) + draw.Index(3) : steps);
  if (story->gave_up()) return;
  const char letter = word[draw.Index(word.size())];
  slots.Set("c", std::string(1, letter));
  if (task != 1) SetWord(story, word, task);
  story->Line(fmt::format("{}: {}", word, Spelled(word)));
  if (task == 0) {
    story->Ask(kReverse);
    const std::string reversed(word.rbegin(), word.rend());
    story->Line("back: " + Spelled(reversed));
    story->CountSteps(story->steps());
    return story->Answer(AnswerType::kWord, reversed);
  }
  if (task == 1) {  // the n-th letter, counted off
    SetWord(story, word, 100 + story->steps());
    slots.Set("k",
              story->draw().Chance(70) ? OrdinalWord(story->steps()) : OrdinalText(story->steps()));
    story->Ask(kNth);
    std::string line;
    for (size_t i = 0; i < steps; ++i)
      line += fmt::format("{}{} {}", i ? ", " : "", i + 1, word[i]);
    story->Line(line);
    story->CountSteps(story->steps());
    return story->Answer(AnswerType::kWord, std::string(1, word[steps - 1]));
  }
  if (task == 5 || task == 6) {
    char other = static_cast<char>('a' + draw.Index(26));
    if (other == letter) other = letter == 'x' ? 'z' : 'x';
    slots.Set("d", std::string(1, other));
    story->Key(task == 5 ? letter * 256 + other : letter);
    std::string result;
    for (const char c : word) {
      if (c != letter)
        result += c;
      else if (task == 5)
        result += other;
    }
    if (result.empty()) return story->GiveUp();
    story->Ask(task == 5 ? Frames(kReplace) : Frames(kRemove));
    story->Line("new: " + Spelled(result));
    story->CountSteps(story->steps());
    return story->Answer(AnswerType::kWord, result);
  }
  story->Ask(task == 2 ? Frames(kCountLetter) : task == 3 ? Frames(kLength) : Frames(kVowels));
  if (task == 2) story->Key(letter);
  int64_t count = 0;
  std::string line;
  for (const char c : word) {
    count += task == 2   ? c == letter
             : task == 3 ? 1
                         : std::string_view("aeiou").find(c) != std::string_view::npos;
    line += fmt::format("{}{} {}", line.empty() ? "" : ", ", c, count);
  }
  story->Line("count: " + line);
  story->CountSteps(story->steps());
  story->AnswerInteger(count);
}

// One step a word.
void WordByWord(Story* story) {
  Slots& slots = story->slots();
  Draw& draw = story->draw();
  const auto steps = static_cast<size_t>(story->steps());
  const int64_t task = draw.Between(0, 3);
  const auto words = draw.Several(Words(), task < 2 ? steps : steps + 1);
  if (words.size() < 2) return story->GiveUp();
  std::string list;
  for (const char* word : words) {
    list += (list.empty() ? "" : ", ") + std::string(word);
    story->Key(KeyOf(word));
  }
  slots.Set("list", list);
  story->Key(task);
  if (task < 2) {
    story->Ask(task == 0 ? Frames(kInitials) : Frames(kFinals));
    std::string result;
    for (const std::string_view word : words) {
      result += task == 0 ? word.front() : word.back();
      story->Line(fmt::format("{}: {}", word, result.back()), true);
    }
    story->Line("all: " + Spelled(result));
    return story->Answer(AnswerType::kWord, result);
  }
  // Words that begin alike are told apart by the next letter: the trace shows as many letters as that takes.
  std::vector<std::string> left(words.begin(), words.end()), sorted;
  for (size_t i = 0; i < left.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      if (left[i].substr(0, 2) == left[j].substr(0, 2)) return story->GiveUp();
  for (const std::string& word : left)
    story->Line(fmt::format("{}: {} {}", word, word[0], word[1]));
  if (task == 2) {
    story->Ask(kFirstWord);
    std::string best = left[0];
    for (size_t i = 1; i < left.size(); ++i) {
      best = std::min(best, left[i]);
      story->Line("first: " + best, true);
    }
    return story->Answer(AnswerType::kWord, best);
  }
  story->Ask(kAlphabet);
  while (!left.empty()) {
    const auto next = std::min_element(left.begin(), left.end());
    sorted.push_back(*next);
    left.erase(next);
    story->Line(fmt::format("{}: {}", sorted.size(), sorted.back()), !left.empty());
  }
  std::string answer;
  for (const std::string& word : sorted) answer += (answer.empty() ? "" : ", ") + word;
  story->Answer(AnswerType::kList, answer);
}

}  // namespace

std::string Spelled(std::string_view word) {
  std::string out;
  for (const char c : word) (out += out.empty() ? "" : " ") += c;
  return out;
}

void LettersProblem(Story* story) {
  Draw& draw = story->draw();
  story->slots().Set("A", story->Names(1)[0]);
  story->slots().voice = {};
  if (story->digits() > 2) return DigitsProblem(story);
  const int64_t kind = draw.Between(0, 99);
  if (kind < 60) return LetterByLetter(story);
  if (kind < 92) return WordByWord(story);
  DigitsProblem(story);
}

}  // namespace planish
