// SPDX-License-Identifier: Apache-2.0
// The server over HTTP with a tiny random hybrid: shapes, streams, thinking, log-probabilities, errors. Load and
// disconnects: server_load_test.cc.
#include "serve/server.h"

#include <cmath>
#include <set>

#include "serve/server_testing.h"

namespace planish {
namespace {

using testing::At;
using testing::Eventually;
using testing::Streamed;
using testing::TestServer;

// One server for the tests that do not change it.
TestServer& Shared() { return testing::SharedServer::Get(); }

const std::string kGreedy = R"("temperature":0,"max_tokens":64,"ignore_eos":true)";

TEST(Server, ChatAnswersHaveTheShapeClientsKnow) {
  const HttpResponse response = Shared().Post(
      "/v1/chat/completions",
      TestServer::ChatBody(kGreedy + R"(,"thinking_budget":8,"fo,o\u00e9":1,"bar":2)"),
      {{"x-request-id", "my-id.1"}});
  ASSERT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(response.Header("x-request-id"), "my-id.1");
  EXPECT_EQ(response.Header("x-planish-ignored"), "foo, bar");
  const Json json = ParseJson(response.body, "response");
  EXPECT_TRUE(At(json, {"id"}).AsString().starts_with("chatcmpl-"));
  EXPECT_EQ(At(json, {"id"}).AsString().size(), 9u + 26);
  EXPECT_EQ(At(json, {"object"}), Json("chat.completion"));
  EXPECT_EQ(At(json, {"model"}), Json("tiny"));
  const Json& choice = At(json, {"choices", "0"});
  EXPECT_EQ(At(choice, {"message", "role"}), Json("assistant"));
  EXPECT_TRUE(At(choice, {"message", "content"}).is_string());
  EXPECT_TRUE(At(choice, {"message", "reasoning_content"}).is_string());
  EXPECT_TRUE(At(choice, {"message"}).Find("refusal")->is_null());
  EXPECT_EQ(At(choice, {"finish_reason"}), Json("length"));
  const int64_t prompt = At(json, {"usage", "prompt_tokens"}).AsInt(),
                completion = At(json, {"usage", "completion_tokens"}).AsInt(),
                reasoning =
                    At(json, {"usage", "completion_tokens_details", "reasoning_tokens"}).AsInt();
  EXPECT_EQ(completion, 64);
  EXPECT_EQ(At(json, {"usage", "total_tokens"}).AsInt(), prompt + completion);
  EXPECT_GE(reasoning, 8);
  EXPECT_LT(reasoning, 64);
  EXPECT_EQ(At(json, {"planish", "thinking", "used"}).AsInt(), reasoning);
  EXPECT_EQ(At(json, {"planish", "thinking", "budget"}), Json(8));
  EXPECT_TRUE(At(json, {"planish", "timings", "first_token_ms"}).is_number());
  const HttpResponse other = Shared().Post("/v1/chat/completions", TestServer::ChatBody(kGreedy),
                                           {{"x-request-id", "bad id!"}});
  EXPECT_TRUE(other.Header("x-request-id").starts_with("req-")) << "not a name: a new one";
}

// Ask 11 and section 6.8: what is streamed is what is not, byte for byte.
TEST(Server, StreamedAnswersEqualWholeOnes) {
  const std::string settings[] = {
      kGreedy,
      kGreedy + R"(,"thinking_budget":0)",
      kGreedy + R"(,"thinking_budget":3)",
      kGreedy + R"(,"thinking_budget":20,"logprobs":true,"top_logprobs":3)",
      R"("seed":7,"max_tokens":80,"n":3,"thinking_budget":9)",
      R"("seed":8,"max_tokens":80,"stop":["e","st"],"thinking_budget":2)",
      R"("seed":9,"max_tokens":60,"stop":["a"],"stop_in_reasoning":true)",
  };
  for (const std::string& fields : settings) {
    const Json whole = Shared().Chat(fields);
    const Streamed streamed = Shared().Stream(fields);
    ASSERT_EQ(streamed.status, 200) << fields;
    EXPECT_TRUE(streamed.is_done);
    EXPECT_EQ(streamed.response.Header("content-type"), "text/event-stream; charset=utf-8");
    for (const Json& choice : At(whole, {"choices"}).AsArray()) {
      const auto index = static_cast<size_t>(At(choice, {"index"}).AsInt());
      const auto text = [](const std::map<size_t, std::string>& from, size_t i) {
        const auto found = from.find(i);
        return found == from.end() ? std::string() : found->second;
      };
      const Json& reasoning = At(choice, {"message", "reasoning_content"});
      EXPECT_EQ(text(streamed.content, index), At(choice, {"message", "content"}).AsString())
          << fields;
      EXPECT_EQ(text(streamed.reasoning, index), reasoning.is_string() ? reasoning.AsString() : "");
      EXPECT_EQ(text(streamed.finish, index), At(choice, {"finish_reason"}).AsString());
    }
    EXPECT_EQ(At(streamed.usage, {"completion_tokens"}), At(whole, {"usage", "completion_tokens"}));
    EXPECT_EQ(At(streamed.usage, {"completion_tokens_details"}),
              At(whole, {"usage", "completion_tokens_details"}));
    const Json& logprobs = At(whole, {"choices", "0", "logprobs", "content"});
    if (logprobs.is_array()) {
      EXPECT_EQ(streamed.logprobs, logprobs);
    }
    // The order of the stream: role, then text, then the end; usage is null before the last chunk.
    EXPECT_EQ(At(streamed.chunks.front(), {"choices", "0", "delta", "role"}), Json("assistant"));
    EXPECT_TRUE(At(streamed.chunks.back(), {"choices"}).AsArray().empty());
    for (size_t i = 0; i + 1 < streamed.chunks.size(); ++i) {
      ASSERT_NE(streamed.chunks[i].Find("usage"), nullptr);
      EXPECT_TRUE(streamed.chunks[i].Find("usage")->is_null());
    }
  }
}

// Ask 7: the budget under every name, enforced.
TEST(Server, BudgetFieldsAllMeanTheSame) {
  const Json expected = Shared().Chat(kGreedy + R"(,"thinking_budget":6)");
  const std::string answer = At(expected, {"choices", "0", "message", "content"}).AsString();
  const char* spellings[] = {
      R"("max_thinking_tokens":6)",
      R"("thinking_token_budget":6)",
      R"("thinking_budget_tokens":6)",
      R"("reasoning_budget_tokens":6)",
      R"("reasoning_budget":6)",
      R"("nvext":{"max_thinking_tokens":6})",
      R"("custom_params":{"thinking_budget":6})",
      R"("chat_template_kwargs":{"thinking_budget":6})",
      R"("chat_template_kwargs":{"reasoning_budget":6,"enable_thinking":true})",
      R"("thinking":{"type":"enabled","budget_tokens":6})",
      R"("thinking_budget":6,"reasoning_budget":6.0)",
      R"("thinking_budget":6,"reasoning_effort":"high")",
  };
  for (const char* spelling : spellings) {
    const Json json = Shared().Chat(kGreedy + "," + spelling);
    EXPECT_EQ(At(json, {"choices", "0", "message", "content"}).AsString(), answer) << spelling;
    EXPECT_EQ(At(json, {"planish", "thinking", "budget"}), Json(6)) << spelling;
  }
  const Json off = Shared().Chat(kGreedy + R"(,"chat_template_kwargs":{"enable_thinking":false})");
  EXPECT_EQ(At(off, {"usage", "completion_tokens_details", "reasoning_tokens"}), Json(0));
  for (const char* spelling : {R"("thinking_budget":0)", R"("reasoning_effort":"none")",
                               R"("thinking":{"type":"disabled"})", R"("enable_thinking":false)"}) {
    const Json json = Shared().Chat(kGreedy + "," + spelling);
    EXPECT_EQ(At(json, {"choices", "0", "message", "content"}),
              At(off, {"choices", "0", "message", "content"}))
        << spelling;
    EXPECT_EQ(At(json, {"choices", "0", "message"}).Find("reasoning_content"), nullptr);
  }
  for (const char* conflict : {R"("thinking_budget":6,"reasoning_budget":7)",
                               R"("thinking":{"budget_tokens":5},"max_thinking_tokens":6)",
                               R"("nvext":{"max_thinking_tokens":1},"thinking_budget":2)"}) {
    const Json error =
        Shared().PostJson("/v1/chat/completions", TestServer::ChatBody(conflict), 400);
    EXPECT_EQ(At(error, {"error", "code"}), Json("invalid_value")) << conflict;
  }
  const Json low = Shared().Chat(R"("max_tokens":900,"seed":1,"reasoning_effort":"minimal")");
  EXPECT_EQ(At(low, {"planish", "thinking", "budget"}), Json(256));
}

// Asks 8 and 9: the thinking never eats the answer, the budget holds, it is closed at a line's end.
void CheckRandomBudgets(int requests) {
  uint64_t state = 11;
  const auto next = [&](uint64_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % n;
  };
  for (int i = 0; i < requests; ++i) {
    const int64_t max_tokens = 64 + static_cast<int64_t>(next(200)),
                  budget = static_cast<int64_t>(next(220)) - 1,
                  grace = static_cast<int64_t>(next(30));
    const Json json = Shared().Chat(fmt::format(
        R"("max_tokens":{},"thinking_budget":{},"thinking_grace":{},"seed":{},"ignore_eos":true,)"
        R"("logprobs":true)",
        max_tokens, budget, grace, i));
    const std::string content = At(json, {"choices", "0", "message", "content"}).AsString();
    EXPECT_FALSE(content.empty()) << DumpJson(json);
    const int64_t used = At(json, {"planish", "thinking", "used"}).AsInt();
    const Json& by = At(json, {"planish", "thinking", "stopped_by"});
    if (budget <= 0) continue;
    ASSERT_TRUE(by.is_string());
    EXPECT_NE(by, Json("length"));
    const int64_t effective = At(json, {"planish", "thinking", "budget"}).AsInt();
    EXPECT_LE(effective, budget);
    // The closing text and the end of a character may follow the budget and the grace.
    EXPECT_LE(used, effective + grace + 40) << DumpJson(json);
    if (by != Json("natural")) {
      EXPECT_GE(used, effective);
      const std::string reasoning =
          At(json, {"choices", "0", "message", "reasoning_content"}).AsString();
      if (reasoning.ends_with('\n')) continue;
      // Only where the model had begun the closing tag by itself: then no more than its rest is put in.
      const Json& tokens = At(json, {"choices", "0", "logprobs", "content"});
      size_t forced = 0;
      while (forced < tokens.AsArray().size() && tokens.AsArray()[forced].Find("forced") == nullptr)
        ++forced;
      ASSERT_GT(forced, 0u);
      const std::string& before = tokens.AsArray()[forced - 1].Find("token")->AsString();
      EXPECT_TRUE(before.ends_with('<') || before.find("</") != std::string::npos)
          << Quoted(before) << " " << Quoted(reasoning.substr(reasoning.size() - 10));
    }
  }
}

TEST(Server, ThinkingNeverEatsTheAnswer) { CheckRandomBudgets(40); }
TEST(Server, ThinkingNeverEatsTheAnswerSlow) { CheckRandomBudgets(1000); }

TEST(Server, ThinkingCanBeEndedWhileItRuns) {
  std::string id;
  const Streamed streamed = Shared().Stream(
      R"("max_tokens":900,"seed":3,"min_thinking_tokens":700,"ignore_eos":true)", "Think",
      [&](const Json& chunk) {
        if (id.empty() && At(chunk, {"choices", "0", "delta", "reasoning_content"}).is_string()) {
          id = At(chunk, {"id"}).AsString();
          const Json reply = Shared().PostJson("/v1/chat/completions/control",
                                               R"({"id":")" + id + R"(","action":"end_thinking"})");
          EXPECT_EQ(At(reply, {"success"}), Json(true)) << DumpJson(reply);
        }
        return true;
      });
  EXPECT_EQ(At(streamed.extension, {"thinking", "stopped_by"}), Json("control"));
  EXPECT_LT(At(streamed.extension, {"thinking", "used"}).AsInt(), 700);
  EXPECT_FALSE(streamed.content.at(0).empty());
  const Json gone = Shared().PostJson("/v1/chat/completions/control",
                                      R"({"id":")" + id + R"(","action":"reasoning_end"})", 404);
  EXPECT_EQ(At(gone, {"success"}), Json(false));
  EXPECT_EQ(Shared().Post("/v1/chat/completions/control", R"({"id":"x","action":"dance"})").status,
            400);
}

TEST(Server, LeastThinkingAndClosingMessageAct) {
  const Json json = Shared().Chat(
      R"("max_tokens":200,"seed":5,"min_thinking_tokens":50,"thinking_budget":60,"thinking_close_message":"Time is up.")");
  EXPECT_GE(At(json, {"planish", "thinking", "used"}).AsInt(), 60);
  EXPECT_TRUE(At(json, {"choices", "0", "message", "reasoning_content"})
                  .AsString()
                  .ends_with("Time is up.\n"));
}

TEST(Server, ReasoningMayStayInTheContentForClientsThatCutItThemselves) {
  TestServer& server = Shared();
  const std::string fields = R"("max_tokens":60,"seed":4,"thinking_budget":9)";
  const Json apart = server.Chat(fields);
  const std::string reasoning =
      At(apart, {"choices", "0", "message", "reasoning_content"}).AsString();
  const std::string content = At(apart, {"choices", "0", "message", "content"}).AsString();
  ASSERT_FALSE(reasoning.empty());
  ASSERT_FALSE(content.empty());
  // Equal draws need equal budgets: the reserve, which this form leaves out, is asked for in both.
  const std::string whole = fields + R"(,"reasoning_format":"none","answer_reserve":-1)";
  const Json message = At(server.Chat(whole), {"choices", "0", "message"});
  EXPECT_EQ(message.Find("content")->AsString(), reasoning + "</think>\n\n" + content);
  EXPECT_EQ(message.Find("reasoning_content"), nullptr);
  const Streamed streamed = server.Stream(whole);
  EXPECT_EQ(streamed.content.at(0), message.Find("content")->AsString());
  EXPECT_TRUE(streamed.reasoning.empty());
  // Without a reserve the first of two calls ends inside the reasoning, at its last token.
  const Json cut = server.Chat(R"("max_tokens":24,"seed":4,"reasoning_format":"none")");
  EXPECT_EQ(At(cut, {"choices", "0", "finish_reason"}).AsString(), "length");
  EXPECT_EQ(At(cut, {"choices", "0", "message", "content"}).AsString().find("</think>"),
            std::string::npos);
  EXPECT_EQ(At(cut, {"usage", "completion_tokens"}).AsInt(), 24);
  server.PostJson("/v1/chat/completions", TestServer::ChatBody(R"("reasoning_format":"xml")"), 400);
}

TEST(Server, AModelWithoutThinkingSaysSo) {
  TestServer server({.chat_template = "chatml"});
  const Json plain = server.Chat(kGreedy);
  EXPECT_EQ(At(plain, {"choices", "0", "message"}).Find("reasoning_content"), nullptr);
  EXPECT_EQ(At(plain, {"usage", "completion_tokens_details", "reasoning_tokens"}), Json(0));
  for (const char* field : {R"("thinking_budget":5)", R"("reasoning_effort":"low")",
                            R"("chat_template_kwargs":{"enable_thinking":true})"}) {
    const Json error = server.PostJson("/v1/chat/completions", TestServer::ChatBody(field), 400);
    EXPECT_EQ(At(error, {"error", "code"}), Json("unsupported_value")) << field;
  }
  server.Chat(kGreedy + R"(,"thinking_budget":0,"chat_template_kwargs":{"enable_thinking":false})");
}

TEST(Server, StopStringsCutAcrossTokens) {
  const std::string fields = kGreedy + R"(,"thinking_budget":0)";
  const std::string all =
      At(Shared().Chat(fields), {"choices", "0", "message", "content"}).AsString();
  ASSERT_GT(all.size(), 20u);
  for (size_t at = 3; at + 4 < all.size(); at += 5) {
    std::string stop = all.substr(at, 4);
    if (std::any_of(stop.begin(), stop.end(),
                    [](char c) { return c < 0x20 || c > 0x7E || c == '"' || c == '\\'; }))
      continue;
    const Json json = Shared().Chat(fields + R"(,"stop":")" + stop + R"(")");
    EXPECT_EQ(At(json, {"choices", "0", "message", "content"}).AsString(),
              all.substr(0, all.find(stop)));
    EXPECT_EQ(At(json, {"choices", "0", "finish_reason"}), Json("stop"));
    EXPECT_LT(At(json, {"usage", "completion_tokens"}).AsInt(), 64)
        << "and nothing more is computed";
  }
}

TEST(Server, SeveralChoicesShareThePromptAndDiffer) {
  const Json json =
      Shared().Chat(R"("n":4,"seed":21,"max_tokens":40,"thinking_budget":0)", "Choose");
  const auto& choices = At(json, {"choices"}).AsArray();
  ASSERT_EQ(choices.size(), 4u);
  std::set<std::string> texts;
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(At(choices[i], {"index"}), Json(static_cast<int64_t>(i)));
    texts.insert(At(choices[i], {"message", "content"}).AsString());
  }
  EXPECT_GT(texts.size(), 1u);
  const Json one = Shared().Chat(R"("seed":21,"max_tokens":40,"thinking_budget":0)", "Choose");
  EXPECT_EQ(At(one, {"choices", "0", "message", "content"}),
            At(choices[0], {"message", "content"}));
  EXPECT_EQ(At(json, {"usage", "prompt_tokens"}), At(one, {"usage", "prompt_tokens"}))
      << "counted once";
  EXPECT_EQ(
      At(Shared().Chat(R"("seed":21,"max_tokens":40,"thinking_budget":0)", "Choose"), {"choices"}),
      At(one, {"choices"}))
      << "the same seed, the same answer";
}

TEST(Server, ChatLogprobsCoverEveryTokenAndMarkForcedOnes) {
  const Json json = Shared().Chat(
      kGreedy + R"(,"thinking_budget":4,"logprobs":true,"top_logprobs":2,"return_token_ids":true)");
  const auto& tokens = At(json, {"choices", "0", "logprobs", "content"}).AsArray();
  EXPECT_EQ(tokens.size(), 64u);
  EXPECT_EQ(At(json, {"choices", "0", "token_ids"}).AsArray().size(), 64u);
  size_t forced = 0;
  for (const Json& token : tokens) {
    if (token.Find("forced") != nullptr) {
      ++forced;
      EXPECT_TRUE(At(token, {"logprob"}).is_null());
      continue;
    }
    ASSERT_EQ(At(token, {"top_logprobs"}).AsArray().size(), 2u);
    EXPECT_EQ(At(token, {"logprob"}), At(token, {"top_logprobs", "0", "logprob"})) << "greedy";
  }
  EXPECT_GT(forced, 0u);
}

// Ask 14: what lm-evaluation-harness reads.
TEST(Server, EchoWithLogprobsScoresPromptsAsGenerationDid) {
  const std::string start = "[1,40,41,42,43,44]";
  const Json made = Shared().PostJson(
      "/v1/completions",
      R"({"prompt":)" + start +
          R"(,"max_tokens":8,"temperature":0,"logprobs":1,"return_token_ids":true,"ignore_eos":true})");
  const auto& values = At(made, {"choices", "0", "logprobs", "token_logprobs"}).AsArray();
  ASSERT_EQ(values.size(), 8u);
  std::string all = start.substr(0, start.size() - 1);
  for (const Json& id : At(made, {"choices", "0", "token_ids"}).AsArray())
    all += "," + DumpJson(id);
  all += "]";
  const std::string other = "[1,50,51,52]";
  // As the harness sends it: a batch of id lists, one generated token.
  const Json scored = Shared().PostJson(
      "/v1/completions",
      R"({"model":"any","prompt":[)" + all + "," + other +
          R"(],"temperature":0,"max_tokens":1,"logprobs":1,"seed":1234,"echo":true})");
  ASSERT_EQ(At(scored, {"choices"}).AsArray().size(), 2u);
  const Json& lists = At(scored, {"choices", "0", "logprobs"});
  for (const char* name : {"tokens", "token_logprobs", "top_logprobs", "text_offset"})
    EXPECT_EQ(At(lists, {name}).AsArray().size(), 6u + 8 + 1) << name;
  EXPECT_TRUE(At(lists, {"token_logprobs", "0"}).is_null());
  EXPECT_TRUE(At(lists, {"top_logprobs", "0"}).is_null());
  for (size_t i = 0; i < 8; ++i) {
    const double value = At(lists, {"token_logprobs"}).AsArray()[6 + i].AsDouble();
    EXPECT_NEAR(value, values[i].AsDouble(), 1e-4);
    double best = -INFINITY;
    for (const auto& [text, top] : At(lists, {"top_logprobs"}).AsArray()[6 + i].AsObject())
      best = std::max(best, top.AsDouble());
    EXPECT_EQ(value, best) << "greedy, to the last digit";
  }
  const Json alone = Shared().PostJson(
      "/v1/completions",
      R"({"prompt":)" + other +
          R"(,"temperature":0,"max_tokens":1,"logprobs":1,"seed":1234,"echo":true})");
  EXPECT_EQ(At(alone, {"choices", "0", "logprobs"}), At(scored, {"choices", "1", "logprobs"}))
      << "whoever shares the batch";
  const Json none = Shared().PostJson(
      "/v1/completions", R"({"prompt":)" + other + R"(,"max_tokens":0,"logprobs":5,"echo":true})");
  EXPECT_EQ(At(none, {"choices", "0", "logprobs", "tokens"}).AsArray().size(), 4u);
  for (size_t i = 1; i < 4; ++i) {
    EXPECT_EQ(At(none, {"choices", "0", "logprobs", "token_logprobs"}).AsArray()[i],
              At(alone, {"choices", "0", "logprobs", "token_logprobs"}).AsArray()[i]);
    const auto& top =
        At(none, {"choices", "0", "logprobs", "top_logprobs"}).AsArray()[i].AsObject();
    EXPECT_GE(top.size(), 1u);
    EXPECT_LE(top.size(), 6u);
  }
}

TEST(Server, TextCompletionsStreamEchoAndStop) {
  const std::string body = R"("prompt":"Once upon","max_tokens":30,"temperature":0)";
  const Json whole = Shared().PostJson("/v1/completions", "{" + body + R"(,"echo":true})");
  const std::string text = At(whole, {"choices", "0", "text"}).AsString();
  EXPECT_TRUE(text.starts_with("Once upon"));
  std::string joined, finish;
  bool done = false;
  SseReader reader([&](std::string_view data) {
    if (data == "[DONE]") {
      done = true;
      return;
    }
    const Json chunk = ParseJson(data, "chunk");
    joined += At(chunk, {"choices", "0", "text"}).AsString();
    const Json& reason = At(chunk, {"choices", "0", "finish_reason"});
    if (reason.is_string()) finish = reason.AsString();
  });
  HttpClient client = Shared().Client();
  client.Post("/v1/completions", "{" + body + R"(,"echo":true,"stream":true})",
              [&](std::string_view piece) {
                reader.Push(piece);
                return true;
              });
  EXPECT_EQ(joined, text);
  EXPECT_EQ(Json(finish), At(whole, {"choices", "0", "finish_reason"}));
  EXPECT_TRUE(done);
}

// Ask 3, over HTTP: later turns and resends compute what is new only, and answer as from nothing.
TEST(Server, LaterTurnsResumeFromTheCache) {
  TestServer warm, cold({.engine = {.cache_bytes = 1}});
  std::string messages =
      R"({"role":"system","content":"You are a terse assistant of few words. Never explain."},{"role":"user","content":"Hello there, who are you and what can you do for me?"})";
  for (int turn = 0; turn < 4; ++turn) {
    const std::string body =
        R"({"messages":[)" + messages +
        R"(],"max_tokens":40,"temperature":0,"thinking_budget":4,"cache_prompt":)";
    const Json first = warm.PostJson("/v1/chat/completions", body + "true}");
    const Json again = warm.PostJson("/v1/chat/completions", body + "true}");
    const Json fresh = cold.PostJson("/v1/chat/completions", body + "false}");
    EXPECT_EQ(At(first, {"choices"}), At(fresh, {"choices"})) << "warm equals cold, turn " << turn;
    EXPECT_EQ(At(again, {"choices"}), At(fresh, {"choices"}));
    EXPECT_EQ(At(fresh, {"usage", "prompt_tokens_details", "cached_tokens"}), Json(0));
    const int64_t prompt = At(first, {"usage", "prompt_tokens"}).AsInt();
    if (turn > 0) {
      EXPECT_GT(At(first, {"usage", "prompt_tokens_details", "cached_tokens"}).AsInt(), prompt / 2);
    }
    EXPECT_GT(At(again, {"usage", "prompt_tokens_details", "cached_tokens"}).AsInt(), prompt - 40);
    Json answer = At(first, {"choices", "0", "message", "content"});
    messages += R"(,{"role":"assistant","content":)" + DumpJson(answer) +
                R"(},{"role":"user","content":"And what is the next thing that you would do?"})";
  }
}

TEST(Server, ContinuesAnOpenAnswer) {
  const Json json = Shared().PostJson(
      "/v1/chat/completions",
      R"({"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"<think>\nLet me see.\n</think>\n\nIt is"}],
          "continue_final_message":true,"add_generation_prompt":false,"max_tokens":8,"temperature":0})");
  EXPECT_EQ(At(json, {"choices", "0", "message"}).Find("reasoning_content"), nullptr);
  const Json applied = Shared().PostJson(
      "/apply-template",
      R"({"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"It is"}],"continue_final_message":true})");
  EXPECT_TRUE(At(applied, {"prompt"}).AsString().ends_with("It is"));
  EXPECT_EQ(
      Shared()
          .Post("/v1/chat/completions",
                R"({"messages":[{"role":"user","content":"Hi"}],"continue_final_message":true})")
          .status,
      400);
}

