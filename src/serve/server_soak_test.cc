// SPDX-License-Identifier: Apache-2.0
// A server with planish-nano, its cache on disk and every kind of client at once for SOAK_MINUTES (`make soak`; a minute
// otherwise): what is deterministic must stay the same, nothing may fail that should not, memory must not grow.
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <mutex>

#include "base/memory.h"
#include "base/random.h"
#include "net/raw_client.h"
#include "serve/server_testing.h"

namespace planish {
namespace {

using testing::At;
using testing::Eventually;
using testing::RawClient;
using testing::TemporaryDir;
using testing::TestServer;
using Clock = std::chrono::steady_clock;

// Refused for want of room is an answer; everything else must be as expected.
bool IsRefused(int status) { return status == 429 || status == 408; }

class Soak {
 public:
  explicit Soak(TestServer* server) : server_(server) {}

  void Run(double seconds) {
    Learn();
    const auto start = Clock::now();
    std::vector<std::thread> threads;
    const auto repeat = [&](void (Soak::*client)(Random*)) {
      threads.emplace_back([this, client, id = threads.size()] {
        Random random(11, id);
        while (!stops_) (this->*client)(&random);
      });
    };
    for (int i = 0; i < 3; ++i) repeat(&Soak::Repeat);
    repeat(&Soak::Talk);
    repeat(&Soak::Talk);
    repeat(&Soak::Score);
    repeat(&Soak::Leave);
    repeat(&Soak::Misbehave);
    repeat(&Soak::Look);
    // After a fifth of the time the cache is full and every path was taken.
    double least = 0;
    std::vector<double> resident;
    while (Seconds(start) < seconds) {
      std::this_thread::sleep_for(std::chrono::milliseconds(250));
      if (Seconds(start) < seconds / 5) continue;
      resident.push_back(static_cast<double>(ResidentBytes()));
    }
    stops_ = true;
    for (std::thread& thread : threads) thread.join();
    EXPECT_TRUE(Eventually([&] { return server_->server().running() == 0; }, 60));
    const size_t quarter = std::max<size_t>(1, resident.size() / 4);
    const double early = *std::max_element(resident.begin(), resident.begin() + quarter);
    const double late = *std::max_element(resident.end() - quarter, resident.end());
    least = *std::min_element(resident.begin(), resident.end());
    fmt::print(
        "{:.0f} s: {} repeated, {} turns, {} scored, {} left, {} malformed, {} refused; resident "
        "{:.0f} MiB at least, {:.0f} in the first quarter, {:.0f} in the last\n",
        seconds, repeated_.load(), turns_.load(), scored_.load(), left_.load(), malformed_.load(),
        refused_.load(), least / (1 << 20), early / (1 << 20), late / (1 << 20));
    for (const auto* count : {&repeated_, &turns_, &scored_, &left_, &malformed_})
      EXPECT_GT(count->load(), 0u);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    EXPECT_LT(late, 1.1 * early + (16 << 20));
#endif
  }

 private:
  static double Seconds(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  }
  HttpResponse Chat(const std::string& body) { return server_->Post("/v1/chat/completions", body); }
  // Null if it was refused.
  Json Answer(const HttpResponse& response) {
    if (IsRefused(response.status)) {
      ++refused_;
      return {};
    }
    EXPECT_EQ(response.status, 200) << response.body.substr(0, 500);
    return ParseJson(response.body, "response");
  }

