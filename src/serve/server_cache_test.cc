// SPDX-License-Identifier: Apache-2.0
// Ask 5 of serve.md: states survive a restart, over HTTP.
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

}  // namespace
}  // namespace planish
