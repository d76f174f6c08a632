// SPDX-License-Identifier: Apache-2.0
#include "problems/generator.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <unordered_set>

#include "base/error.h"
#include "base/hash.h"
#include "problems/problem_rows.h"
#include "problems/statements_testing.h"
#include "problems/worked.h"

namespace planish {
namespace {

Problem TestProblem(uint64_t seed, uint64_t i) {
  return MakeProblem(seed, i, Split::kTest, ShapeOf(seed, i, Mix::kTest));
}
Problem TrainProblem(uint64_t seed, uint64_t i, Mix mix = Mix::kFull) {
  return MakeProblem(seed, i, Split::kTrain, ShapeOf(seed, i, mix));
}

// The test problems were fixed before training began. A change of the generator that changes them changes what published
// figures mean: it needs new figures and a new hash.
TEST(ProblemGenerator, TestProblemsAreTheFrozenOnes) {
  std::string rows;
  for (uint64_t i = 0; i < 2400; ++i) rows += TestRow(TestProblem(1, i)) + "\n";
  EXPECT_EQ(Sha256Hex(rows), "1a3202f92ac9bc2defd4a590d6b54c861560a8957264f43c5a0af5f4933de8e3");
}

TEST(ProblemGenerator, TestMixIsExact) {
  std::map<std::string, int> counts;
  for (uint64_t i = 0; i < 2400; ++i) {
    const ProblemShape shape = ShapeOf(9, i, Mix::kTest);
    ++counts[SkillName(shape.skill)];
    ++counts[shape.steps <= 2 ? "short" : shape.steps <= 4 ? "middle" : "long"];
    ++counts["digits " + std::to_string(shape.digits)];
    counts[fmt::format("{} short", SkillName(shape.skill))] += shape.steps <= 2;
    EXPECT_EQ(shape, ShapeOf(9, i, Mix::kTest));
  }
  for (size_t skill = 0; skill < kSkillCount; ++skill) {
    EXPECT_EQ(counts[SkillName(static_cast<Skill>(skill))], 200);
    EXPECT_EQ(counts[fmt::format("{} short", SkillName(static_cast<Skill>(skill)))], 80);
  }
  EXPECT_EQ(counts["short"], 960);
  EXPECT_EQ(counts["middle"], 840);
  EXPECT_EQ(counts["long"], 600);
  EXPECT_EQ(counts["digits 2"], 1200);
  EXPECT_EQ(counts["digits 3"], 720);
  EXPECT_EQ(counts["digits 4"], 480);
}

// Every skill at every number of steps and digits, in both splits: the shape asked for comes out.
TEST(ProblemGenerator, EveryShapeCanBeMade) {
  for (size_t skill = 0; skill < kSkillCount; ++skill) {
    for (int steps = 1; steps <= kMaxSteps; ++steps) {
      for (int digits = 2; digits <= 4; ++digits) {
        const ProblemShape shape{static_cast<Skill>(skill), steps, digits};
        if (shape.skill == Skill::kMixed && steps == 1) continue;
        for (const Split split : {Split::kTrain, Split::kTest}) {
          const Problem problem = MakeProblem(3, 0, split, shape);
          EXPECT_EQ(problem.shape, shape);
          EXPECT_FALSE(problem.question.empty());
        }
      }
    }
  }
}

TEST(ProblemGenerator, TestAndTrainingShareNoFrameNoOperandsAndNoText) {
  std::unordered_set<uint64_t> train_frames, train_texts;
  std::set<std::pair<Skill, std::vector<int64_t>>> train_operands;
  for (uint64_t i = 0; i < 30000; ++i) {
    const Problem problem = TrainProblem(2, i, i % 4 == 0 ? Mix::kEasy : Mix::kFull);
    train_frames.insert(problem.frames.begin(), problem.frames.end());
    train_texts.insert(Fnv1a(NormalizedText(problem.question)));
    train_operands.emplace(problem.shape.skill, problem.operands);
  }
  std::unordered_set<uint64_t> test_frames, test_texts;
  for (uint64_t i = 0; i < 4800; ++i) {
    const Problem problem = TestProblem(2, i);
    for (const uint64_t frame : problem.frames) {
      test_frames.insert(frame);
      ASSERT_FALSE(train_frames.contains(frame)) << problem.question;
    }
    ASSERT_FALSE(train_texts.contains(Fnv1a(NormalizedText(problem.question)))) << problem.question;
    ASSERT_FALSE(train_operands.contains({problem.shape.skill, problem.operands}))
        << problem.question;
    test_texts.insert(Fnv1a(NormalizedText(problem.question)));
  }
  EXPECT_GE(train_frames.size() + test_frames.size(), 300u);
  EXPECT_GE(test_frames.size(), 60u);
  EXPECT_GE(test_texts.size(), 4700u);  // little repetition inside the test either
  RecordProperty("frames", static_cast<int>(train_frames.size() + test_frames.size()));
}

// Traces and answers agree, every statement of arithmetic holds, and texts are clean.
TEST(ProblemGenerator, TracesAreTrueAndEndInTheAnswer) {
  size_t statements = 0;
  for (uint64_t i = 0; i < 20000; ++i) {
    const Problem problem = i % 8 == 0 ? TestProblem(4, i) : TrainProblem(4, i);
    ASSERT_EQ(testing::FalseStatement(problem.thinking, &statements), "") << problem.thinking;
    const size_t last = problem.thinking.rfind('\n');
    ASSERT_NE(last, std::string::npos);
    ASSERT_EQ(problem.thinking.substr(last), "\nanswer: " + problem.answer);
    ASSERT_EQ(problem.reply, "The answer is " + problem.answer + ".");
    // What the last step comes to is the answer. Letters and logic end in words or in counts further up.
    const bool is_number =
        problem.answer_type == AnswerType::kInteger || problem.answer_type == AnswerType::kMoney;
    if (is_number && problem.shape.skill != Skill::kLetters &&
        problem.shape.skill != Skill::kLogic) {
      const std::string before = problem.thinking.substr(0, last);
      const std::string value = before.substr(before.find_last_not_of("0123456789.") + 1);
      const std::string answer = problem.answer.substr(problem.answer[0] == '$');
      ASSERT_EQ(testing::Hundredths(value), testing::Hundredths(answer)) << problem.thinking;
    }
    for (const std::string& text : {problem.question, problem.thinking}) {
      ASSERT_EQ(text.find_first_of("{}|"), std::string::npos) << text;
      ASSERT_EQ(text.find("  "), std::string::npos) << text;
      const size_t stop = text.find(" .");
      ASSERT_TRUE(stop == text.npos || text.substr(stop, 4) == " ...") << text;
    }
    const char first = problem.question[0], end = problem.question.back();
    ASSERT_TRUE((first >= 'A' && first <= 'Z') || (first >= '0' && first <= '9') || first == '$' ||
                first == '"')
        << problem.question;
    ASSERT_TRUE(end == '?' || end == '.') << problem.question;
    ASSERT_LT(problem.question.size(), 1200u);
    ASSERT_LT(problem.thinking.size(), 1500u);
  }
  EXPECT_GT(statements, 100000u);
}

TEST(ProblemGenerator, IsAPureFunctionOfSeedAndIndex) {
  EXPECT_EQ(ChatRow(TrainProblem(5, 17), true), ChatRow(TrainProblem(5, 17), true));
  EXPECT_NE(TrainProblem(5, 17).question, TrainProblem(5, 18).question);
  EXPECT_NE(TrainProblem(5, 17).question, TrainProblem(6, 17).question);
  // Far apart in number, and large seeds.
  EXPECT_NE(TrainProblem(~uint64_t{0}, 1 << 30).question,
            TrainProblem(~uint64_t{0} - 1, 1 << 30).question);
}

}  // namespace
}  // namespace planish
