// SPDX-License-Identifier: Apache-2.0
// `planish chat --server` against scripted answers: what the user sees, and what the server is asked.
#include <unistd.h>

#include <atomic>

#include "base/testing.h"
#include "net/scripted_server.h"
#include "run_program.h"
#include "terminal.h"

namespace planish::testing {
namespace {

constexpr const char* kCompletions = "/v1/chat/completions";
constexpr const char* kControl = "/v1/chat/completions/control";

std::string Event(const std::string& json) { return "data: " + json + "\n\n"; }
std::string Delta(const std::string& name, const std::string& text) {
  return Event(R"({"id":"c1","choices":[{"delta":{")" + name + "\":\"" + text + "\"}}]}");
}
std::string End(const std::string& finish) {
  return Event(R"({"choices":[{"delta":{},"finish_reason":")" + finish + R"("}]})") +
         Event(
             R"({"choices":[],"usage":{"prompt_tokens":20,"completion_tokens":11,"prompt_tokens_details":)"
             R"({"cached_tokens":15},"completion_tokens_details":{"reasoning_tokens":4}},"planish":{"timings":)"
             R"({"prompt_ms":500,"decode_ms":1000},"thinking":{"stopped_by":"natural"}}})") +
         Event("[DONE]");
}

// Thinks, answers with the number of messages it was sent; with tools offered calls one first; a message with "hold" keeps
// it thinking until it is told to answer.
class FakeModel {
 public:
  FakeModel()
      : server_([this](std::shared_ptr<HttpExchange> exchange) { Handle(std::move(exchange)); }) {}
  ScriptedServer& server() { return server_; }

 private:
  void Handle(std::shared_ptr<HttpExchange> exchange) {
    const HttpRequest& request = exchange->request();
    if (request.path == "/v1/models") {
      exchange->Respond(
          {.body = R"({"data":[{"id":"fake","meta":{"thinking":{"supported":true}}}]})"});
    } else if (request.path == kControl) {
      exchange->Respond({.body = R"({"success":true})"});
      for (const auto& held : server_.TakeHeld()) {
        held->Write(Delta("content", "at once") + End("stop"));
        held->Finish();
      }
    } else {
      Complete(std::move(exchange));
    }
  }

  void Complete(std::shared_ptr<HttpExchange> exchange) {
    const Json body = ParseJson(exchange->request().body, "request");
    const Json::Array& messages = body.Find("messages")->AsArray();
    const std::string last = messages.back().Find("content")->AsString();
    exchange->StartStream({});
    if (last.find("hold") != std::string::npos) {
      exchange->Write(Delta("reasoning_content", "hmm"));
      server_.Hold(std::move(exchange));
      return;
    }
    exchange->Write(Delta("reasoning_content", "let me see"));
    if (body.Find("tools") != nullptr && *messages.back().Find("role") == Json("user")) {
      exchange->Write(
          Event(
              R"({"choices":[{"delta":{"tool_calls":[{"index":0,"id":"t1","function":{"name":"name_a_color",)"
              R"("arguments":"{\"color_hex\": \"#ff0000\"}"}}]}}]})") +
          End("tool_calls"));
    } else {
      exchange->Write(Delta("content", "answer to " + std::to_string(messages.size())) +
                      End("stop"));
    }
    exchange->Finish();
  }

  ScriptedServer server_;
};

Json Member(const Json& value, const char* key) {
  const Json* found = value.Find(key);
  return found == nullptr ? Json() : *found;
}

