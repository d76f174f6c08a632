// SPDX-License-Identifier: Apache-2.0
#include "problems/generator.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/hash.h"
#include "problems/skills.h"

namespace planish {
namespace {

// Streams of random numbers of one seed; problem i takes one stream an attempt.
constexpr uint64_t kShapeStream = uint64_t{1} << 62;
constexpr uint64_t kAttempts = 1u << 14;

using SkillFunction = void (*)(Story*);
constexpr SkillFunction kSkills[kSkillCount] = {
    AddSubtractProblem, MultiplyDivideProblem, MixedProblem,    MoneyProblem,
    PercentProblem,     FractionProblem,       CalendarProblem, UnitsProblem,
    OrderingProblem,    SequenceProblem,       LogicProblem,    LettersProblem};

// A seed of its own for each split and skill, so that equal indices are not equal stories.
uint64_t SeedOf(uint64_t seed, Split split, Skill skill) {
  return Philox(seed, 0x50524F424C454D53u,
                static_cast<uint64_t>(split) * 256 + static_cast<uint64_t>(skill))[0] |
         (seed << 32);
}

template <size_t N>
int ByWeight(Draw* draw, const std::array<int, N>& weights) {
  int64_t sum = 0;
  for (const int weight : weights) sum += weight;
  int64_t left = draw->Between(0, sum - 1);
  for (size_t i = 0; i < N; ++i) {
    if ((left -= weights[i]) < 0) return static_cast<int>(i);
  }
  return 0;
}

// Mixed problems need two operations.
ProblemShape WithLeastSteps(ProblemShape shape) {
  if (shape.skill == Skill::kMixed) shape.steps = std::max(shape.steps, 2);
  return shape;
}

}  // namespace

const char* SkillName(Skill skill) {
  static constexpr const char* kNames[kSkillCount] = {
      "add_subtract", "multiply_divide", "mixed",    "money",    "percent", "fraction",
      "calendar",     "units",           "ordering", "sequence", "logic",   "letters"};
  return kNames[static_cast<size_t>(skill)];
}

const char* AnswerTypeName(AnswerType type) {
  static constexpr const char* kNames[] = {"integer", "decimal", "money",  "fraction", "time",
                                           "date",    "word",    "yes_no", "list"};
  return kNames[static_cast<size_t>(type)];
}

uint64_t OperandClass(Skill skill, const std::vector<int64_t>& operands) {
  uint64_t hash = 0xCBF29CE484222325u ^ static_cast<uint64_t>(skill);
  for (const int64_t operand : operands)
    hash = Philox(hash, 1, static_cast<uint64_t>(operand))[0] | (hash << 32);
  return Philox(hash, 2, 0)[0] % kOperandClasses;
}

Problem MakeProblem(uint64_t seed, uint64_t index, Split split, const ProblemShape& shape) {
  const uint64_t own_seed = SeedOf(seed, split, shape.skill);
  Problem problem;
  for (uint64_t attempt = 0; attempt < kAttempts; ++attempt) {
    Draw draw(own_seed, index * kAttempts + attempt);
    Story story(&draw, split, shape);
    kSkills[static_cast<size_t>(shape.skill)](&story);
    if (!story.Finish(&problem)) continue;
    const bool is_test_class = OperandClass(shape.skill, problem.operands) == 0;
    if (is_test_class == (split == Split::kTest)) return problem;
  }
  PLANISH_CHECK(false, "no {} problem of {} steps and {} digits", SkillName(shape.skill),
                shape.steps, shape.digits);
  return problem;
}

ProblemShape ShapeOf(uint64_t seed, uint64_t index, Mix mix) {
  Draw draw(seed, kShapeStream + index);
  ProblemShape shape;
  if (mix == Mix::kTest) {
    shape.skill = static_cast<Skill>(index % kSkillCount);
    // A walk over the 200 cells of steps (20) and digits (10), shifted per skill; 97 is prime to 200.
    const uint64_t cell = (index / kSkillCount * 97 + index % kSkillCount * 31 + seed % 200) % 200;
    const uint64_t steps = cell % 20, digits = cell / 20;
    shape.steps = static_cast<int>(steps < 8    ? draw.Between(1, 2)
                                   : steps < 15 ? draw.Between(3, 4)
                                                : draw.Between(5, kMaxSteps));
    shape.digits = digits < 5 ? 2 : digits < 8 ? 3 : 4;
    return WithLeastSteps(shape);
  }
  shape.skill = static_cast<Skill>(draw.Index(kSkillCount));
  if (mix == Mix::kEasy) {
    shape.steps = 1 + ByWeight<3>(&draw, {5, 3, 2});
    shape.digits = 2 + ByWeight<3>(&draw, {8, 1, 1});
  } else {
    shape.steps = 1 + ByWeight<8>(&draw, {20, 20, 18, 15, 9, 7, 6, 5});
    shape.digits = 2 + ByWeight<3>(&draw, {50, 30, 20});
  }
  return WithLeastSteps(shape);
}

}  // namespace planish
