// SPDX-License-Identifier: Apache-2.0
// Crowds of clients: thousands that leave at random moments, ten times more than fit, a thousand that are slow.
#include <malloc.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>

#include "base/memory.h"
#include "base/random.h"
#include "net/raw_client.h"
#include "serve/load_report.h"
#include "serve/server_testing.h"

namespace planish {
namespace {

using testing::At;
using testing::Eventually;
using testing::RawClient;
using testing::Streamed;
using testing::TestServer;
using Clock = std::chrono::steady_clock;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kIsPlain = false;  // shadow memory counts as resident, and everything is slow
#else
constexpr bool kIsPlain = true;
#endif

double MillisecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

std::string RawPost(const std::string& body, const std::string& path = "/v1/chat/completions") {
  return fmt::format("POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{}", path,
                     body.size(), body);
}

// Loopback addresses, so that the bound on connections of one client is not what is tested.
std::string Address(size_t i) { return fmt::format("127.0.{}.{}", 1 + i / 200, 1 + i % 200); }

// Requests that many clients repeat, and what each gave when the server had nothing else to do.
struct Reference {
  std::string fields, text;
  Streamed alone;
};

std::vector<Reference> References(const TestServer& server) {
  std::vector<Reference> all = {
      {R"("max_tokens":120,"seed":6,"ignore_eos":true,"thinking_budget":20)", "Hi there", {}},
      {R"("max_tokens":90,"temperature":0,"ignore_eos":true,"thinking_budget":0)", "Count", {}},
      {R"("max_tokens":60,"seed":9,"top_p":0.9,"n":2,"ignore_eos":true)", "What is new?", {}}};
  for (Reference& one : all) {
    one.alone = server.Stream(one.fields, one.text);
    EXPECT_TRUE(one.alone.is_done);
  }
  return all;
}

void ExpectAsAlone(const TestServer& server, const Reference& one) {
  const Streamed streamed = server.Stream(one.fields, one.text);
  EXPECT_TRUE(streamed.is_done);
  EXPECT_EQ(streamed.content, one.alone.content);
  EXPECT_EQ(streamed.reasoning, one.alone.reasoning);
}

// One client that asks for something of random size and leaves at a random moment in one of several ways.
void AskAndLeave(TestServer* server, Random* random) {
  RawClient client(server->server().port(), Address(random->Below(800)).c_str());
  const std::string text(8 + random->Below(400), 'a');
  const bool streams = random->Below(2) == 0;
  const std::string fields = fmt::format(R"("max_tokens":{},"n":{},"seed":{},"ignore_eos":true{})",
                                         20 + random->Below(400), 1 + random->Below(3),
                                         random->Below(1000), streams ? R"(,"stream":true)" : "");
  client.Send(RawPost(TestServer::ChatBody(fields, text)));
  const auto moment = std::chrono::microseconds(random->Below(30'000));
  if (streams && random->Below(3) == 0) client.ReadUntil("chat.completion.chunk", 1);
  std::this_thread::sleep_for(moment);
  const size_t at = client.text().find("\"id\":\"");
  if (at != std::string::npos && random->Below(3) == 0) {
    const std::string id = client.text().substr(at + 6, client.text().find('"', at + 6) - at - 6);
    server->Post("/v1/chat/completions/control",
                 fmt::format(R"({{"id":"{}","action":"cancel"}})", id));
  } else if (random->Below(2) == 0) {
    client.Reset();
  } else {
    client.ShutdownSend();
  }
}

// `count` cancellations from four threads while two others compare streams with what they gave alone.
void Cancel(TestServer* server, const std::vector<Reference>& references, size_t count,
            uint64_t seed) {
  std::atomic<size_t> left = count;
  std::atomic<size_t> compared = 0;
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Random random(seed, t);
      while (left.load() > 0) {
        left.fetch_sub(std::min<size_t>(1, left.load()));
        AskAndLeave(server, &random);
      }
    });
  }
  for (size_t t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = t; left.load() > 0; ++i, ++compared)
        ExpectAsAlone(*server, references[i % references.size()]);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(compared.load(), 0u);
  EXPECT_TRUE(Eventually([&] { return server->server().running() == 0; }, 60));
}

double SettledBytes(const TestServer& server) {
  server.Get("/health");
  std::this_thread::sleep_for(std::chrono::milliseconds(300));  // idle: published, states freed
  malloc_trim(0);
  return static_cast<double>(ResidentBytes());
}

TEST(ServerChaos, ThreeThousandCancellationsLeaveOtherStreamsAndMemoryAloneSlow) {
  ServeSettings settings;
  settings.slots = 6;
  EngineOptions engine;
  engine.cache_bytes =
      8 << 20;  // full after the first cancellations, so that it does not look like a leak
  TestServer server({.settings = settings, .engine = engine});
  const std::vector<Reference> references = References(server);
  Cancel(&server, references, 1500, /*seed=*/1);
  const double before = SettledBytes(server);
  Cancel(&server, references, 3000, /*seed=*/2);
  const double after = SettledBytes(server);
  fmt::print("resident {:.1f} MiB before, {:.1f} MiB after 3,000 cancellations\n",
             before / (1 << 20), after / (1 << 20));
  if (kIsPlain) {
    EXPECT_LT(std::abs(after / before - 1), 0.02);
  }
  EXPECT_GT(server.Metric("planish_requests_cancelled_total{model=\"tiny\",reason=\"client\"}"),
            1000);
  for (const Reference& one : references) ExpectAsAlone(server, one);
}

// Ask 17, with everybody at once.
TEST(ServerChaos, TenTimesTheRoomGets429AtOnceAndTheAdmittedTheirAnswers) {
  ServeSettings settings;
  settings.slots = 2;
  settings.max_queue = 6;
  HttpLimits limits;
  limits.connections_per_address = 200;
  TestServer server({.settings = settings, .limits = limits});
  const std::string fields = R"("max_tokens":200,"temperature":0,"ignore_eos":true)";
  const Json alone = server.Chat(fields);
  constexpr size_t kRoom = 8, kClients = 10 * kRoom;
  std::mutex mutex;
  std::vector<double> refusals_ms;
  size_t answered = 0;
  std::atomic<size_t> ready = 0;
  std::vector<std::thread> clients;
  for (size_t i = 0; i < kClients; ++i) {
    clients.emplace_back([&] {
      HttpClient client = server.Client();
      client.Get("/livez");  // connected
      ++ready;
      while (ready < kClients) std::this_thread::yield();
      const auto start = Clock::now();
      const HttpResponse response =
          client.Post("/v1/chat/completions", TestServer::ChatBody(fields));
      const double ms = MillisecondsSince(start);
      const Json body = ParseJson(response.body, "response");
      const std::lock_guard lock(mutex);
      if (response.status == 200) {
        ++answered;
        EXPECT_EQ(At(body, {"choices", "0", "message"}), At(alone, {"choices", "0", "message"}));
      } else {
        EXPECT_EQ(response.status, 429) << response.body;
        EXPECT_NE(response.Header("retry-after"), "");
        refusals_ms.push_back(ms);
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_GE(answered, kRoom);
  EXPECT_EQ(answered + refusals_ms.size(), kClients);
  ASSERT_GT(refusals_ms.size(), kClients / 4);
  fmt::print("{} answered; {} refused, median {:.1f} ms, p99 {:.1f} ms\n", answered,
             refusals_ms.size(), Percentile(refusals_ms, 50), Percentile(refusals_ms, 99));
  EXPECT_LT(Percentile(refusals_ms, 99), 5000) << "a refusal does not wait for a slot";
  EXPECT_EQ(server.Metric("planish_queue_rejections_total"), refusals_ms.size());
  EXPECT_TRUE(Eventually([&] { return server.server().running() == 0; }));
}

// A client that does everything a byte at a time, is cut off for it, and comes back.
class SlowClient {
 public:
  SlowClient(TestServer* server, size_t index)
      : server_(server), address_(Address(index / 8)), kind_(index % 4), random_(77, index) {
    Connect();
  }

  void Move() {
    if (client_ == nullptr || (kind_ != 3 && sent_ == request_.size())) return Connect();
    if (kind_ == 3) {  // a stream of which little is read
      if (!client_->ReadSome(0) && random_.Below(20) == 0) Connect();
      return;
    }
    if (!client_->Send(std::string_view(request_).substr(sent_, 1))) return Connect();
    ++sent_;
  }

 private:
  void Connect() {
    client_.reset();
    sent_ = 0;
    try {
      client_ = std::make_unique<RawClient>(server_->server().port(), address_.c_str(), 2048);
    } catch (const std::exception&) {
      return;  // the next move tries again
    }
    if (kind_ == 0) {
      request_ = "GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + std::string(300, 'a');
    } else if (kind_ == 1) {
      request_ = std::string(200, '{');
      client_->Send(
          "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n");
    } else if (kind_ == 2) {
      request_ = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    } else {
      client_->Send(RawPost(TestServer::ChatBody(
          R"("max_tokens":400,"n":2,"seed":1,"ignore_eos":true,"stream":true)")));
    }
  }

  TestServer* server_;
  std::string address_;
  size_t kind_, sent_ = 0;
  Random random_;
  std::string request_;
  std::unique_ptr<RawClient> client_;
};

TEST(ServerChaos, AThousandSlowConnectionsLeaveHealthQuickSlow) {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  if (files.rlim_cur < 2500) GTEST_SKIP() << "needs 2,500 open files";
  const char* seconds_asked = std::getenv("SLOW_CONNECTIONS_SECONDS");
  const double seconds = seconds_asked == nullptr ? 300 : std::atof(seconds_asked);
  HttpLimits limits;
  limits.connections = 1100;
  limits.stall_s = 5;
  TestServer server({.limits = limits});
  std::vector<std::unique_ptr<SlowClient>> clients;
  for (size_t i = 0; i < 1000; ++i) clients.push_back(std::make_unique<SlowClient>(&server, i));
  const auto start = Clock::now();
  std::atomic<bool> stops = false;
  std::thread mover([&] {  // every client moves about once a second
    for (size_t i = 0; !stops; i = (i + 1) % clients.size()) {
      clients[i]->Move();
      if (i % 10 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  });
  std::vector<double> health_ms;
  size_t least = 1000, most = 0;
  while (MillisecondsSince(start) < 1000 * seconds) {
    const auto asked = Clock::now();
    EXPECT_EQ(server.Get("/health").status, 200);  // a new connection each time
    health_ms.push_back(MillisecondsSince(asked));
    const size_t now = server.server().http_counts().connections;
    if (MillisecondsSince(start) > 1000) {
      least = std::min(least, now);
      most = std::max(most, now);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  stops = true;
  mover.join();
  fmt::print("{} to {} connections for {} s: /health median {:.2f} ms, p99 {:.2f} ms of {}\n",
             least, most, seconds, Percentile(health_ms, 50), Percentile(health_ms, 99),
             health_ms.size());
  EXPECT_GT(most, 900u);
  if (kIsPlain) {
    EXPECT_LT(Percentile(health_ms, 99), 50);
  }
  clients.clear();
  EXPECT_TRUE(Eventually([&] { return server.server().running() == 0; }));
  EXPECT_EQ(server.Chat(R"("max_tokens":4,"thinking_budget":0)").Find("error"), nullptr);
}

}  // namespace
}  // namespace planish
