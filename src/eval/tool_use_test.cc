// SPDX-License-Identifier: Apache-2.0
#include "eval/tool_use.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/testing.h"
#include "problems/tool_dialogues.h"

namespace planish {
namespace {

const Json& Tools() {
  static const Json tools = ParseJson(
      R"([{"type": "function", "function": {"name": "weather", "parameters": {"type": "object",
          "properties": {"city": {"type": "string"}, "days": {"type": "integer", "default": 1},
                         "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
          "required": ["city"], "additionalProperties": false}}},
          {"type": "function", "function": {"name": "clock", "parameters": {"type": "object",
          "properties": {}}}}])",
      "tools");
  return tools;
}

TEST(ToolUse, CallsCompareByWhatTheySay) {
  const struct {
    const char* found;
    const char* key;
    bool same;
  } kPairs[] = {
      {R"({"city": "Rome"})", R"({"city": "Rome"})", true},
      {R"({"city": "  rome "})", R"({"city": "Rome"})", true},
      {R"({"unit": "celsius", "city": "Rome"})", R"({"city": "Rome", "unit": "celsius"})", true},
      {R"({"city": "Rome", "days": 2.0})", R"({"city": "Rome", "days": 2})", true},
      {R"({"city": "Rome", "days": 1})", R"({"city": "Rome"})", true},
      {R"({"city": "Rome"})", R"({"city": "Rome", "days": 1})", true},
      {R"({"city": "Rome", "days": 2})", R"({"city": "Rome"})", false},
      {R"({"city": "Rome"})", R"({"city": "Rome", "unit": "celsius"})", false},
      {R"({"city": "Roma"})", R"({"city": "Rome"})", false},
      {R"({"city": "Rome", "mood": "good"})", R"({"city": "Rome"})", false},
      {R"({})", R"({"city": "Rome"})", false},
      {R"([])", R"({"city": "Rome"})", false},
      {R"({"city": "Rome")", R"({"city": "Rome"})", false}};
  for (const auto& pair : kPairs)
    EXPECT_EQ(SameCall({"weather", pair.found}, {"weather", pair.key}, Tools()), pair.same)
        << pair.found << " against " << pair.key;
  EXPECT_FALSE(SameCall({"clock", "{}"}, {"weather", "{}"}, Tools()));
  EXPECT_TRUE(SameCall({"clock", ""}, {"clock", "{}"}, Tools()));
}

class ToolUseTask : public ::testing::Test {
 protected:
  // The one item of a row with these calls.
  EvalItem Item(const std::string& calls) {
    WriteFile(dir_ / "t.jsonl", R"({"question": "How is it?", "tools": )" + DumpJson(Tools()) +
                                    R"(, "calls": )" + DumpJson(ParseJson(calls, "calls")) + "}\n");
    return task_->Items({.data = dir_ / "t.jsonl"})[0];
  }
  Verdict Check(const EvalItem& item, const std::string& answer) {
    const std::vector<TextReply> replies = {{.text = answer, .answer = answer}};
    return task_->Check(item, replies);
  }
  testing::TemporaryDir dir_;
  std::unique_ptr<Task> task_ = MakeToolUse();
};

TEST_F(ToolUseTask, AnswersAreJudgedByTheirCalls) {
  const EvalItem one = Item(R"([{"name": "weather", "arguments": {"city": "Rome"}}])");
  const EvalItem two = Item(R"([{"name": "weather", "arguments": {"city": "Rome"}},
                                {"name": "clock"}])");
  const EvalItem none = Item("[]");
  const char* kRome =
      R"(<TOOLCALL>[{"name": "weather", "arguments": {"city": "Rome"}}]</TOOLCALL>)";
  const char* kClockRome =
      R"(<TOOLCALL>[{"name": "clock", "arguments": {}}, {"name": "weather", "arguments": {"city": "Rome"}}]</TOOLCALL>)";
  EXPECT_EQ(Check(one, kRome).score, 1);
  EXPECT_EQ(
      Check(one, R"(<tool_call>{"name": "weather", "arguments": {"city": "Rome"}}</tool_call>)")
          .score,
      1);
  EXPECT_EQ(Check(one, "It is sunny.").reason, "no call");
  EXPECT_EQ(Check(one, kClockRome).reason, "wrong tools");
  EXPECT_EQ(
      Check(one, R"(<TOOLCALL>[{"name": "weather", "arguments": {"city": "Oslo"}}]</TOOLCALL>)")
          .reason,
      "wrong arguments");
  EXPECT_EQ(Check(two, kClockRome).score, 1);  // in any order
  EXPECT_EQ(Check(two, kRome).score, 0);
  EXPECT_EQ(Check(none, "Hello!").score, 1);
  EXPECT_EQ(Check(none, kRome).reason, "a call, where none is needed");
  for (const char* broken :
       {R"(<TOOLCALL>[{"name": "weather", "arguments": {"days": 2}}]</TOOLCALL>)",
        R"(<TOOLCALL>[{"name": "weather", "arguments": {"city": 7}}]</TOOLCALL>)",
        R"(<TOOLCALL>[{"name": "snow", "arguments": {}}]</TOOLCALL>)",
        R"(<TOOLCALL>[{"name": "weather", "arguments": {"city": "Ro)"}) {
    const Verdict verdict = Check(one, broken);
    EXPECT_EQ(verdict.score, 0) << broken;
    EXPECT_FALSE(verdict.has_answer) << broken;
    ASSERT_EQ(verdict.metrics[0].first, "schema_valid") << broken;
    EXPECT_EQ(verdict.metrics[0].second, 0) << broken;
  }
}

TEST_F(ToolUseTask, RowsThatBreakTheirOwnSchemaAreRefused) {
  EXPECT_THROW(Item(R"([{"name": "snow", "arguments": {}}])"), Error);
  EXPECT_THROW(Item(R"([{"name": "weather", "arguments": "Rome"}])"), Error);
  EXPECT_THROW(Item(R"([{"name": "weather", "arguments": {"city": 1}}])"), Error);
  EXPECT_THROW(Item(R"([{"arguments": {}}])"), Error);
}

TEST_F(ToolUseTask, MadeDialoguesAcceptTheirOwnCalls) {
  const std::vector<EvalItem> items = task_->Items({.seed = 3, .limit = 60});
  ASSERT_EQ(items.size(), 60u);
  size_t without_call = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    const ToolDialogue dialogue = MakeToolDialogue(3, i, Split::kTest, /*thinks=*/true);
    without_call += dialogue.calls.empty();
    const std::string answer = dialogue.calls.empty()
                                   ? "Hello."
                                   : PrintToolCalls(dialogue.calls, ToolFormat::kToolcallList);
    const Verdict verdict = Check(items[i], answer);
    EXPECT_EQ(verdict.score, 1) << items[i].question << "\n" << answer << "\n" << verdict.reason;
  }
  EXPECT_GT(without_call, 0u);
  EXPECT_LT(without_call, 40u);
}

}  // namespace
}  // namespace planish