TEST(ChatServer, OneMessageFromStdin) {
  FakeModel model;
  const Outcome outcome =
      RunProgram({"chat", "--server", model.server().url(), "--api-key", "k", "--temperature",
                  "0.5", "--thinking-budget", "64", "--system", "be brief", "-n", "100"},
                 {.input = "Hello"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "answer to 2\n");
  EXPECT_NE(outcome.err.find("let me see"), std::string::npos);
  EXPECT_NE(outcome.err.find(
                "prompt 20 (15 cached) 0.50 s | thinking 4 (natural) | answer 7 | 10.0 tok/s"),
            std::string::npos)
      << outcome.err;
  const Json request = model.server().bodies(kCompletions).at(0);
  EXPECT_EQ(Member(request, "temperature"), Json(0.5));
  EXPECT_EQ(Member(request, "thinking_budget_tokens"), Json(64));
  EXPECT_EQ(Member(request, "max_tokens"), Json(100));
  EXPECT_EQ(Member(request, "model"), Json("fake"));
  for (const char* not_given : {"top_p", "seed", "chat_template_kwargs", "tools"})
    EXPECT_EQ(request.Find(not_given), nullptr) << not_given;
  EXPECT_EQ(model.server().requests().at(1).Header("authorization"), "Bearer k");
}

TEST(ChatServer, CommandsActOnWhatTheServerIsAsked) {
  FakeModel model;
  TemporaryDir work;
  Terminal terminal({"chat", "--server", model.server().url()}, work / "state");
  ASSERT_TRUE(terminal.Shows("fake at http://127.0.0.1:"));
  ASSERT_TRUE(terminal.Shows("> "));
  terminal.Type("one\n");
  ASSERT_TRUE(terminal.Shows("answer to 1"));
  ASSERT_TRUE(terminal.Shows("> "));
  terminal.Type("/think off\n/set top_k=5\n/set n=9\ntwo\n");
  ASSERT_TRUE(terminal.Shows("answer to 3"));
  terminal.Type("/think on\n/effort low\n/system be kind\n/regen\n");
  ASSERT_TRUE(terminal.Shows("answer to 4"));
  terminal.Type("/undo\n/budget off\n/set n=0\nthree\n");
  ASSERT_TRUE(terminal.Shows("answer to 4"));
  terminal.Type("/save " + (work / "a.json") + "\n/clear\nfour\n");
  ASSERT_TRUE(terminal.Shows("answer to 2"));
  terminal.Type("/load " + (work / "a.json") + "\nfive\n");
  ASSERT_TRUE(terminal.Shows("answer to 6"));
  terminal.Type("/exit\n");
  EXPECT_EQ(terminal.Wait(), 0);
  const std::vector<Json> asked = model.server().bodies(kCompletions);
  ASSERT_EQ(asked.size(), 6u);
  EXPECT_EQ(Member(Member(asked[1], "chat_template_kwargs"), "enable_thinking"), Json(false));
  EXPECT_EQ(Member(asked[1], "top_k"), Json(5));
  EXPECT_EQ(Member(asked[1], "max_tokens"), Json(9));
  EXPECT_EQ(Member(Member(asked[2], "chat_template_kwargs"), "enable_thinking"), Json(true));
  EXPECT_EQ(Member(asked[2], "thinking_budget_tokens"), Json(1024));
  EXPECT_EQ(Member(Member(asked[2], "messages").AsArray().at(0), "content"), Json("be kind"));
  EXPECT_EQ(asked[3].Find("thinking_budget_tokens"), nullptr);
  EXPECT_EQ(asked[3].Find("max_tokens"), nullptr);
  EXPECT_EQ(Member(Member(asked[3], "messages").AsArray().at(3), "content"), Json("three"));
}

TEST(ChatServer, CtrlTAsksForTheAnswerNowAndCtrlCEndsIt) {
  FakeModel model;
  TemporaryDir work;
  Terminal terminal({"chat", "--server", model.server().url()}, work / "state");
  ASSERT_TRUE(terminal.Shows("> "));
  terminal.Type("hold on\n");
  ASSERT_TRUE(terminal.Shows("hmm"));
  terminal.Type("\x14");
  ASSERT_TRUE(terminal.Shows("at once")) << terminal.screen();
  ASSERT_EQ(model.server().bodies(kControl).size(), 1u);
  EXPECT_EQ(Member(model.server().bodies(kControl)[0], "id"), Json("c1"));
  EXPECT_EQ(Member(model.server().bodies(kControl)[0], "action"), Json("end_thinking"));
  ASSERT_TRUE(terminal.Shows("> "));
  terminal.Type("hold again\n");
  ASSERT_TRUE(terminal.Shows("hmm"));
  terminal.Type("\x03");
  ASSERT_TRUE(terminal.Shows("| interrupted")) << terminal.screen();
  terminal.Type("more\n");
  ASSERT_TRUE(terminal.Shows("answer to 5")) << "what came stays in the conversation";
  terminal.Type("\x04");
  EXPECT_EQ(terminal.Wait(), 0);
}

TEST(ChatServer, ToolsRunHereAndTheirResultsGoBack) {
  FakeModel model;
  const Outcome outcome =
      RunProgram({"chat", "--server", model.server().url(), "--tools"}, {.input = "Which colour?"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("answer to 3"), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.err.find("name_a_color({\"color_hex\": \"#ff0000\"}) = "), std::string::npos);
  const std::vector<Json> asked = model.server().bodies(kCompletions);
  ASSERT_EQ(asked.size(), 2u);
  const Json::Array messages = Member(asked[1], "messages").AsArray();
  EXPECT_EQ(Member(messages.at(1).Find("tool_calls")->AsArray().at(0), "id"), Json("t1"));
  EXPECT_EQ(Member(messages.at(2), "tool_call_id"), Json("t1"));
  EXPECT_NE(Member(messages.at(2), "content").AsString().find("\"red\""), std::string::npos);
}

TEST(ChatServer, FailuresAreOneLineAndTheirStatus) {
  const auto fails = [](const std::vector<std::string>& arguments, int status, const char* word) {
    const Outcome outcome = RunProgram(arguments, {.input = "Hello"});
    EXPECT_EQ(outcome.status, status) << outcome.err;
    EXPECT_EQ(Lines(outcome.err).size(), 1u) << outcome.err;
    EXPECT_NE(outcome.err.find(word), std::string::npos) << outcome.err;
  };
  ScriptedServer locked(R"({"error":{"message":"a valid key is needed"}})", 401);
  fails({"chat", "--server", locked.url()}, 1, "--api-key");
  fails({"chat", "--server", "http://127.0.0.1:1"}, 5, "http://127.0.0.1:1");
  fails({"chat", "--server", "ftp://x"}, 2, "ftp://x");
  fails({"chat"}, 2, "--server");
  fails({"chat", "-m", "x", "--server", "http://127.0.0.1:1"}, 2, "one of");
}

}  // namespace
}  // namespace planish::testing
