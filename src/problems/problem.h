// SPDX-License-Identifier: Apache-2.0
// A made-up task in words with its worked solution. Problem i of a seed is a pure function of (seed, i, split, shape), so
// threads and order do not matter. Test problems share neither a sentence frame nor an operand tuple with training problems:
// every table of frames gives one in six to the test split, and one of sixteen hash classes of the operands is test only.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace planish {

enum class Skill : uint8_t {
  kAddSubtract,
  kMultiplyDivide,
  kMixed,
  kMoney,
  kPercent,
  kFraction,
  kCalendar,
  kUnits,
  kOrdering,
  kSequence,
  kLogic,
  kLetters,
};
inline constexpr size_t kSkillCount = 12;
const char* SkillName(Skill skill);  // "add_subtract", ...

enum class AnswerType : uint8_t {
  kInteger,   // 132
  kDecimal,   // 4.5
  kMoney,     // $4.50, $12
  kFraction,  // 3/4
  kTime,      // 14:35
  kDate,      // March 5
  kWord,      // Tuesday
  kYesNo,     // yes
  kList,      // Anna, Tom, Eva
};
const char* AnswerTypeName(AnswerType type);  // "integer", ..., "yes_no"

enum class Split : uint8_t { kTrain, kTest };

inline constexpr int kMaxSteps = 8;

// What is asked of the generator.
struct ProblemShape {
  Skill skill = Skill::kAddSubtract;
  int steps = 1;   // operations of the solution, 1..8
  int digits = 2;  // of the longest number: 2 (one or two), 3 or 4

  bool operator==(const ProblemShape&) const = default;
};

struct Problem {
  std::string question;
  std::string thinking;  // lines; the last is "answer: X"
  std::string reply;     // ends with "The answer is X."
  std::string answer;    // X, in the canonical spelling of its type
  AnswerType answer_type = AnswerType::kInteger;
  ProblemShape shape;
  std::vector<uint64_t> frames;   // hashes of the sentence frames used
  std::vector<int64_t> operands;  // what tells problems of one wording apart
};

Problem MakeProblem(uint64_t seed, uint64_t index, Split split, const ProblemShape& shape);

// One of 16 classes of an operand tuple; class 0 is for test problems only.
uint64_t OperandClass(Skill skill, const std::vector<int64_t>& operands);
inline constexpr uint64_t kOperandClasses = 16;

}  // namespace planish
