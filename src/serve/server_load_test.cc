// SPDX-License-Identifier: Apache-2.0
// The server under load and with clients that behave badly: bounds of the queue, time-outs, disconnects, draining, keys,
// hostile bodies, metrics.
#include <atomic>
#include <cmath>

#include "net/raw_client.h"
#include "serve/server_testing.h"

namespace planish {
namespace {

using testing::At;
using testing::Eventually;
using testing::RawClient;
using testing::Streamed;
using testing::TestServer;

// Some hundred milliseconds of work in one slot.
const std::string kLong =
    R"("n":8,"max_tokens":300,"seed":4,"ignore_eos":true,"thinking_budget":0)";
const std::string kShort = R"("max_tokens":4,"temperature":0,"thinking_budget":0)";

std::string RawPost(const std::string& body, const std::string& path = "/v1/chat/completions") {
  return "POST " + path +
         " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}

size_t Running(TestServer* server) { return server->server().engine().published().stats.running; }

// Ask 17.
TEST(ServerLoad, AFullQueueAnswers429AndCompletesWhatItAdmitted) {
  ServeSettings settings;
  settings.slots = 1;
  settings.max_queue = 3;
  TestServer server({.settings = settings});
  std::atomic<int> ok = 0, refused = 0, other = 0;
  std::thread holder([&] {
    EXPECT_EQ(server.Post("/v1/chat/completions", TestServer::ChatBody(kLong)).status, 200);
  });
  EXPECT_TRUE(Eventually([&] { return server.server().running() == 1; }));
  EXPECT_TRUE(Eventually([&] { return Running(&server) == 1; }));
  std::vector<std::thread> clients;
  for (int i = 0; i < 30; ++i) {
    clients.emplace_back([&] {
      const auto start = std::chrono::steady_clock::now();
      const HttpResponse response =
          server.Post("/v1/chat/completions", TestServer::ChatBody(kShort));
      if (response.status == 200) {
        ++ok;
      } else if (response.status == 429) {
        ++refused;
        const std::string retry(response.Header("retry-after"));
        EXPECT_GE(std::atoi(retry.c_str()), 1);
        EXPECT_LE(std::atoi(retry.c_str()), 120);
        EXPECT_EQ(At(ParseJson(response.body, "r"), {"error", "code"}), Json("queue_full"));
        EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
      } else {
        ++other;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  holder.join();
  EXPECT_EQ(other, 0);
  EXPECT_GE(ok, 3);
  EXPECT_GT(refused, 0);
  EXPECT_EQ(ok + refused, 30);
  EXPECT_EQ(server.Metric("planish_queue_rejections_total"), refused.load());
  EXPECT_TRUE(Eventually([&] { return server.server().running() == 0; }));
}

TEST(ServerLoad, QueuedTokensAreBounded) {
  ServeSettings settings;
  settings.slots = 1;
  settings.max_queued_tokens = 300;
  TestServer server({.settings = settings});
  RawClient holder(server.server().port());  // runs for as long as this test takes
  holder.Send(RawPost(TestServer::ChatBody(
      R"("n":8,"max_tokens":1500,"seed":4,"ignore_eos":true,"thinking_budget":0)")));
  ASSERT_TRUE(Eventually([&] { return Running(&server) == 1; }));
  const std::string text(400, 'a');
  // Waits with more tokens than may wait, because one alone is always taken; and is there until the others were refused.
  RawClient first(server.server().port());
  first.Send(RawPost(TestServer::ChatBody(kShort, text)));
  ASSERT_TRUE(Eventually([&] {
    for (const SlotInfo& slot : server.server().engine().published().slots) {
      if (slot.phase == SlotInfo::Phase::kWaiting && slot.prompt_tokens > 300) return true;
    }
    return false;
  }));
  const HttpResponse refused =
      server.Post("/v1/chat/completions", TestServer::ChatBody(kShort, text));
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(At(ParseJson(refused.body, "r"), {"error", "code"}), Json("queue_full"));
  EXPECT_FALSE(refused.Header("retry-after").empty());
  EXPECT_EQ(Running(&server), 1) << "the holder ended too early for this test to mean anything";
}

TEST(ServerLoad, WaitingTooLongIs408) {
  ServeSettings settings;
  settings.slots = 1;
  settings.queue_timeout_s =
      0.25;  // longer than a busy machine needs to start the holder, shorter than it runs
  TestServer server({.settings = settings});
  RawClient holder(server.server().port());  // leaves when the test ends
  holder.Send(RawPost(TestServer::ChatBody(
      R"("n":8,"max_tokens":1500,"seed":4,"ignore_eos":true,"thinking_budget":0)")));
  EXPECT_TRUE(Eventually([&] { return Running(&server) == 1; }));
  const HttpResponse response =
      server.Post("/v1/chat/completions", TestServer::ChatBody(kShort + R"(,"stream":true)"));
  EXPECT_EQ(response.status, 408) << "before the first byte of a stream";
  EXPECT_EQ(At(ParseJson(response.body, "r"), {"error", "code"}), Json("queue_timeout"));
}

TEST(ServerLoad, AnswersTakingTooLongEndInAnErrorEvent) {
  ServeSettings settings;
  settings.request_timeout_s = 0.05;
  TestServer server({.settings = settings});
  const Streamed streamed = server.Stream(kLong);
  EXPECT_EQ(At(streamed.error, {"code"}), Json("request_timeout"));
  EXPECT_FALSE(streamed.is_done);
  EXPECT_EQ(server.Post("/v1/chat/completions", TestServer::ChatBody(kLong)).status, 408);
}

// Ask 16: a client that goes away takes its own request with it, wherever that is, and no other.
TEST(ServerLoad, DisconnectsCancelOnlyTheirOwnRequest) {
  ServeSettings settings;
  settings.slots = 2;
  TestServer server({.settings = settings});
  const std::string fields = R"("max_tokens":300,"seed":6,"ignore_eos":true,"thinking_budget":20)";
  const Streamed alone = server.Stream(fields);
  ASSERT_TRUE(alone.is_done);
  std::atomic<bool> stops = false;
  std::thread chaos([&] {
    uint64_t state = 5;
    for (int i = 0; i < 60 && !stops; ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      RawClient client(server.server().port());
      const std::string stream = state >> 40 & 1 ? R"(,"stream":true)" : "";
      client.Send(RawPost(TestServer::ChatBody(kLong + stream)));
      if (state >> 41 & 1) client.ReadSome(0.02);
      std::this_thread::sleep_for(std::chrono::microseconds(state >> 33 & 8191));
      if (state >> 42 & 1)
        client.Reset();
      else
        client.Close();
    }
  });
  for (int i = 0; i < 5; ++i) {
    const Streamed streamed = server.Stream(fields);
    EXPECT_TRUE(streamed.is_done);
    EXPECT_EQ(streamed.content, alone.content);
    EXPECT_EQ(streamed.reasoning, alone.reasoning);
  }
  stops = true;
  chaos.join();
  EXPECT_TRUE(Eventually([&] { return server.server().running() == 0 && Running(&server) == 0; }));
  EXPECT_GT(server.Metric("planish_requests_cancelled_total{model=\"tiny\",reason=\"client\"}"), 0);
  EXPECT_EQ(server.Chat(kShort).Find("error"), nullptr);
}

TEST(ServerLoad, CancelByControlEndsTheAnswerWithWhatThereIs) {
  TestServer server;
  const Streamed streamed = server.Stream(
      R"("max_tokens":900,"seed":3,"ignore_eos":true,"thinking_budget":0)", "Hi",
      [&](const Json& chunk) {
        if (At(chunk, {"choices", "0", "delta", "content"}) != Json("") &&
            At(chunk, {"id"}).is_string())
          server.Post("/v1/chat/completions/control",
                      R"({"id":")" + At(chunk, {"id"}).AsString() + R"(","action":"cancel"})");
        return true;
      });
  EXPECT_TRUE(streamed.is_done);
  EXPECT_EQ(streamed.finish.at(0), "stop");
  EXPECT_LT(At(streamed.usage, {"completion_tokens"}).AsInt(), 900);
}

TEST(ServerLoad, ASlowReaderPausesItsOwnStreamOnly) {
  HttpLimits limits;
  limits.congested_bytes = 4096;
  limits.stall_s = 1;
  TestServer server({.limits = limits});
  RawClient slow(server.server().port(), "127.0.0.1", 2048);
  slow.Send(RawPost(TestServer::ChatBody(
      R"("n":8,"max_tokens":900,"seed":1,"ignore_eos":true,"stream":true,"logprobs":true,"top_logprobs":20)")));
  EXPECT_TRUE(slow.ReadUntil("chat.completion.chunk"));
  const auto is_paused = [&] {
    const auto slots = server.server().engine().published().slots;
    return std::any_of(slots.begin(), slots.end(),
                       [](const SlotInfo& slot) { return slot.is_paused; });
  };
  EXPECT_TRUE(Eventually(is_paused));
  EXPECT_EQ(server.Chat(kShort).Find("error"), nullptr) << "others go on";
  EXPECT_TRUE(Eventually([&] { return server.server().running() == 0; })) << "given up in the end";
  EXPECT_EQ(server.Metric("planish_requests_cancelled_total{model=\"tiny\",reason=\"stalled\"}"),
            1);
}

TEST(ServerLoad, KeysGuardEverythingButHealth) {
  TestServer server({.keys = {"secret"}});
  for (const char* path : {"/health", "/livez", "/readyz", "/"})
    EXPECT_EQ(server.Get(path).status, 200) << path;
  for (const char* path : {"/metrics", "/slots", "/props", "/v1/models", "/tokenizer_info"}) {
    EXPECT_EQ(server.Get(path).status, 401) << path;
    EXPECT_EQ(server.Get(path, {{"authorization", "Bearer secret"}}).status, 200) << path;
  }
  const HttpResponse refused = server.Post("/v1/chat/completions", TestServer::ChatBody(kShort));
  EXPECT_EQ(refused.status, 401);
  EXPECT_EQ(At(ParseJson(refused.body, "r"), {"error", "type"}), Json("authentication_error"));
  EXPECT_EQ(
      server.Post("/v1/chat/completions", TestServer::ChatBody(kShort), {{"x-api-key", "secret"}})
          .status,
      200);
}

TEST(ServerLoad, OtherOriginsNeedLeave) {
  TestServer server({.origins = {"https://good.example"}});
  const HttpResponse good = server.Get("/health", {{"origin", "https://good.example"}});
  EXPECT_EQ(good.Header("access-control-allow-origin"), "https://good.example");
  const HttpResponse bad = server.Get("/health", {{"origin", "https://evil.example"}});
  EXPECT_EQ(bad.Header("access-control-allow-origin"), "");
  EXPECT_EQ(server.Client()
                .Send("OPTIONS", "/v1/chat/completions", {{"origin", "https://good.example"}})
                .status,
            204);
  EXPECT_EQ(server.Client()
                .Send("OPTIONS", "/v1/chat/completions", {{"origin", "https://evil.example"}})
                .status,
            403);
  EXPECT_EQ(server.Client().Send("GET", "/health", {{"host", "evil.example"}}).status, 400)
      << "two Host headers";
}

TEST(ServerLoad, AnswersWhileLoadingAndWhileDraining) {
  std::atomic<bool> may_load = false;
  TestServer server({.waits = false, .before_open = [&] {
                       while (!may_load) std::this_thread::sleep_for(std::chrono::milliseconds(1));
                     }});
  EXPECT_EQ(server.Get("/livez").status, 200);
  const HttpResponse loading = server.Get("/health");
  EXPECT_EQ(loading.status, 503);
  EXPECT_EQ(At(ParseJson(loading.body, "r"), {"error", "code"}), Json("loading"));
  EXPECT_TRUE(At(ParseJson(loading.body, "r"), {"progress"}).is_number());
  EXPECT_EQ(server.Post("/v1/chat/completions", TestServer::ChatBody(kShort)).status, 503);
  may_load = true;
  EXPECT_TRUE(server.WaitUntilReady());
  EXPECT_EQ(server.Get("/health").status, 200);
  std::thread running([&] {
    const Streamed streamed = server.Stream(kLong);
    EXPECT_TRUE(streamed.is_done) << "what runs is finished";
  });
  EXPECT_TRUE(Eventually([&] { return Running(&server) > 0; }));
  server.server().Drain();
  EXPECT_EQ(server.Get("/readyz").status, 503);
  EXPECT_EQ(server.Get("/livez").status, 200);
  const HttpResponse refused = server.Post("/v1/chat/completions", TestServer::ChatBody(kShort));
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(At(ParseJson(refused.body, "r"), {"error", "code"}), Json("draining"));
  running.join();
  EXPECT_TRUE(Eventually([&] { return server.server().running() == 0; }));
}

TEST(ServerLoad, HostileBodiesGetOneClearLine) {
  TestServer server;
  struct Case {
    std::string body;
    int status;
    std::string code, param;
  };
  const auto chat = [](const std::string& fields) { return TestServer::ChatBody(fields); };
  const std::string huge(300000, 'a');
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += R"({"a":)";
  std::vector<Case> cases = {
      {"", 400, "invalid_json", ""},
      {"{", 400, "invalid_json", ""},
      {"[]", 400, "invalid_value", ""},
      {"{\"messages\":\"\xff\"}", 400, "invalid_json", ""},
      {R"({"a":1,"a":2})", 400, "invalid_json", ""},
      {deep, 400, "invalid_json", ""},
      {"{}", 400, "invalid_value", "messages"},
      {R"({"messages":[]})", 400, "invalid_value", "messages"},
      {R"({"messages":{}})", 400, "invalid_value", "messages"},
      {R"({"messages":[1]})", 400, "invalid_value", "messages[0]"},
      {R"({"messages":[{"role":"robot","content":"x"}]})", 400, "invalid_value",
       "messages[0].role"},
      {R"({"messages":[{"role":"user"}]})", 400, "invalid_value", "messages[0].content"},
      {R"({"messages":[{"role":"user","content":3}]})", 400, "invalid_value",
       "messages[0].content"},
      {R"({"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"file:///etc/passwd"}}]}]})",
       400, "unsupported_value", "messages[0].content[0]"},
      {TestServer::ChatBody("", huge), 400, "context_length_exceeded", ""},
      {chat(R"("tools":{})"), 400, "invalid_value", "tools"},
      {chat(R"("tools":[{"type":"function","function":{"name":"a b"}}])"), 400, "invalid_value",
       "tools[0].function.name"},
      {chat(R"("tool_choice":"required")"), 400, "invalid_value", "tool_choice"},
      {chat(R"("tool_choice":{"type":"function","function":{"name":"f"}})"), 400, "invalid_value",
       "tool_choice"},
      {chat(R"("stop":[1])"), 400, "invalid_value", "stop"},
      {chat(
           R"("stop":["1","2","3","4","5","6","7","8","9","10","11","12","13","14","15","16","17"])"),
       400, "invalid_value", "stop"},
      {chat(R"("logit_bias":{"512":1})"), 400, "invalid_value", "logit_bias"},
      {chat(R"("logit_bias":{"x":1})"), 400, "invalid_value", "logit_bias"},
      {chat(R"("logit_bias":{"1":101})"), 400, "invalid_value", "logit_bias"},
      {chat(R"("top_logprobs":3)"), 400, "invalid_value", "top_logprobs"},
      {chat(R"("logprobs":true,"top_logprobs":21)"), 400, "invalid_value", "top_logprobs"},
      {chat(R"("thinking":{"type":"maybe"})"), 400, "invalid_value", "thinking.type"},
      {chat(R"("reasoning_effort":"huge")"), 400, "invalid_value", "reasoning_effort"},
  };
  // H11: numbers at and beyond their ranges.
  const std::pair<const char*, std::vector<const char*>> numbers[] = {
      {"max_tokens",
       {"-1", "0", "2147483648", "1e30", "\"5\"", "1.5", "true", "18446744073709551616"}},
      {"max_completion_tokens", {"-1", "0", "99999999999"}},
      {"n", {"0", "-1", "9", "1000000", "2.5"}},
      {"temperature", {"-1", "1e308", "101", "\"hot\"", "-0.001"}},
      {"top_p", {"2", "-1", "1.0001"}},
      {"top_k", {"-5", "1e12", "0.5"}},
      {"min_p", {"-0.1", "1.1"}},
      {"repetition_penalty", {"0", "-1", "1e9"}},
      {"frequency_penalty", {"1e9", "-1e9"}},
      {"presence_penalty", {"1e9", "[]"}},
      {"seed", {"18446744073709551616", "0.5", "{}"}},
      {"thinking_budget", {"-2", "1e15", "\"x\"", "3.5"}},
      {"thinking_grace", {"-2", "1e15"}},
      {"answer_reserve", {"-2"}},
      {"min_thinking_tokens", {"-1"}},
      {"priority", {"100000", "1.5"}},
      {"stream", {"1", "\"true\""}},
      {"cache_salt", {"5"}},
      {"stream_options", {"5"}},
      {"chat_template_kwargs", {"[]"}},
  };
  for (const auto& [name, values] : numbers) {
    for (const char* value : values)
      cases.push_back({chat(fmt::format(R"("{}":{})", name, value)), 400, "", name});
  }
  for (const Case& test : cases) {
    const HttpResponse response = server.Post("/v1/chat/completions", test.body);
    EXPECT_EQ(response.status, test.status) << test.body.substr(0, 200) << "\n" << response.body;
    const Json json = ParseJson(response.body, "response");
    if (!test.code.empty()) {
      EXPECT_EQ(At(json, {"error", "code"}), Json(test.code)) << response.body;
    }
    if (!test.param.empty()) {
      EXPECT_EQ(At(json, {"error", "param"}), Json(test.param)) << response.body;
    }
    const Json& message = At(json, {"error", "message"});
    ASSERT_TRUE(message.is_string());
    EXPECT_EQ(message.AsString().find('\n'), std::string::npos);
  }
  const std::string too_long =
      server.Post("/v1/chat/completions", TestServer::ChatBody("", huge)).body;
  EXPECT_NE(too_long.find("1024"), std::string::npos) << "both numbers: " << too_long;
  for (const char* body :
       {R"({"prompt":[]})", R"({"prompt":""})", R"({"prompt":[[]]})", R"({"prompt":[99999]})",
        R"({"prompt":[-1]})", R"({"prompt":{"a":1}})", R"({"prompt":"a","max_tokens":0})",
        R"({"prompt":"a","best_of":2})", R"({"prompt":"a","suffix":"b"})",
        R"({"prompt":"a","logprobs":21})", R"({"prompt":[1.5]})", R"({})",
        R"({"prompt":"a","echo":true,"logprobs":1,"stream":true})"})
    EXPECT_EQ(server.Post("/v1/completions", body).status,
              std::string(body) == R"({"prompt":""})" ? 200 : 400)
        << body;
  EXPECT_EQ(server.Get("/v1/chat/completions").status, 405);
  EXPECT_EQ(server.Get("/v1/chat/completions").Header("allow"), "POST");
  EXPECT_EQ(server.Get("/v1/embeddings").status, 404);
  EXPECT_EQ(server.Get("/../etc/passwd").status, 404);
  EXPECT_EQ(server.Post("/v1/chat/completions", "{}", {{"content-type", "application/xml"}}).status,
            415);
  EXPECT_EQ(server.Post("/v1/chat/completions", std::string(9u << 20, ' ')).status, 413);
  EXPECT_EQ(server.Chat(kShort).Find("error"), nullptr) << "and it goes on";
}

