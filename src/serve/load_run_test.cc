// SPDX-License-Identifier: Apache-2.0
#include "serve/load_run.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "base/error.h"
#include "net/scripted_server.h"

namespace planish {
namespace {

using testing::ScriptedServer;

constexpr const char* kAnswer =
    "data: {\"choices\":[{\"delta\":{\"content\":\"one \"}}]}\n\n"
    "data: {\"choices\":[{\"delta\":{\"content\":\"two\"},\"finish_reason\":\"stop\"}]}\n\n"
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":30,\"completion_tokens\":2,"
    "\"prompt_tokens_details\":{\"cached_tokens\":20}}}\n\ndata: [DONE]\n\n";

std::string Text(const Json& message) { return message.Find("content")->AsString(); }

TEST(Workload, RandomPromptsHaveTheirLengthAndDependOnTheSeedAlone) {
  const Workload workload =
      RandomWorkload({.model = "m", .input_tokens = 50, .output_tokens = 7, .seed = 3}, 10, 20);
  const Json body = workload.request(4, 0, {});
  EXPECT_EQ(workload.path, "/v1/completions");
  EXPECT_EQ(body.Find("max_tokens")->AsInt(), 7);
  const Json::Array& ids = body.Find("prompt")->AsArray();
  ASSERT_EQ(ids.size(), 50u);
  for (const Json& id : ids) {
    EXPECT_GE(id.AsInt(), 10);
    EXPECT_LT(id.AsInt(), 20);
  }
  EXPECT_EQ(body, workload.request(4, 0, {}));
  EXPECT_NE(body, workload.request(5, 0, {}));
  EXPECT_THROW(RandomWorkload({}, 5, 5), Error);
}

TEST(Workload, ChatsGrowByTheAnswersAndShareTheirSystemPrompt) {
  const Workload workload = MultiturnWorkload(
      {.input_tokens = 20}, {.turns = 3, .system_tokens = 40, .thinking_budget = 64});
  const Json first = workload.request(0, 0, {}), third = workload.request(0, 2, {"a", "b"});
  const Json::Array& messages = third.Find("messages")->AsArray();
  ASSERT_EQ(messages.size(), 6u);
  EXPECT_EQ(messages[1], first.Find("messages")->AsArray()[1]);
  EXPECT_EQ(Text(messages[2]), "a");
  EXPECT_EQ(Text(messages[4]), "b");
  EXPECT_EQ(*third.Find("thinking_budget_tokens"), Json(64));
  const Json other = workload.request(1, 0, {});
  EXPECT_EQ(messages[0], other.Find("messages")->AsArray()[0]);
  EXPECT_NE(messages[1], other.Find("messages")->AsArray()[1]);
}

TEST(Workload, FilesOfConversationsGiveTheirFirstMessages) {
  const std::string text =
      R"([{"conversations": [{"from": "human", "value": "q1"}, {"from": "gpt", "value": "12345"}]},
    {"conversations": [{"from": "gpt", "value": "x"}, {"from": "human", "value": "y"}]}, {}, {"conversations": []},
    {"conversations": [{"from": "user", "value": "q2"}, {"from": "assistant", "value": "123456789"}]}])";
  const auto count = [](const std::string& answer) { return answer.size(); };
  const Workload workload = ShareGptWorkload({.output_tokens = 7}, text, "file", count);
  ASSERT_EQ(workload.sessions, 2u);
  EXPECT_EQ(Text(workload.request(0, 0, {}).Find("messages")->AsArray()[0]), "q1");
  EXPECT_EQ(workload.request(0, 0, {}).Find("max_tokens")->AsInt(), 5);
  EXPECT_EQ(workload.request(1, 0, {}).Find("max_tokens")->AsInt(), 7);
  for (const char* bad : {"", "{}", "[]", "[1, null]", "[{\"conversations\": 7}]"})
    EXPECT_THROW(ShareGptWorkload({}, bad, "file", count), Error) << bad;
}

TEST(LoadRun, EverySessionIsAskedOnceWithAtMostSoManyAtATime) {
  std::atomic<int> now = 0, most = 0;
  std::vector<std::jthread> delays;
  std::mutex mutex;
  ScriptedServer server([&](std::shared_ptr<HttpExchange> exchange) {
    most = std::max(most.load(), ++now);
    const std::lock_guard lock(mutex);
    delays.emplace_back([&now, exchange] {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      --now;
      exchange->Respond({.body = kAnswer});
    });
  });
  const Workload workload = RandomWorkload({.sessions = 20, .input_tokens = 4}, 1, 100);
  size_t done = 0;
  const LoadResult result =
      RunLoad(workload, {.url = server.url(), .concurrency = 3}, [&](size_t n) { done = n; });
  ASSERT_EQ(result.samples.size(), 20u);
  EXPECT_EQ(done, 20u);
  EXPECT_LE(most.load(), 3);
  for (size_t i = 0; i < 20; ++i) {
    const LoadSample& sample = result.samples[i];
    EXPECT_EQ(sample.session, i);
    EXPECT_EQ(sample.error, "");
    EXPECT_EQ(sample.output_tokens, 2u);
    EXPECT_EQ(sample.cached_tokens, 20u);
    EXPECT_EQ(sample.gaps_s.size(), 1u);
    EXPECT_GE(sample.first_s, 0.01);
    EXPECT_GE(sample.end_s, sample.first_s);
  }
  EXPECT_GE(result.duration_s, 7 * 0.01);
}

TEST(LoadRun, AnswersBecomeHistoryAndAFailureEndsItsSession) {
  ScriptedServer server([&](std::shared_ptr<HttpExchange> exchange) {
    const bool fails = exchange->request().body.find("Question 3") != std::string::npos;
    exchange->Respond({.status = fails ? 429 : 200, .body = fails ? "{}" : kAnswer});
  });
  const Workload workload = MultiturnWorkload({.sessions = 2, .input_tokens = 5}, {.turns = 5});
  const LoadResult result = RunLoad(workload, {.url = server.url(), .concurrency = 1});
  ASSERT_EQ(result.samples.size(), 6u);
  EXPECT_EQ(result.samples[1].error, "");
  EXPECT_NE(result.samples[2].error.find("429"), std::string::npos);
  const std::vector<Json> asked = server.bodies("/v1/chat/completions");
  EXPECT_EQ(Text(asked[1].Find("messages")->AsArray()[2]), "one two");
}

TEST(LoadRun, ArrivalsKeepTheirRate) {
  ScriptedServer server{std::string(kAnswer)};
  const Workload workload = RandomWorkload({.sessions = 30, .input_tokens = 1}, 1, 9);
  const LoadResult result =
      RunLoad(workload, {.url = server.url(), .concurrency = 8, .request_rate = 100, .seed = 5});
  // The sum of 29 exponential gaps of mean 10 ms: 0.29 s, standard deviation 54 ms; 4.5 of those below at worst.
  EXPECT_GE(result.duration_s, 0.29 - 4.5 * 0.054);
}

}  // namespace
}  // namespace planish
