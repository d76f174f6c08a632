// SPDX-License-Identifier: Apache-2.0
#include "problems/story.h"

#include "base/error.h"
#include "base/hash.h"
#include "problems/lexicon.h"
#include "problems/worked.h"

namespace planish {
namespace {

constexpr int64_t kLargest = 999999;  // of any value on the way

int64_t PowerOfTen(int n) {
  int64_t power = 1;
  while (n-- > 0) power *= 10;
  return power;
}

// One number in four of three digits or more are round, as in life.
int64_t Rounded(Draw* draw, int64_t value) {
  if (value < 100 || !draw->Chance(25)) return value;
  const int64_t unit = value < 1000 ? 10 : draw->Chance(50) ? 10 : 100;
  return value / unit * unit;
}

bool HasPronoun(std::string_view frame) {
  for (const std::string_view form : {".he}", ".him}", ".his}", "they", "them", " each", " it ",
                                      " now", "left", " then", "is that"}) {
    if (frame.find(form) != frame.npos) return true;
  }
  return false;
}

}  // namespace

std::vector<Person> Story::Names(size_t count) { return draw_->Several(People(), count); }

Story::Story(Draw* draw, Split split, const ProblemShape& shape)
    : draw_(draw), split_(split), shape_(shape) {
  slots_.voice.is_past = draw->Chance(40);
  slots_.voice.words_up_to = draw->Chance(12) ? (draw->Chance(60) ? 12 : 20) : 0;
  slots_.voice.has_commas = draw->Chance(20);
  asks_first_ = draw->Chance(8);
}

const char* Story::Choose(Frames frames) {
  const size_t n = frames.size();
  size_t count = 0;
  for (size_t i = 0; i < n; ++i) count += IsTestFrame(i, n) == is_test();
  PLANISH_CHECK(count > 0, "no frame of this split: {}", frames[0]);
  size_t chosen = draw_->Index(count);
  for (size_t i = 0; i < n; ++i) {
    if (IsTestFrame(i, n) != is_test() || chosen-- > 0) continue;
    frames_.push_back(Fnv1a(frames[i]));
    return frames[i];
  }
  return frames[0];
}

std::string Story::Phrase(Frames frames) { return Fill(Choose(frames)); }
void Story::Say(Frames frames) { sentences_.push_back(Phrase(frames)); }

void Story::SayFrame(const char* frame) {
  frames_.push_back(Fnv1a(frame));
  sentences_.push_back(Fill(frame));
}

void Story::Ask(Frames frames) {
  AskFrame(Choose(frames));
  frames_.pop_back();  // Choose has noted it
}

void Story::AskFrame(const char* frame) {
  frames_.push_back(Fnv1a(frame));
  question_ = Fill(frame);
  if (HasPronoun(frame)) asks_first_ = false;
}

int64_t Story::Longest() {
  const int64_t low = shape_.digits == 2 ? 10 : PowerOfTen(shape_.digits - 1);
  const int64_t value = Rounded(draw_, draw_->Between(low, PowerOfTen(shape_.digits) - 1));
  operands_.push_back(value);
  return value;
}

int64_t Story::Number() {
  if (operands_.empty() && shape_.digits > 2) return Longest();
  int digits = shape_.digits;
  while (digits > 1 && draw_->Chance(30)) --digits;
  const int64_t low = digits == 1 ? 2 : PowerOfTen(digits - 1);
  const int64_t value = Rounded(draw_, draw_->Between(low, PowerOfTen(digits) - 1));
  operands_.push_back(value);
  return value;
}

int64_t Story::NumberBelow(int64_t limit) {
  if (limit <= 2) {
    GiveUp();
    return 1;
  }
  int digits = std::min(shape_.digits, DigitCount(limit - 1));
  while (digits > 1 && draw_->Chance(30)) --digits;
  const int64_t low = digits == 1 ? 2 : PowerOfTen(digits - 1);
  const int64_t high = std::min(limit - 1, PowerOfTen(digits) - 1);
  int64_t value = Rounded(draw_, draw_->Between(low, high));
  if (value < 2 || value >= limit) value = draw_->Between(2, limit - 1);
  operands_.push_back(value);
  return value;
}

void Story::Line(std::string text, bool is_step) {
  thinking_ += std::move(text);
  thinking_ += '\n';
  done_steps_ += is_step;
}

bool Story::Fits(int64_t value) {
  if (value >= 0 && value <= kLargest) return true;
  GiveUp();
  return false;
}

void Story::Given(std::string_view label, int64_t value, int decimals) {
  if (Fits(value)) Line(fmt::format("{} {}", label, DecimalText(value, decimals)));
}

int64_t Story::Add(std::string_view label, int64_t a, int64_t b, int decimals) {
  if (!Fits(a) || !Fits(b) || !Fits(a + b)) return 0;
  Line(fmt::format("{}: {}", label, WorkedSum(a, b, decimals)), true);
  return a + b;
}

int64_t Story::Subtract(std::string_view label, int64_t a, int64_t b, int decimals) {
  if (!Fits(a) || !Fits(b) || !Fits(a - b)) return 0;
  Line(fmt::format("{}: {}", label, WorkedDifference(a, b, decimals)), true);
  return a - b;
}

int64_t Story::Multiply(std::string_view label, int64_t a, int64_t b, int decimals) {
  if (!Fits(a) || !Fits(b) || a == 0 || b == 0 || !Fits(a * b)) {
    GiveUp();
    return 0;
  }
  if (decimals == 0 && a < b) std::swap(a, b);
  Line(fmt::format("{}: {}", label, WorkedProduct(a, b, decimals)), true);
  return a * b;
}

int64_t Story::Divide(std::string_view label, int64_t a, int64_t b, int decimals) {
  if (!Fits(a) || b < 1 || a % b != 0) {
    GiveUp();
    return 0;
  }
  Line(fmt::format("{}: {}", label, WorkedQuotient(a, b, decimals)), true);
  return a / b;
}

void Story::Answer(AnswerType type, std::string answer) {
  answer_type_ = type;
  answer_ = std::move(answer);
}

bool Story::Finish(Problem* out) {
  if (gave_up_ || done_steps_ != shape_.steps) return false;
  int digits = 2;
  for (const int64_t value : operands_) digits = std::max(digits, DigitCount(value));
  if (digits != shape_.digits) return false;
  std::string text;
  if (asks_first_ && sentences_.size() > 0) text = question_;
  for (const std::string& sentence : sentences_) text += (text.empty() ? "" : " ") + sentence;
  if (!asks_first_ || sentences_.empty()) text += (text.empty() ? "" : " ") + question_;
  out->question = WithCapitals(std::move(text));
  out->thinking = thinking_ + "answer: " + answer_;
  out->reply = "The answer is " + answer_ + ".";
  out->answer = answer_;
  out->answer_type = answer_type_;
  out->shape = shape_;
  out->frames = frames_;
  out->operands = operands_;
  out->operands.insert(out->operands.end(), keys_.begin(), keys_.end());
  return true;
}

}  // namespace planish
