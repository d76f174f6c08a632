// SPDX-License-Identifier: Apache-2.0
#include "data/dialogue.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace planish {
namespace {

Dialogue OfAssistant(const std::string& assistant) {
  return ParseDialogue(R"({"messages":[{"role":"user","content":"q"},)" + assistant + "]}", "x:1");
}

TEST(Dialogue, ReasoningIsFoundInEverySpelling) {
  for (const char* assistant : {
           R"({"role":"assistant","content":"a\n","reasoning_content":"r1\nr2"})",
           R"({"role":"assistant","content":"a\n","reasoning":"\nr1\nr2\n"})",
           R"({"role":"assistant","content":"<think>\nr1\nr2\n</think>\n\na\n"})",
           R"({"role":"assistant","content":" \n<think>r1\nr2</think>a\n"})",
           R"({"role":"assistant","content":"r1\nr2\n</think>\n\na\n"})",
       }) {
    const Dialogue dialogue = OfAssistant(assistant);
    const Json& message = dialogue.messages.AsArray()[1];
    EXPECT_EQ(ReasoningOf(message), "r1\nr2") << assistant;
    EXPECT_EQ(message.Find("content")->AsString(), "a\n") << assistant;
    EXPECT_EQ(message.Find("reasoning"), nullptr);
    EXPECT_TRUE(TrainsReasoning(message));
  }
}

TEST(Dialogue, WithoutReasoningContentStaysAsItIs) {
  for (const char* content : {"a", "", "\n\na <think> b", "  "}) {
    Json message = Json::MakeObject();
    message.Set("role", "assistant");
    message.Set("content", content);
    const Dialogue dialogue = OfAssistant(DumpJson(message));
    EXPECT_EQ(dialogue.messages.AsArray()[1].Find("content")->AsString(), content);
    EXPECT_EQ(ReasoningOf(dialogue.messages.AsArray()[1]), "");
  }
  const Dialogue empty =
      OfAssistant(R"({"role":"assistant","content":"<think>\n\n</think>\n\na"})");
  EXPECT_EQ(ReasoningOf(empty.messages.AsArray()[1]), "");
  EXPECT_EQ(empty.messages.AsArray()[1].Find("content")->AsString(), "a");
  // A user's text is never taken apart.
  const Dialogue user =
      ParseDialogue(R"({"messages":[{"role":"user","content":"x</think>y"}]})", "x:1");
  EXPECT_EQ(user.messages.AsArray()[0].Find("content")->AsString(), "x</think>y");
}

TEST(Dialogue, OptionalMembersAreRead) {
  const Dialogue plain = OfAssistant(R"({"role":"assistant","content":"a"})");
  EXPECT_TRUE(plain.tools.is_null());
  EXPECT_FALSE(plain.enable_thinking.has_value());
  const Dialogue full = ParseDialogue(
      R"({"id":7,"messages":[{"role":"developer","content":"s"}],"tools":[{"type":"function"}],)"
      R"("enable_thinking":false})",
      "x:1");
  EXPECT_EQ(full.tools.AsArray().size(), 1u);
  EXPECT_EQ(full.enable_thinking, std::optional(false));
  EXPECT_TRUE(HasRole(full.messages.AsArray()[0], "system"));
  EXPECT_TRUE(ParseDialogue(R"({"messages":[{"role":"user","content":"s"}],"tools":[]})", "")
                  .tools.is_null());
}

TEST(Dialogue, BadLinesNameTheirPlace) {
  for (const char* text : {
           "",
           "{",
           "[]",
           "7",
           "{}",
           R"({"messages":7})",
           R"({"messages":[]})",
           R"({"messages":[7]})",
           R"({"messages":[{"content":"x"}]})",
           R"({"messages":[{"role":"user","content":7}]})",
           R"({"messages":[{"role":"user","content":"x"}],"tools":7})",
           R"({"messages":[{"role":"user","content":"x"}],"enable_thinking":"yes"})",
           R"({"messages":[{"role":"assistant","tool_calls":[{"name":7}]}]})",
       }) {
    try {
      ParseDialogue(text, "data.jsonl:12");
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kBadFile);
      EXPECT_TRUE(std::string(error.what()).starts_with("data.jsonl:12")) << error.what();
    }
  }
}

}  // namespace
}  // namespace planish
