// SPDX-License-Identifier: Apache-2.0
// One problem while it is made: its slots, the sentences said so far, and the solution that grows beside them. A skill says
// sentences and does its arithmetic through this class, so that text, trace, step count and operands cannot disagree.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "problems/draw.h"
#include "problems/phrase.h"
#include "problems/problem.h"

namespace planish {

using Frames = std::span<const char* const>;

class Story {
 public:
  Story(Draw* draw, Split split, const ProblemShape& shape);

  Draw& draw() { return *draw_; }
  Slots& slots() { return slots_; }
  int steps() const { return shape_.steps; }
  int digits() const { return shape_.digits; }
  bool is_test() const { return split_ == Split::kTest; }
  // Every sixth frame of a table is for tests, and its last if it is shorter than six.
  static bool IsTestFrame(size_t index, size_t count) {
    return count < 6 ? index + 1 == count : index % 6 == 5;
  }

  // A sentence more, by a frame of the table that belongs to the split.
  void Say(Frames frames);
  // A frame that was already chosen, of its split.
  void SayFrame(const char* frame);
  void AskFrame(const char* frame);
  // The question; sometimes it is put before the story, if its frame has no pronoun.
  void Ask(Frames frames);
  // A part of a sentence, filled in.
  std::string Phrase(Frames frames);
  std::string Fill(std::string_view frame) {
    return gave_up_ ? std::string() : slots_.Fill(frame, draw_);  // slots may be missing then
  }

  // Numbers of the question. The first has the length asked for, later ones at most that; at least 2.
  int64_t Number();
  int64_t NumberBelow(int64_t limit);  // 2 .. limit-1, of at most the length asked for
  int64_t Longest();                   // of just the length asked for
  int64_t Small() { return draw_->Between(2, 9); }
  void Operand(int64_t value) { operands_.push_back(value); }  // shown in the question
  void Key(int64_t value) {
    keys_.push_back(value);
  }  // tells problems apart, but is no number in it

  // One line of the solution, which counts as a step unless `is_step` is false.
  void Line(std::string text, bool is_step = false);
  void Given(std::string_view label, int64_t value, int decimals = 0);
  int64_t Add(std::string_view label, int64_t a, int64_t b, int decimals = 0);
  int64_t Subtract(std::string_view label, int64_t a, int64_t b, int decimals = 0);
  int64_t Multiply(std::string_view label, int64_t a, int64_t b, int decimals = 0);
  int64_t Divide(std::string_view label, int64_t a, int64_t b, int decimals = 0);
  void CountSteps(int n) { done_steps_ += n; }
  int done_steps() const { return done_steps_; }

  void Answer(AnswerType type, std::string answer);
  void AnswerInteger(int64_t value) { Answer(AnswerType::kInteger, std::to_string(value)); }
  void AnswerMoney(int64_t cents) { Answer(AnswerType::kMoney, MoneyText(cents)); }

  // This attempt gives no sensible problem (a negative rest, a number too long): the next one is tried.
  void GiveUp() { gave_up_ = true; }
  bool gave_up() const { return gave_up_; }
  // False if it gave up or is not of the shape asked for.
  bool Finish(Problem* out);

  // New people, all different.
  std::vector<Person> Names(size_t count);

 private:
  const char* Choose(Frames frames);
  bool Fits(int64_t value);

  Draw* draw_;
  Split split_;
  ProblemShape shape_;
  Slots slots_;
  std::vector<std::string> sentences_;
  std::string question_, thinking_, answer_;
  AnswerType answer_type_ = AnswerType::kInteger;
  std::vector<uint64_t> frames_;
  std::vector<int64_t> operands_, keys_;
  int done_steps_ = 0;
  bool asks_first_ = false, gave_up_ = false;
};

}  // namespace planish
