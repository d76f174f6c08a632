// SPDX-License-Identifier: Apache-2.0
#include "problems/tool_dialogues.h"

#include <gtest/gtest.h>

#include <set>

#include "problems/drills.h"
#include "problems/problem_rows.h"
#include "problems/small_talk.h"
#include "text/demo_tools.h"

namespace planish {
namespace {

std::string FirstQuestion(const ToolDialogue& dialogue) {
  return dialogue.messages.AsArray()[0].Find("content")->AsString();
}

TEST(ToolDialogues, CallsAreValidAndAnsweredByTheRealTools) {
  size_t calls = 0, without = 0, two = 0, errors = 0;
  for (uint64_t i = 0; i < 2000; ++i) {
    const ToolDialogue dialogue =
        MakeToolDialogue(7, i, i % 2 ? Split::kTest : Split::kTrain, true);
    without += dialogue.calls.empty();
    two += dialogue.calls.size() == 2;
    size_t results = 0;
    for (const Json& message : dialogue.messages.AsArray()) {
      if (const Json* list = message.Find("tool_calls")) {
        for (const Json& call : list->AsArray()) {
          const Json& function = *call.Find("function");
          const ToolCall made{.name = function.Find("name")->AsString(),
                              .arguments = function.Find("arguments")->AsString()};
          EXPECT_EQ(CheckToolCall(made, dialogue.tools), "");
          // The reasoning names what the call gets.
          const Json arguments = ParseJson(made.arguments, "arguments");
          for (const auto& [key, value] : arguments.AsObject())
            EXPECT_NE(message.Find("reasoning_content")->AsString().find(value.AsString()),
                      std::string::npos);
          ++calls;
        }
      }
      if (message.Find("role")->AsString() == "tool") {
        ++results;
        errors += ParseJson(message.Find("content")->AsString(), "result").Find("error") != nullptr;
      }
    }
    EXPECT_GE(results, dialogue.calls.size());
    EXPECT_EQ(dialogue.messages.AsArray().back().Find("role")->AsString(), "assistant");
  }
  EXPECT_GT(calls, 1800u);
  EXPECT_GT(without, 150u);
  EXPECT_GT(two, 100u);
  EXPECT_GT(errors, 100u);  // places the tool does not know
}

TEST(ToolDialogues, TestsShareNoRequestWithTraining) {
  std::set<std::string> train;
  for (uint64_t i = 0; i < 20000; ++i)
    train.insert(NormalizedText(FirstQuestion(MakeToolDialogue(1, i, Split::kTrain, false))));
  for (uint64_t i = 0; i < 2000; ++i) {
    const std::string question = FirstQuestion(MakeToolDialogue(2, i, Split::kTest, false));
    EXPECT_FALSE(train.contains(NormalizedText(question))) << question;
  }
}

TEST(ToolDialogues, ThinkingChangesNothingElse) {
  for (uint64_t i = 0; i < 50; ++i) {
    const ToolDialogue on = MakeToolDialogue(3, i, Split::kTrain, true);
    const ToolDialogue off = MakeToolDialogue(3, i, Split::kTrain, false);
    EXPECT_EQ(on.calls, off.calls);
    EXPECT_EQ(on.tools, off.tools);
    ASSERT_EQ(on.messages.AsArray().size(), off.messages.AsArray().size());
    EXPECT_EQ(*on.messages.AsArray().back().Find("content"),
              *off.messages.AsArray().back().Find("content"));
    EXPECT_EQ(off.messages.AsArray()[1].Find("reasoning_content"), nullptr);
  }
}

TEST(SmallTalk, TestsShareNoQuestionWithTraining) {
  std::set<std::string> train;
  Draw draw(5, 0);
  for (int i = 0; i < 20000; ++i)
    train.insert(NormalizedText(MakeSmallTalk(&draw, Split::kTrain).question));
  for (int i = 0; i < 2000; ++i) {
    const SmallTalk talk = MakeSmallTalk(&draw, Split::kTest);
    EXPECT_FALSE(train.contains(NormalizedText(talk.question))) << talk.question;
    EXPECT_FALSE(talk.answer.empty());
  }
}

TEST(Drills, DocumentsAreAFunctionOfSeedAndIndex) {
  std::set<std::string> seen;
  for (uint64_t i = 0; i < 500; ++i) {
    EXPECT_EQ(DrillRow(9, i), DrillRow(9, i));
    seen.insert(DrillRow(9, i));
  }
  EXPECT_GT(seen.size(), 490u);
}

}  // namespace
}  // namespace planish
