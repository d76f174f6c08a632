// SPDX-License-Identifier: Apache-2.0
// A tiny hybrid of random weights with the chat template of planish-nano: what it writes is nonsense, but limits, budgets and
// independence of the batch show on nonsense as well.
#include "eval/engine_generator.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/testing.h"

namespace planish {
namespace {

using testing::TemporaryDir;

class EngineGeneratorTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TemporaryDir>();
    const std::string source = PLANISH_SOURCE_DIR "/tests/golden/models/nemotron_h_a";
    for (const std::string& name : testing::Listing(source))
      std::filesystem::copy_file(source + "/" + name, *folder_ / name);
    std::filesystem::copy_file(PLANISH_SOURCE_DIR "/recipes/planish_nano/chat_template.jinja",
                               *folder_ / "chat_template.jinja");
    opened_ = std::make_unique<Pretrained>(OpenPretrained(folder_->path()));
  }
  static void TearDownTestSuite() {
    opened_.reset();
    folder_.reset();
  }

  static std::vector<TextRequest> Questions(size_t count) {
    std::vector<TextRequest> requests(count);
    for (size_t i = 0; i < count; ++i) {
      std::string question = "What is";
      for (size_t word = 0; word < i; ++word) question += " plus " + std::to_string(word * i);
      requests[i].messages = Json::Array{Json::Object{{"role", "user"}, {"content", question}}};
      requests[i].answer_tokens = 6 + i % 3;
      requests[i].temperature = i % 2 == 0 ? 0 : 0.9;
      requests[i].seed = i;
    }
    return requests;
  }
  static std::vector<TextReply> Answers(const std::vector<TextRequest>& requests,
                                        const ThinkingSetting& thinking, size_t batch,
                                        size_t context = 256) {
    EngineGenerator generator(opened_.get(), {.batch = batch, .context = context});
    std::vector<TextReply> replies(requests.size());
    size_t done = 0;
    generator.Run(requests, thinking, [&](size_t index, TextReply reply) {
      replies[index] = std::move(reply);
      ++done;
    });
    EXPECT_EQ(done, requests.size());
    return replies;
  }

  // All the tokens it may have, unless it ended by itself. Tokens before the first whole character do not count.
  static void ExpectWholeAnswer(const TextReply& reply, const TextRequest& request) {
    const size_t tokens = reply.tokens - reply.reasoning_tokens;
    EXPECT_LE(tokens, request.answer_tokens + 3);
    if (reply.is_cut) {
      EXPECT_GE(tokens, request.answer_tokens);
    }
  }

  static std::unique_ptr<TemporaryDir> folder_;
  static std::unique_ptr<Pretrained> opened_;
};
std::unique_ptr<TemporaryDir> EngineGeneratorTest::folder_;
std::unique_ptr<Pretrained> EngineGeneratorTest::opened_;

TEST_F(EngineGeneratorTest, TheBatchChangesNothing) {
  const std::vector<TextRequest> requests = Questions(7);
  for (const ThinkingSetting thinking : {ThinkingSetting{0}, ThinkingSetting{9}}) {
    const std::vector<TextReply> alone = Answers(requests, thinking, 1);
    for (const size_t batch : {2, 8}) {
      const std::vector<TextReply> together = Answers(requests, thinking, batch);
      for (size_t i = 0; i < requests.size(); ++i) {
        EXPECT_EQ(together[i].text, alone[i].text) << "batch " << batch << ", request " << i;
        EXPECT_EQ(together[i].tokens, alone[i].tokens);
        EXPECT_EQ(together[i].end, alone[i].end);
      }
    }
  }
}

TEST_F(EngineGeneratorTest, OffHasNoReasoningAndEndsAtTheAnswersLimit) {
  for (const TextReply& reply : Answers(Questions(3), {0}, 3)) {
    EXPECT_TRUE(reply.reasoning.empty());
    EXPECT_EQ(reply.reasoning_tokens, 0u);
    EXPECT_EQ(reply.end, ReasoningEnd::kNone);
    EXPECT_LE(reply.tokens, 8u);
    EXPECT_TRUE(reply.is_cut || reply.tokens < 8);
  }
}

