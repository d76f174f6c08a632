// SPDX-License-Identifier: Apache-2.0
// The cache over HTTP: states survive a restart, prompts of any length hit, dropped reasoning costs only itself.
#include <gtest/gtest.h>

#include "serve/server_testing.h"

namespace planish {
namespace {

using testing::At;
using testing::TestServer;

TEST(ServerCache, ARestartedServerResumesTheConversation) {
  testing::TemporaryDir folder;
  const std::string body =
      R"({"messages":[{"role":"user","content":"Hello there, who are you and what can you do?"}],)"
      R"("max_tokens":40,"temperature":0,"thinking_budget":4})";
  TestServer::Setup setup;
  setup.engine.cache_dir = folder.path();
  setup.engine.fingerprint = std::string(64, 'f');
  Json first;
  {
    TestServer server(setup);
    first = server.PostJson("/v1/chat/completions", body);
    EXPECT_EQ(At(first, {"usage", "prompt_tokens_details", "cached_tokens"}), Json(0));
    // It writes while it rests, so that a kill costs little.
    EXPECT_TRUE(
        testing::Eventually([&] { return !testing::Listing(folder.path(), ".state").empty(); }));
  }
  TestServer server(setup);
  const Json again = server.PostJson("/v1/chat/completions", body);
  EXPECT_EQ(At(again, {"choices"}), At(first, {"choices"}));
  const int64_t prompt = At(again, {"usage", "prompt_tokens"}).AsInt();
  EXPECT_GT(At(again, {"usage", "prompt_tokens_details", "cached_tokens"}).AsInt(), prompt - 40);
}

// Asks 1, 2 and 4: no prompt is too short to be resumed, and the counter says so.
TEST(ServerCache, IdenticalPromptsOfAnyLengthHitAndAreCounted) {
  TestServer server;
  double counted = 0;
  for (const size_t length : {2, 5, 20, 63, 64, 100}) {
    std::string ids;
    for (size_t i = 0; i < length; ++i)
      ids += fmt::format("{}{}", i == 0 ? "" : ",", 5 + (7 * i + length) % 200);
    const std::string body = R"({"prompt":[)" + ids + R"(],"max_tokens":4,"temperature":0})";
    const Json first = server.PostJson("/v1/completions", body);
    const Json again = server.PostJson("/v1/completions", body);
    EXPECT_EQ(At(again, {"choices"}), At(first, {"choices"})) << length;
    const auto cached = At(again, {"usage", "prompt_tokens_details", "cached_tokens"}).AsInt();
    // All but one, or, where the arithmetic makes the bits depend on it, up to the last multiple of 32.
    const auto most = static_cast<int64_t>(length) - 1;
    EXPECT_LE(cached, most);
    EXPECT_GE(cached, most > 32 ? most / 32 * 32 : most) << length;
    counted += static_cast<double>(
        cached + At(first, {"usage", "prompt_tokens_details", "cached_tokens"}).AsInt());
    EXPECT_EQ(server.Metric("planish_prompt_tokens_cached_total"), counted) << length;
  }
}

// Ask 6: the template leaves the reasoning of the first answer out of the second prompt; what stood before it is kept.
TEST(ServerCache, DroppedReasoningCostsNoMoreThanItself) {
  TestServer::Setup setup;
  setup.settings.warm_next_turn = false;  // it would compute the rest as well, sooner or later
  TestServer server(setup);
  const std::string question =
      R"({"role":"user","content":"Hello there, who are you, and what is it that you can do for me today? Think well."})";
  const auto body = [](const std::string& messages) {
    return R"({"messages":[)" + messages +
           R"(],"max_tokens":300,"seed":2,"thinking_budget":150,"min_thinking_tokens":120})";
  };
  const Json first = server.PostJson("/v1/chat/completions", body(question));
  const int64_t first_prompt = At(first, {"usage", "prompt_tokens"}).AsInt();
  ASSERT_GE(At(first, {"usage", "completion_tokens_details", "reasoning_tokens"}).AsInt(), 120);
  const Json second = server.PostJson(
      "/v1/chat/completions",
      body(question +
           R"(,{"role":"assistant","content":"I help."},{"role":"user","content":"Go on."})"));
  const int64_t second_prompt = At(second, {"usage", "prompt_tokens"}).AsInt();
  EXPECT_LT(second_prompt, first_prompt + 120) << "the reasoning is not in the prompt";
  EXPECT_GT(At(second, {"usage", "prompt_tokens_details", "cached_tokens"}).AsInt(),
            first_prompt - 32 - 16)
      << "resumed at the last state before the answer";
}

}  // namespace
}  // namespace planish
