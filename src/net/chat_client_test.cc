// SPDX-License-Identifier: Apache-2.0
#include "net/chat_client.h"

#include <gtest/gtest.h>

#include <atomic>

#include "net/scripted_server.h"

namespace planish {
namespace {

using testing::ScriptedServer;

Json Request() { return ParseJson(R"({"messages": [{"role": "user", "content": "hi"}]})", "test"); }

constexpr const char* kStream =
    "data: {\"id\":\"c1\",\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
    ": ping\n\n"
    "data: {\"choices\":[],\"planish\":{\"progress\":{\"total\":9,\"cached\":3,\"done\":5}}}\n\n"
    "data: "
    "{\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}],\"planish\":{\"thinking\":{\"used\":"
    "7,\"budget\":64}}}\n\n"
    "data: {\"choices\":[{\"delta\":{\"content\":\"an\"}}]}\n\n"
    "data: {\"choices\":[{\"delta\":{\"content\":\"swer\"}}]}\n\n"
    "data: "
    "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"t1\",\"function\":{\"name\":"
    "\"f\",\"arguments\":\"\"}}]}}]}\n\n"
    "data: "
    "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{}\"}}]}}"
    "]}\n\n"
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n"
    "data: "
    "{\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":12,\"prompt_tokens_"
    "details\":{\"cached_tokens\":3},"
    "\"completion_tokens_details\":{\"reasoning_tokens\":7}},\"planish\":{\"timings\":{\"prompt_"
    "ms\":250,\"decode_ms\":2000},"
    "\"thinking\":{\"stopped_by\":\"budget\"}}}\n\n"
    "data: [DONE]\n\n";

TEST(ChatClient, PiecesAddUpToTheReply) {
  ScriptedServer server(kStream);
  ChatClient client(server.url() + "/v1/", "s3cret");
  std::vector<ChatPiece> pieces;
  const ChatReply reply = client.Complete(Request(), [&](const ChatPiece& piece) {
    pieces.push_back(piece);
    return true;
  });
  ASSERT_EQ(pieces.size(), 9u);
  EXPECT_EQ(pieces[1].prompt_done, 5u);
  EXPECT_EQ(pieces[1].prompt_total, 9u);
  EXPECT_EQ(pieces[2].thinking_used, 7u);
  EXPECT_EQ(pieces[2].thinking_budget, 64);
  EXPECT_EQ(reply.id, "c1");
  EXPECT_EQ(reply.reasoning, "hm");
  EXPECT_EQ(reply.content, "answer");
  EXPECT_EQ(reply.finish, "tool_calls");
  ASSERT_EQ(reply.calls.size(), 1u);
  EXPECT_EQ(reply.calls[0].id, "t1");
  EXPECT_EQ(reply.calls[0].name, "f");
  EXPECT_EQ(reply.calls[0].arguments, "{}");
  EXPECT_EQ(reply.prompt_tokens, 9u);
  EXPECT_EQ(reply.completion_tokens, 12u);
  EXPECT_EQ(reply.cached_tokens, 3u);
  EXPECT_EQ(reply.reasoning_tokens, 7u);
  EXPECT_EQ(reply.prompt_s, 0.25);
  EXPECT_EQ(reply.decode_s, 2.0);
  EXPECT_EQ(reply.stopped_by, "budget");
  EXPECT_FALSE(reply.was_cancelled);
  const HttpRequest request = server.requests().back();
  EXPECT_EQ(request.path, "/v1/chat/completions");
  EXPECT_EQ(request.Header("authorization"), "Bearer s3cret");
  const Json body = ParseJson(request.body, "request");
  EXPECT_EQ(*body.Find("stream"), Json(true));
  EXPECT_EQ(*body.Find("stream_options")->Find("include_usage"), Json(true));
}

TEST(ChatClient, FiguresOfLlamaServerAreUnderstood) {
  ScriptedServer server(
      "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"a\"}}]}\n\n"
      "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"b\"}}]}\n\n"
      "data: "
      "{\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}],\"timings\":{\"cache_n\":10,"
      "\"prompt_n\":5,"
      "\"prompt_ms\":100,\"predicted_n\":2,\"predicted_ms\":50}}\n\ndata: [DONE]\n\n");
  ChatClient client(server.url(), "");
  size_t used = 0;
  const ChatReply reply = client.Complete(Request(), [&](const ChatPiece& piece) {
    used = piece.thinking_used;
    return true;
  });
  EXPECT_EQ(used, 2u);
  EXPECT_EQ(reply.prompt_tokens, 15u);
  EXPECT_EQ(reply.cached_tokens, 10u);
  EXPECT_EQ(reply.completion_tokens, 2u);
  EXPECT_EQ(reply.reasoning_tokens, std::nullopt);
  EXPECT_EQ(reply.prompt_s, 0.1);
  EXPECT_EQ(reply.finish, "length");
}

TEST(ChatClient, ErrorsCarryTheServersWords) {
  ScriptedServer refusing("{\"error\":{\"message\":\"the queue is full\"}}", 429);
  try {
    ChatClient(refusing.url(), "").Complete(Request(), nullptr);
    FAIL();
  } catch (const ServerError& error) {
    EXPECT_EQ(error.status(), 429);
    EXPECT_NE(std::string(error.what()).find("the queue is full"), std::string::npos);
  }
  ScriptedServer strange("<html>\x01", 502);
  EXPECT_THROW(ChatClient(strange.url(), "").Get("/v1/models"), ServerError);
  ScriptedServer failing(
      "data: {\"choices\":[{\"delta\":{\"content\":\"an\"}}]}\n\ndata: "
      "{\"error\":{\"message\":\"broken\"}}\n\n");
  EXPECT_THROW(ChatClient(failing.url(), "").Complete(Request(), nullptr), ServerError);
}

TEST(ChatClient, HostileStreamsAreErrors) {
  for (const char* body :
       {"data: {\n\n", "data: [1]\n\n", "", "data: {\"choices\":7}\n\n", "data: {}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"half\"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":4000000000}]}}]}\n\ndata: "
        "[DONE]\n\n",
        "data: {\"choices\":[7],\"usage\":[]}\n\n"}) {
    ScriptedServer server(body);
    EXPECT_THROW(ChatClient(server.url(), "").Complete(Request(), nullptr), Error) << body;
  }
  // Wrong types where nothing depends on them.
  ScriptedServer server(
      "data: "
      "{\"id\":7,\"choices\":[{\"delta\":{\"content\":null,\"tool_calls\":[{\"index\":-1,"
      "\"function\":7}]},\"finish_reason\":7}],"
      "\"usage\":{\"prompt_tokens\":-5,\"completion_tokens\":\"x\"},\"timings\":{\"prompt_ms\":"
      "\"1\"}}\n\ndata: [DONE]\n\n");
  const ChatReply reply = ChatClient(server.url(), "").Complete(Request(), nullptr);
  EXPECT_EQ(reply.prompt_tokens, std::nullopt);
  EXPECT_TRUE(reply.calls.empty());
}

TEST(ChatClient, ACancelledReplyKeepsWhatCame) {
  std::vector<std::shared_ptr<HttpExchange>> held;
  std::mutex mutex;
  ScriptedServer server([&](std::shared_ptr<HttpExchange> exchange) {
    exchange->StartStream({});
    exchange->Write("data: {\"choices\":[{\"delta\":{\"content\":\"half\"}}]}\n\n");
    const std::lock_guard lock(mutex);
    held.push_back(std::move(exchange));
  });
  std::atomic<bool> cancel = false;
  ChatClient client(server.url(), "", {.is_cancelled = [&] { return cancel.load(); }});
  const ChatReply polled = client.Complete(Request(), [&](const ChatPiece&) {
    cancel = true;
    return true;
  });
  EXPECT_TRUE(polled.was_cancelled);
  EXPECT_EQ(polled.content, "half");
  cancel = false;
  const ChatReply refused = client.Complete(Request(), [](const ChatPiece&) { return false; });
  EXPECT_TRUE(refused.was_cancelled);
  EXPECT_EQ(refused.content, "half");
}

}  // namespace
}  // namespace planish