TEST_F(EngineGeneratorTest, ABudgetClosesTheReasoningAndLeavesTheAnswerWhole) {
  const std::vector<TextRequest> requests = Questions(4);
  const std::vector<TextReply> replies = Answers(requests, {9}, 4);
  size_t closed = 0;
  for (size_t i = 0; i < replies.size(); ++i) {
    // Random weights do not write closing tags: every reasoning is closed for them, unless the text ended before.
    if (replies[i].end == ReasoningEnd::kUnclosed) continue;
    ++closed;
    EXPECT_EQ(replies[i].end, ReasoningEnd::kBudget);
    EXPECT_NE(replies[i].text.find("</think>"), std::string::npos);
    EXPECT_FALSE(replies[i].reasoning.empty());
    EXPECT_GE(replies[i].reasoning_tokens, 9u);
    EXPECT_LE(replies[i].reasoning_tokens, 9u + 16 + 16);
    ExpectWholeAnswer(replies[i], requests[i]);
  }
  EXPECT_GT(closed, 0u);
}

TEST_F(EngineGeneratorTest, WithoutABudgetTheContextIsFilledUpToTheAnswer) {
  const std::vector<TextRequest> requests = Questions(4);
  const std::vector<TextReply> replies = Answers(requests, {-1}, 2, 128);
  size_t closed = 0;
  for (size_t i = 0; i < replies.size(); ++i) {
    if (replies[i].end == ReasoningEnd::kUnclosed) continue;
    ++closed;
    EXPECT_EQ(replies[i].end, ReasoningEnd::kReserve);
    EXPECT_LE(replies[i].prompt_tokens + replies[i].tokens, 128u);
    EXPECT_GT(replies[i].reasoning_tokens, 30u);
    ExpectWholeAnswer(replies[i], requests[i]);
  }
  EXPECT_GT(closed, 0u);
}

TEST_F(EngineGeneratorTest, AStopStringCutsTheAnswerOnly) {
  std::vector<TextRequest> requests = Questions(1);
  requests[0].answer_tokens = 24;
  const TextReply free = Answers(requests, {9}, 1)[0];
  ASSERT_GT(free.answer.size(), 8u);
  requests[0].stop = {free.answer.substr(4, 3), "never written"};
  const TextReply cut = Answers(requests, {9}, 1)[0];
  EXPECT_EQ(cut.reasoning, free.reasoning);
  EXPECT_EQ(cut.answer, free.answer.substr(0, free.answer.find(requests[0].stop[0])));
  EXPECT_FALSE(cut.is_cut);
  EXPECT_LT(cut.tokens, free.tokens);
}

TEST_F(EngineGeneratorTest, APromptWithoutRoomIsToldAndNotCut) {
  std::vector<TextRequest> requests = Questions(2);
  requests[0].answer_tokens = 200;
  const std::vector<TextReply> replies = Answers(requests, {0}, 2, 64);
  EXPECT_TRUE(replies[0].is_too_long);
  EXPECT_EQ(replies[0].tokens, 0u);
  EXPECT_FALSE(replies[1].is_too_long);
}

TEST_F(EngineGeneratorTest, LoglikelihoodsOfPartsSumToThatOfTheWhole) {
  std::vector<TextRequest> requests(3);
  for (TextRequest& request : requests) request.kind = TextRequest::Kind::kLoglikelihood;
  requests[0].prompt = "The cat";
  requests[0].continuation = " sat down";
  requests[1].prompt = "The cat sat";
  requests[1].continuation = " down";
  requests[2].prompt = "The cat";
  requests[2].continuation = " sat";
  const std::vector<TextReply> replies = Answers(requests, {0}, 2);
  EXPECT_LT(replies[0].logprob, 0);
  // Each is a sum of the same float log-probabilities, computed in prompts of two lengths.
  EXPECT_NEAR(replies[0].logprob, replies[1].logprob + replies[2].logprob, 1e-4);
}

TEST_F(EngineGeneratorTest, ThinkingIsRefusedToAModelWithoutIt) {
  const Pretrained plain = OpenPretrained(PLANISH_SOURCE_DIR "/tests/golden/models/nemotron_h_a");
  EngineGenerator generator(&plain, {.batch = 1, .context = 64});
  EXPECT_FALSE(generator.has_thinking());
  TextRequest request;
  request.prompt = "x";
  EXPECT_THROW(generator.Run({&request, 1}, {-1}, [](size_t, TextReply) {}), Error);
}

}  // namespace
}  // namespace planish
