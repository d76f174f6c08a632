// SPDX-License-Identifier: Apache-2.0
#include "data/thinking_data.h"

#include <gtest/gtest.h>

#include <set>

#include "data/chat_testing.h"

namespace planish {
namespace {

using Result = TruncateThinking::Result;

Dialogue WithReasoning(const std::string& reasoning) {
  Json answer = Json::MakeObject();
  answer.Set("role", "assistant");
  answer.Set("content", "the answer");
  answer.Set("reasoning_content", reasoning);
  Json user = Json::MakeObject();
  user.Set("role", "user");
  user.Set("content", "q");
  Json line = Json::MakeObject();
  line.Set("id", 7);
  line.Set("messages", Json::Array{std::move(user), std::move(answer)});
  return ParseDialogue(DumpJson(line), "line");
}

const Json& LastMessage(const Json& line) { return line.Find("messages")->AsArray().back(); }

TEST(ThinkingData, PairsHaveTheSamePromptInBothModes) {
  const Dialogue dialogue = WithReasoning("r1\nr2");
  Json on, off;
  ASSERT_TRUE(MakeThinkingPair(dialogue, nullptr, &on, &off));
  const Dialogue read_on = ParseDialogue(DumpJson(on), "on");
  const Dialogue read_off = ParseDialogue(DumpJson(off), "off");
  EXPECT_EQ(PromptKey(read_on), PromptKey(read_off));
  EXPECT_EQ(read_on.enable_thinking, std::optional(true));
  EXPECT_EQ(read_off.enable_thinking, std::optional(false));
  EXPECT_EQ(ReasoningOf(read_on.messages.AsArray()[1]), "r1\nr2");
  EXPECT_EQ(ReasoningOf(read_off.messages.AsArray()[1]), "");
  EXPECT_EQ(LastMessage(off).Find("content")->AsString(), "the answer");
  EXPECT_EQ(off.Find("id")->AsInt(), 7);  // other members are carried along

  const Json other = FinalAnswer(ParseDialogue(
      R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"short"}]})",
      ""));
  ASSERT_TRUE(MakeThinkingPair(dialogue, &other, &on, &off));
  EXPECT_EQ(LastMessage(off).Find("content")->AsString(), "short");
  EXPECT_EQ(LastMessage(on).Find("content")->AsString(), "the answer");
  EXPECT_FALSE(MakeThinkingPair(WithReasoning(""), nullptr, &on, &off));
}

TEST(ThinkingData, TracesAreCutWithinBoundsAtNewlinesAndTheAnswerStays) {
  const auto tokenizer = testing::ChatTokenizer();
  std::string reasoning;
  for (int i = 0; i < 60; ++i) reasoning += "Step " + std::to_string(i) + " is done.\n";
  const Dialogue dialogue = WithReasoning(reasoning);
  const TruncateThinking step{40, 120, /*at_newline=*/true, /*fraction=*/1.0, 5};
  std::set<size_t> lengths;
  for (uint64_t line = 0; line < 200; ++line) {
    Json out;
    ASSERT_EQ(step.Apply(*tokenizer, line, dialogue, &out), Result::kTruncated);
    const Dialogue read = ParseDialogue(DumpJson(out), "out");
    const std::string kept = ReasoningOf(read.messages.AsArray()[1]);
    EXPECT_TRUE(reasoning.starts_with(kept + "\n")) << kept;
    EXPECT_EQ(LastMessage(out).Find("content")->AsString(), "the answer");
    EXPECT_FALSE(TrainsReasoning(read.messages.AsArray()[1]));
    EXPECT_EQ(read.enable_thinking, std::optional(true));
    const size_t tokens = tokenizer->Encode(kept).size();
    EXPECT_GE(tokens, 40u);
    EXPECT_LE(tokens, 120u);
    lengths.insert(tokens);
    Json again;
    step.Apply(*tokenizer, line, dialogue, &again);
    EXPECT_EQ(out, again);
  }
  EXPECT_GT(lengths.size(), 5u);
}

TEST(ThinkingData, WithoutANewlineACutEndsWithAFullStopAndWholeCharacters) {
  const auto tokenizer = testing::ChatTokenizer();
  std::string reasoning;
  for (int i = 0; i < 100; ++i) reasoning += "日本語 ü ";
  const Dialogue dialogue = WithReasoning(reasoning);
  for (uint64_t line = 0; line < 50; ++line) {
    Json out;
    const TruncateThinking step{3, 200, /*at_newline=*/true, 1.0, line};
    ASSERT_EQ(step.Apply(*tokenizer, line, dialogue, &out), Result::kTruncated);
    std::string kept = LastMessage(out).Find("reasoning_content")->AsString();
    ASSERT_TRUE(kept.ends_with("."));
    kept.pop_back();
    EXPECT_TRUE(reasoning.starts_with(kept));
    ParseJson(DumpJson(out), "valid UTF-8");
  }
  const TruncateThinking none{0, 0, true, 1.0, 1};
  Json out;
  ASSERT_EQ(none.Apply(*tokenizer, 0, dialogue, &out), Result::kTruncated);
  EXPECT_EQ(LastMessage(out).Find("reasoning_content")->AsString(), "");
}

TEST(ThinkingData, TheFractionIsChosenByLineAndSeed) {
  const auto tokenizer = testing::ChatTokenizer();
  const Dialogue dialogue = WithReasoning("one two three four five six seven eight nine ten");
  const TruncateThinking step{1, 3, true, 0.05, 9};
  size_t truncated = 0;
  for (uint64_t line = 0; line < 4000; ++line) {
    Json out;
    const Result result = step.Apply(*tokenizer, line, dialogue, &out);
    truncated += result == Result::kTruncated;
    if (result == Result::kNotChosen) {
      EXPECT_EQ(out, dialogue.line);
    }
  }
  EXPECT_NEAR(static_cast<double>(truncated), 200, 5 * 13.8);  // five standard deviations
  Json out;
  const TruncateThinking all{1000, 2000, true, 1.0, 9};
  EXPECT_EQ(all.Apply(*tokenizer, 0, dialogue, &out), Result::kTooShort);
  EXPECT_EQ(all.Apply(*tokenizer, 0, WithReasoning(""), &out), Result::kNoReasoning);
}

}  // namespace
}  // namespace planish