  // What each of some requests gives when nobody else is there.
  void Learn() {
    const std::string schema =
        R"("response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{"type":"object","properties":{"n":{"type":"integer"},"w":{"enum":["a","b"]}},"required":["n","w"]}}})";
    const std::string tools =
        R"("tools":[{"type":"function","function":{"name":"name_a_color","parameters":{"type":"object","properties":{"color_hex":{"type":"string"}},"required":["color_hex"]}}}])";
    fixed_ = {
        TestServer::ChatBody(R"("max_tokens":96,"temperature":0)", "What is 17 + 25?"),
        TestServer::ChatBody(R"("max_tokens":160,"seed":5,"thinking_budget":32,"n":2)", "Why?"),
        TestServer::ChatBody(R"("max_tokens":64,"temperature":0,"thinking_budget":0,)" + schema,
                             "Give me one."),
        TestServer::ChatBody(R"("max_tokens":128,"seed":1,"tool_choice":"required",)" + tools,
                             "Which colour is #ff8800?"),
    };
    for (const std::string& body : fixed_) {
      const Json json = Answer(Chat(body));
      expected_.push_back(Messages(json));
    }
  }

  // The messages of an answer without ids, which differ each time.
  static std::string Messages(const Json& json) {
    std::string text;
    const Json& choices = At(json, {"choices"});
    if (!choices.is_array()) return text;
    for (const Json& choice : choices.AsArray()) {
      text += DumpJson(At(choice, {"message", "content"})) +
              DumpJson(At(choice, {"message", "reasoning_content"})) +
              DumpJson(At(choice, {"message", "tool_calls", "0", "function"})) +
              DumpJson(At(choice, {"finish_reason"}));
    }
    return text;
  }

  void Repeat(Random* random) {
    const size_t which = random->Below(fixed_.size());
    const Json json = Answer(Chat(fixed_[which]));
    if (json.is_null()) return;
    EXPECT_EQ(Messages(json), expected_[which]);
    ++repeated_;
  }

  // A chat of some turns that grows by its answers.
  void Talk(Random* random) {
    std::string messages =
        fmt::format(R"({{"role":"system","content":"You are client {}."}})", random->Below(50));
    for (int turn = 0; turn < 5 && !stops_; ++turn) {
      messages += fmt::format(R"(,{{"role":"user","content":"{} and {}?"}})", random->Below(1000),
                              random->Below(1000));
      const Json json = Answer(
          Chat(fmt::format(R"({{"messages":[{}],"max_tokens":80,"seed":{},"thinking_budget":{}}})",
                           messages, random->Below(1000), random->Below(2) * 24)));
      if (json.is_null()) return;
      const Json& content = At(json, {"choices", "0", "message", "content"});
      messages += R"(,{"role":"assistant","content":)" + DumpJson(content) + "}";
      ++turns_;
    }
  }

  void Score(Random* random) {
    std::string ids;
    for (uint64_t i = 0, n = 2 + random->Below(300); i < n; ++i)
      ids += (i > 0 ? "," : "") + std::to_string(20 + random->Below(2000));
    const Json json = Answer(server_->Post(
        "/v1/completions",
        R"({"prompt":[)" + ids + R"(],"max_tokens":1,"echo":true,"logprobs":1,"temperature":0})"));
    if (!json.is_null()) {
      EXPECT_TRUE(At(json, {"choices", "0", "logprobs", "token_logprobs"}).is_array());
      ++scored_;
    }
  }

  void Leave(Random* random) {
    RawClient client(server_->server().port(), "127.0.0.2");
    const std::string body = TestServer::ChatBody(
        fmt::format(R"("max_tokens":500,"seed":{},"ignore_eos":true,"stream":true)",
                    random->Below(100)),
        std::string(random->Below(2000), 'x'));
    client.Send(fmt::format(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{}",
        body.size(), body));
    client.ReadSome(static_cast<double>(random->Below(100)) / 1000);
    std::this_thread::sleep_for(std::chrono::milliseconds(random->Below(60)));
    if (random->Below(2) == 0) client.Reset();
    ++left_;
  }

  void Misbehave(Random* random) {
    std::string body = fixed_[random->Below(fixed_.size())];
    const size_t at = random->Below(body.size());
    switch (random->Below(3)) {
      case 0:
        body.resize(at);
        break;
      case 1:
        body[at] = static_cast<char>(random->Below(256));
        break;
      default:
        body.insert(at, "\"");
    }
    const HttpResponse response = Chat(body);
    EXPECT_TRUE(response.status == 200 || response.status == 400 || response.status == 404 ||
                IsRefused(response.status))
        << response.status << " " << response.body.substr(0, 500);
    ++malformed_;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }

  void Look(Random*) {
    for (const char* path : {"/health", "/metrics", "/slots", "/props", "/v1/models"})
      EXPECT_EQ(server_->Get(path).status, 200) << path;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }

  TestServer* server_;
  std::vector<std::string> fixed_, expected_;
  std::atomic<bool> stops_ = false;
  std::atomic<size_t> repeated_ = 0, turns_ = 0, scored_ = 0, left_ = 0, malformed_ = 0,
                      refused_ = 0;
};

TEST(ServerSoak, EveryKindOfClientAtOnceSlow) {
  const char* asked = std::getenv("SOAK_MINUTES");
  const double minutes = asked == nullptr ? 1 : std::atof(asked);
  TemporaryDir folder;
  ServeSettings settings;
  settings.slots = 4;
  settings.max_queue = 4;  // so that some are refused
  EngineOptions engine;
  engine.cache_bytes = 48 << 20;
  engine.cache_dir = folder / "states";
  engine.cache_dir_bytes = 96 << 20;
  engine.context = 2048;
  engine.max_itl_ms = 250;
  TestServer server({.folder = PLANISH_SOURCE_DIR "/models/planish-nano",
                     .settings = settings,
                     .engine = engine});
  Soak(&server).Run(60 * minutes);
}

}  // namespace
}  // namespace planish