TEST(ServerLoad, ATemplateThatRefusesIsA400) {
  TestServer server({.chat_template = R"({% for m in messages %}
{% if loop.previtem is defined and loop.previtem.role == m.role %}
{{ raise_exception('roles must alternate') }}
{% endif %}{{ m.content }}{% endfor %})"});
  const HttpResponse refused = server.Post(
      "/v1/chat/completions",
      R"({"messages":[{"role":"user","content":"a"},{"role":"user","content":"b"}],"max_tokens":2})");
  EXPECT_EQ(refused.status, 400);
  const Json error = ParseJson(refused.body, "r");
  EXPECT_EQ(At(error, {"error", "code"}), Json("template_error"));
  const std::string& message = At(error, {"error", "message"}).AsString();
  EXPECT_NE(message.find("roles must alternate"), std::string::npos) << message;
  EXPECT_NE(message.find("line 3"), std::string::npos) << message;
  const HttpResponse applied =
      server.Post("/apply-template",
                  R"({"messages":[{"role":"user","content":"a"},{"role":"user","content":"b"}]})");
  EXPECT_EQ(applied.status, 400) << applied.body;
  EXPECT_EQ(server.Post("/v1/chat/completions", TestServer::ChatBody(kShort)).status, 200);
}

TEST(ServerLoad, StrictSettingsRefuseWhatIsUnknown) {
  ServeSettings settings;
  settings.strict_model = settings.strict_params = settings.reasoning_both = true;
  settings.thinking.budget = 5;
  settings.thinking.budget_max = 9;
  TestServer server({.settings = settings});
  EXPECT_EQ(
      server.Post("/v1/chat/completions", TestServer::ChatBody(kShort + R"(,"foo":1)")).status,
      400);
  EXPECT_EQ(server.Post("/v1/chat/completions", TestServer::ChatBody(kShort + R"(,"model":"gpt")"))
                .status,
            404);
  EXPECT_EQ(server.Post("/v1/chat/completions", TestServer::ChatBody(kShort + R"(,"model":"tiny")"))
                .status,
            200);
  const Json json = server.Chat(R"("max_tokens":100,"seed":1)");
  EXPECT_EQ(At(json, {"planish", "thinking", "budget"}), Json(5)) << "the server's default";
  EXPECT_EQ(At(json, {"choices", "0", "message", "reasoning"}),
            At(json, {"choices", "0", "message", "reasoning_content"}));
  const Json more = server.Chat(R"("max_tokens":100,"seed":1,"thinking_budget":50)");
  EXPECT_EQ(At(more, {"planish", "thinking", "budget"}), Json(9)) << "the server's ceiling";
}

TEST(ServerLoad, MetricsAreWellFormedAndCount) {
  TestServer server;
  server.Chat(R"("max_tokens":80,"seed":1,"thinking_budget":4,"ignore_eos":true)");
  server.Chat(kShort);
  EXPECT_EQ(server.Metric("planish_generation_tokens_total"), 84);
  EXPECT_EQ(
      server.Metric(
          "planish_requests_total{model=\"tiny\",endpoint=\"/v1/chat/completions\",code=\"200\"}"),
      2);
  EXPECT_GT(server.Metric("planish_reasoning_tokens_total"), 4);
  EXPECT_EQ(server.Metric("planish_time_to_first_token_seconds_count"), 2);
  EXPECT_GT(server.Metric("planish_resident_memory_bytes"), 1e6);
  for (const char* name : {"requests_running", "requests_waiting", "cache_bytes", "engine_threads"})
    EXPECT_GE(server.Metric(std::string("planish_") + name), 0) << name;
  const std::string text = server.Get("/metrics").body;
  double last = -1;
  std::string family;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    ASSERT_NE(end, std::string::npos);
    const std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    if (line.starts_with("# ")) continue;
    const size_t brace = line.find('{'), close = line.rfind("} ");
    ASSERT_NE(brace, std::string::npos) << line;
    ASSERT_NE(close, std::string::npos) << line;
    EXPECT_TRUE(line.find("model=\"tiny\"") != std::string::npos) << line;
    const double value = std::atof(line.c_str() + close + 2);
    EXPECT_TRUE(std::isfinite(value));
    const std::string name = line.substr(0, brace);
    if (name.ends_with("_bucket")) {  // buckets are cumulative
      if (name == family) {
        EXPECT_GE(value, last) << line;
      }
      family = name;
      last = value;
    } else {
      family.clear();
    }
  }
}

}  // namespace
}  // namespace planish