TEST(Server, APromptThatTheClientRenderedIsReadWithItsSpecialTokens) {
  // What HF tokenizers make of such a prompt, and so what clients that render the template expect.
  const Json applied = Shared().PostJson("/apply-template", TestServer::ChatBody(""));
  const std::string& rendered = At(applied, {"prompt"}).AsString();
  ASSERT_FALSE(rendered.starts_with("<s>"));
  const int64_t in_chat = At(Shared().Chat(kGreedy), {"usage", "prompt_tokens"}).AsInt();
  // One BOS, whether the text has it or not.
  for (const std::string& prompt : {rendered, "<s>" + rendered}) {
    Json body = Json::MakeObject();
    body.Set("prompt", prompt);
    body.Set("max_tokens", 1);
    const Json text = Shared().PostJson("/v1/completions", DumpJson(body));
    EXPECT_EQ(At(text, {"usage", "prompt_tokens"}).AsInt(), in_chat + 1) << prompt;
  }
}

TEST(Server, TokenizerRoutesRoundTrip) {
  const Json tokens = Shared().PostJson("/tokenize", R"({"prompt":"Hello world"})");
  EXPECT_EQ(At(tokens, {"count"}).AsInt(),
            static_cast<int64_t>(At(tokens, {"tokens"}).AsArray().size()));
  EXPECT_EQ(At(tokens, {"max_model_len"}), Json(1024));
  const Json back =
      Shared().PostJson("/detokenize", R"({"tokens":)" + DumpJson(At(tokens, {"tokens"})) + "}");
  EXPECT_EQ(At(back, {"prompt"}), Json("<s>Hello world"));
  const Json bare = Shared().PostJson("/tokenize", R"({"content":"Hello world"})");
  EXPECT_EQ(At(bare, {"count"}).AsInt() + 1, At(tokens, {"count"}).AsInt());
  const HttpResponse info = Shared().Get("/tokenizer_info");
  EXPECT_EQ(At(ParseJson(info.body, "info"), {"eos_token"}), Json("</s>"));
  EXPECT_EQ(Shared().Post("/detokenize", R"({"tokens":[1,99999999]})").status, 400);
}

TEST(Server, ModelsPropsSlotsAndPage) {
  const Json models = ParseJson(Shared().Get("/v1/models").body, "models");
  const Json& model = At(models, {"data", "0"});
  EXPECT_EQ(At(model, {"id"}), Json("tiny"));
  EXPECT_EQ(At(model, {"meta", "thinking", "supported"}), Json(true));
  EXPECT_EQ(At(model, {"meta", "layers", "mamba2"}), Json(3));
  EXPECT_EQ(Shared().Get("/v1/models/tiny").status, 200);
  EXPECT_EQ(Shared().Get("/v1/models/other").status, 404);
  EXPECT_EQ(Shared().Get("/props").status, 200);
  EXPECT_EQ(Shared().Get("/slots").status, 200);
  EXPECT_EQ(Shared().Get("/").status, 200);
  EXPECT_EQ(Shared().Get("/livez").status, 200);
  EXPECT_EQ(Shared().Get("/readyz").status, 200);
  EXPECT_EQ(Shared().Get("/demo/tools").status, 404) << "off unless asked for";
}

}  // namespace
}  // namespace planish
