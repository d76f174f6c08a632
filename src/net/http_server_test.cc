// SPDX-License-Identifier: Apache-2.0
#include "net/http_server.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "base/testing.h"
#include "net/http_client.h"
#include "net/raw_client.h"
#include "net/test_certificate.h"

namespace planish {
namespace {

using testing::RawClient;
using Gone = HttpExchange::Gone;

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <typename Condition>
bool Eventually(Condition&& condition, double seconds = 10) {
  for (const double end = Now() + seconds; Now() < end;) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return condition();
}

// Answers every path in its own way; keeps exchanges of /hold for the test.
class Fixture {
 public:
  explicit Fixture(HttpServerOptions options = {})
      : server_(std::move(options),
                [this](std::shared_ptr<HttpExchange> e) { Handle(std::move(e)); }) {
    server_.Start();
  }
  ~Fixture() { server_.Stop(); }

  void Handle(std::shared_ptr<HttpExchange> exchange) {
    const HttpRequest& request = exchange->request();
    if (request.path == "/echo") {
      exchange->Respond({.headers = {{"x-method", request.method}}, .body = request.body});
    } else if (request.path == "/throw") {
      throw RuntimeError("secret detail");
    } else if (request.path == "/drop") {
    } else if (request.path == "/stream") {
      exchange->StartStream({.headers = {{"content-type", "text/event-stream"}}}, ": ping\n\n",
                            0.15);
      exchange->Write("data: one\n\n");
      exchange->Write("data: two\n\n");
      exchange->Finish();
    } else if (request.path == "/hold") {
      exchange->OnGone([this](Gone reason) { last_gone_ = static_cast<int>(reason), ++gone_; });
      const std::lock_guard lock(mutex_);
      held_.push_back(std::move(exchange));
    } else {
      exchange->Respond({.status = 404, .body = "no"});
    }
  }
  std::shared_ptr<HttpExchange> Take() {
    std::shared_ptr<HttpExchange> exchange;
    EXPECT_TRUE(Eventually([&] {
      const std::lock_guard lock(mutex_);
      if (held_.empty()) return false;
      exchange = std::move(held_.front());
      held_.erase(held_.begin());
      return true;
    }));
    return exchange;
  }
  uint16_t port() const { return server_.port(); }
  std::string url() const { return server_.url(); }
  HttpServer& server() { return server_; }
  int gone() const { return gone_; }
  Gone last_gone() const { return static_cast<Gone>(last_gone_.load()); }

 private:
  std::mutex mutex_;
  std::vector<std::shared_ptr<HttpExchange>> held_;
  std::atomic<int> gone_ = 0, last_gone_ = -1;
  HttpServer server_;
};

const std::string kHold = "GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n";

TEST(HttpServer, AnswersOverOneKeptConnection) {
  Fixture fixture;
  HttpClient client(fixture.url());
  for (int i = 0; i < 200; ++i) {
    const std::string body(static_cast<size_t>(i) * 37, 'x');
    const HttpResponse response = client.Post("/echo", body);
    ASSERT_EQ(response.status, 200);
    ASSERT_EQ(response.body, body);
  }
  EXPECT_EQ(client.Get("/none").status, 404);
  EXPECT_TRUE(Eventually([&] { return fixture.server().counts().requests == 201; }));
  EXPECT_EQ(fixture.server().counts().connections, 1u);
  const HttpResponse head = client.Send("HEAD", "/echo");
  EXPECT_EQ(head.Header("x-method"), "HEAD");
  EXPECT_EQ(head.body, "");
  const std::string large(5u << 20, 'y');
  EXPECT_EQ(client.Post("/echo", large).body, large);
}

TEST(HttpServer, AnswersPipelinedRequestsInOrderAndHalfClosedClients) {
  Fixture fixture;
  RawClient client(fixture.port());
  std::string all;
  for (int i = 0; i < 500; ++i) {
    const std::string body = std::to_string(i);
    all += "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(body.size()) +
           "\r\n\r\n" + body;
  }
  std::thread sender([&] { client.Send(all + "GET /last HTTP/1.0\r\n\r\n"); });
  EXPECT_TRUE(client.ReadToEnd());
  sender.join();
  size_t at = 0;
  for (int i = 0; i < 500; ++i) {
    at = client.text().find("\r\n\r\n" + std::to_string(i) + "HTTP/1.1 ", at);
    ASSERT_NE(at, std::string::npos) << i;
  }
  RawClient half(fixture.port());
  half.Send("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
  half.ShutdownSend();
  EXPECT_TRUE(half.ReadToEnd());
  EXPECT_EQ(half.status(), 200);
}

TEST(HttpServer, StreamsInChunksWithFillersAndBareToOldClients) {
  Fixture fixture;
  HttpClient client(fixture.url());
  std::string pieces;
  for (int i = 0; i < 3; ++i) {
    const HttpResponse response =
        client.Send("GET", "/stream", {}, {}, [&](std::string_view piece) {
          pieces += piece;
          return true;
        });
    EXPECT_EQ(response.Header("transfer-encoding"), "chunked");
  }
  EXPECT_EQ(pieces,
            "data: one\n\ndata: two\n\ndata: one\n\ndata: two\n\ndata: one\n\ndata: two\n\n");
  RawClient old(fixture.port());
  old.Send("GET /stream HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(old.ReadToEnd());
  EXPECT_TRUE(old.text().ends_with("\r\n\r\ndata: one\n\ndata: two\n\n")) << old.text();

  RawClient silent(fixture.port());
  silent.Send(kHold);
  const auto exchange = fixture.Take();
  exchange->StartStream({}, ": ping\n\n", 0.15);
  EXPECT_TRUE(silent.ReadUntil(": ping\n\n"));
  exchange->Write("now");
  exchange->Abort();
  EXPECT_TRUE(silent.ReadToEnd());
  EXPECT_NE(silent.text().find("3\r\nnow\r\n"), std::string::npos);
  EXPECT_FALSE(silent.text().ends_with("0\r\n\r\n")) << "a cut stream has no end";
}

TEST(HttpServer, JoinsQueuedPiecesOfOneKind) {
  HttpServerOptions options;
  options.limits.gather_s = 30;  // what follows the first piece waits for Finish
  Fixture fixture(options);
  RawClient client(fixture.port());
  client.Send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
  const auto exchange = fixture.Take();
  exchange->StartStream({}, {}, 0);
  EXPECT_TRUE(client.ReadUntil("\r\n\r\n"));
  EXPECT_TRUE(exchange->WriteJoined({1, "<", "sent at once", ">"}));
  EXPECT_TRUE(client.ReadUntil(">"));
  client.Clear();
  EXPECT_TRUE(exchange->WriteJoined({1, "<", "a", ">"}));  // the one before has left
  EXPECT_TRUE(exchange->WriteJoined({1, "<", "b", "]]"}));
  EXPECT_TRUE(exchange->WriteJoined({1, "<", "c", "]"}));
  EXPECT_TRUE(exchange->WriteJoined({2, "(", "d", ")"}));
  EXPECT_TRUE(exchange->WriteJoined({1, "<", "e", ">"}));
  EXPECT_TRUE(exchange->Write("|"));
  EXPECT_TRUE(exchange->WriteJoined({1, "<", "f", ">"}));
  EXPECT_TRUE(exchange->WriteJoined({0, "<", "g", ">"}));
  EXPECT_TRUE(exchange->WriteJoined({0, "<", "h", ">"}));
  exchange->Finish();
  EXPECT_FALSE(exchange->WriteJoined({1, "<", "i", ">"}));
  EXPECT_TRUE(client.ReadUntil("0\r\n\r\n"));
  const std::string body = "<abc](d)<e>|<f><g><h>";
  EXPECT_TRUE(client.text().ends_with(fmt::format("{:x}\r\n{}\r\n0\r\n\r\n", body.size(), body)))
      << client.text();
}

TEST(HttpServer, TellsOfClientsThatGoAway) {
  Fixture fixture;
  {
    RawClient client(fixture.port());
    client.Send(kHold);
    const auto exchange = fixture.Take();
    client.Close();
    EXPECT_TRUE(Eventually([&] { return fixture.gone() == 1; }));
    EXPECT_TRUE(exchange->is_gone());
    exchange->Respond({.body = "late"});  // nothing happens
  }
  {
    RawClient client(fixture.port());
    client.Send(kHold);
    const auto exchange = fixture.Take();
    exchange->StartStream({}, {}, 0);
    client.Reset();
    EXPECT_TRUE(Eventually([&] { return fixture.gone() == 2; }));
    EXPECT_FALSE(exchange->Write("x"));
    bool called = false;
    exchange->OnGone([&](Gone) { called = true; });
    EXPECT_TRUE(called) << "also afterwards";
  }
  RawClient client(fixture.port());
  client.Send(kHold);
  fixture.Take()->Respond({.body = "done"});
  EXPECT_TRUE(client.ReadUntil("done"));
  client.Close();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(fixture.gone(), 2) << "after the answer nobody minds";
}

TEST(HttpServer, FailuresOfHandlersAreAnsweredWithoutDetails) {
  Fixture fixture;
  HttpClient client(fixture.url());
  EXPECT_EQ(client.Get("/drop").status, 500);
  const HttpResponse thrown = client.Get("/throw");
  EXPECT_EQ(thrown.status, 500);
  EXPECT_EQ(thrown.body.find("secret"), std::string::npos);
  RawClient raw(fixture.port());
  raw.Send(kHold);
  auto exchange = fixture.Take();
  exchange->StartStream({}, {}, 0);
  exchange.reset();
  EXPECT_TRUE(raw.ReadToEnd()) << "a stream that is dropped is cut";
}

TEST(HttpServer, RefusesBadRequestsAndClosesAfterSayingWhy) {
  HttpServerOptions options;
  options.limits.body_bytes = 1000;
  options.error_page = [](int status, const std::string& message) {
    return HttpResponse{.status = status, .body = "page: " + message};
  };
  options.decorate = [](const HttpRequest&, HttpResponse* response) {
    response->headers.push_back({"x-common", "a\r\nx-evil: b"});
  };
  Fixture fixture(std::move(options));
  const auto status = [&](const std::string& bytes) {
    RawClient client(fixture.port());
    client.Send(bytes);
    EXPECT_TRUE(client.ReadToEnd()) << bytes.substr(0, 100);
    EXPECT_NE(client.text().find("page: "), std::string::npos) << client.text();
    EXPECT_NE(client.text().find("x-common: ax-evil: b\r\n"), std::string::npos);
    return client.status();
  };
  const std::string post = "POST /echo HTTP/1.1\r\nHost: a\r\n";
  EXPECT_EQ(status("GET /" + std::string(9000, 'a')), 414);
  EXPECT_EQ(status("GET / HTTP/1.1\r\nX: " + std::string(1 << 20, 'a')), 431);
  EXPECT_EQ(status(post + "Content-Length: 1001\r\n\r\n"), 413);
  EXPECT_EQ(status(post + "Content-Length: 2000000\r\n\r\n" + std::string(2000000, 'b')), 413);
  EXPECT_EQ(status(post + "Transfer-Encoding: chunked\r\n\r\n-1\r\n"), 400);
  EXPECT_EQ(status(post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400);
  EXPECT_EQ(status(post + "\r\n"), 411);
  EXPECT_EQ(status("\x16\x03\x01 nonsense\r\n\r\n"), 400);
  RawClient waits(fixture.port());
  waits.Send(post + "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_TRUE(waits.ReadUntil("HTTP/1.1 100 Continue\r\n\r\n"));
  waits.Send("abc");
  EXPECT_TRUE(waits.ReadUntil("\r\n\r\nabc"));
}

TEST(HttpServer, ShedsSlowClientsInEveryPhase) {
  HttpServerOptions options;
  options.limits.head_s = 0.3;
  options.limits.idle_s = 0.3;
  options.limits.body_grace_s = 0.3;
  options.limits.stall_s = 0.5;
  Fixture fixture(std::move(options));
  RawClient silent(fixture.port()), half(fixture.port()), body(fixture.port());
  half.Send("GET / HTTP/1.1\r\nX-Slow: ");
  body.Send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
  const double start = Now();
  std::thread drip([&] {  // a byte now and then keeps neither of them
    while (Now() < start + 1) {
      half.Send("x");
      body.Send("x");
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  });
  EXPECT_TRUE(silent.ReadToEnd());
  EXPECT_EQ(silent.text(), "");
  EXPECT_TRUE(half.ReadUntil("\r\n\r\n"));
  EXPECT_EQ(half.status(), 408);
  EXPECT_TRUE(body.ReadUntil("\r\n\r\n"));
  EXPECT_EQ(body.status(), 408);
  drip.join();

  // A reader that takes nothing: the stream congests, then is given up.
  RawClient stalled(fixture.port(), "127.0.0.1", 4096);
  stalled.Send(kHold);
  const auto exchange = fixture.Take();
  exchange->StartStream({}, {}, 0);
  const std::string piece(10000, 'p');
  size_t written = 0;
  while (!exchange->is_congested() && written < 100u << 20) {
    if (!exchange->Write(piece)) break;
    written += piece.size();
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  EXPECT_TRUE(exchange->is_congested());
  EXPECT_TRUE(Eventually([&] { return fixture.gone() == 1; }));
  EXPECT_EQ(fixture.last_gone(), Gone::kStalled);
}

TEST(HttpServer, AStreamThatIsNotPausedIsCutAtItsLimit) {
  Fixture fixture;
  RawClient stalled(fixture.port(), "127.0.0.1", 4096);
  stalled.Send(kHold);
  const auto exchange = fixture.Take();
  exchange->StartStream({}, {}, 0);
  const std::string piece(100000, 'p');
  size_t written = 0;
  while (exchange->Write(piece) && written < 200u << 20) written += piece.size();
  EXPECT_LT(written, 64u << 20) << "what the system's buffers take and 1 MiB";
  EXPECT_TRUE(Eventually([&] { return fixture.gone() == 1; }));
  EXPECT_EQ(fixture.last_gone(), Gone::kStalled);
}

TEST(HttpServer, CapsConnectionsInAllAndPerAddress) {
  HttpServerOptions options;
  options.limits.connections = 12;
  options.limits.connections_per_address = 4;
  Fixture fixture(std::move(options));
  std::vector<RawClient> clients;
  const auto open = [&](const char* from) {
    clients.emplace_back(fixture.port(), from);
    clients.back().Send("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
    return clients.back().ReadUntil("\r\n\r\n");
  };
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(open("127.0.0.1"));
  EXPECT_FALSE(open("127.0.0.1"));
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(open("127.0.0.2"));
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(open("127.0.0.3"));
  EXPECT_FALSE(open("127.0.0.4")) << "twelve in all";
  clients[0].Close();
  EXPECT_TRUE(Eventually([&] { return open("127.0.0.1"); })) << "a place is free again";
}

TEST(HttpServer, LimitsBodiesInMemory) {
  HttpServerOptions options;
  options.limits.total_body_bytes = 1 << 20;
  Fixture fixture(std::move(options));
  const std::string part(600u << 10, 'b');
  const std::string head = "POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 614500\r\n\r\n";
  RawClient first(fixture.port()), second(fixture.port());
  first.Send(head + part);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  second.Send(head + part);
  EXPECT_TRUE(second.ReadUntil("\r\n\r\n"));
  EXPECT_EQ(second.status(), 503);
  first.Close();
  EXPECT_TRUE(Eventually([&] {
    return HttpClient(fixture.url()).Post("/echo", part).status == 200;
  })) << "given back";
}

TEST(HttpServer, ChecksTheHostName) {
  HttpServerOptions options;
  options.host_names = {"localhost", "127.0.0.1", "[::1]"};
  Fixture fixture(std::move(options));
  const auto status = [&](const std::string& host) {
    RawClient client(fixture.port());
    client.Send("GET /echo HTTP/1.1\r\nHost: " + host + "\r\n\r\n");
    client.ReadUntil("\r\n\r\n");
    return client.status();
  };
  EXPECT_EQ(status("localhost"), 200);
  EXPECT_EQ(status("LocalHost:8080"), 200);
  EXPECT_EQ(status("[::1]:80"), 200);
  EXPECT_EQ(status("127.0.0.1:1"), 200);
  EXPECT_EQ(status("evil.example"), 403);
  EXPECT_EQ(status("localhost.evil.example"), 403);
  EXPECT_EQ(status(""), 403);
}

TEST(HttpServer, SpeaksTlsAndReloadsItsFiles) {
  const testing::TemporaryDir work;
  WriteFile(work / "c.pem", testing::kTestCertificate);
  WriteFile(work / "k.pem", testing::kTestKey);
  Fixture fixture({.tls_certificate = work / "c.pem", .tls_key = work / "k.pem"});
  ASSERT_TRUE(fixture.url().starts_with("https://"));
  HttpClient client(fixture.url(), {.ca_file = work / "c.pem"});
  const std::string large(3u << 20, 'y');
  EXPECT_EQ(client.Post("/echo", large).body, large);
  EXPECT_THROW(HttpClient(fixture.url()).Get("/echo"), Error) << "signed by itself";
  HttpClient trusting(fixture.url(), {.verifies_tls = false});
  EXPECT_EQ(trusting.Get("/echo").status, 200);
  RawClient plain(fixture.port());
  plain.Send("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(plain.ReadToEnd());
  EXPECT_EQ(plain.text().find("HTTP/1.1"), std::string::npos);
  fixture.server().ReloadTls();
  EXPECT_EQ(HttpClient(fixture.url(), {.ca_file = work / "c.pem"}).Get("/echo").status, 200);
  WriteFile(work / "k.pem", "nonsense");
  EXPECT_THROW(fixture.server().ReloadTls(), Error);
  EXPECT_EQ(HttpClient(fixture.url(), {.ca_file = work / "c.pem"}).Get("/echo").status, 200)
      << "the old files stay";
  EXPECT_THROW(Fixture({.tls_certificate = work / "c.pem", .tls_key = work / "none.pem"}), Error);
}

TEST(HttpServer, ListensOnAUnixSocket) {
  const testing::TemporaryDir work;
  const std::string host = "unix:" + (work / "s.sock");
  {
    Fixture fixture({.host = host});
    EXPECT_EQ(HttpClient(host).Post("/echo", "over a socket").body, "over a socket");
    EXPECT_THROW(Fixture({.host = host}), Error) << "in use";
  }
  EXPECT_FALSE(FileExists(work / "s.sock")) << "removed at the end";
  EXPECT_THROW(Fixture({.host = "unix:" + std::string(200, 'x')}), Error);
  EXPECT_THROW(HttpClient(host).Get("/echo"), Error);
}

TEST(HttpServer, DrainsAndStops) {
  auto fixture = std::make_unique<Fixture>();
  RawClient idle(fixture->port()), running(fixture->port()), cut(fixture->port());
  running.Send(kHold);
  const auto exchange = fixture->Take();
  cut.Send(kHold);
  const auto other = fixture->Take();
  EXPECT_TRUE(Eventually([&] { return fixture->server().counts().connections == 3; }));
  fixture->server().StopAccepting();
  EXPECT_TRUE(idle.ReadToEnd());
  EXPECT_THROW(HttpClient(fixture->url()).Get("/echo"), Error);
  exchange->Respond({.body = "finished"});
  EXPECT_TRUE(running.ReadToEnd());
  EXPECT_NE(running.text().find("connection: close"), std::string::npos);
  EXPECT_TRUE(running.text().ends_with("finished"));
  fixture->server().Stop();
  EXPECT_TRUE(cut.ReadToEnd());
  EXPECT_EQ(fixture->last_gone(), Gone::kShutdown);
  fixture.reset();
  other->Respond({.body = "nobody"});  // exchanges may outlive the server
}

// The tick's wait is over, and its handler queued, when Stop cancels it.
TEST(HttpServer, StopsWhenATickIsDue) {
  for (int round = 0; round < 5; ++round) {
    std::promise<void> entered;
    HttpServer server({}, [&](const std::shared_ptr<HttpExchange>& exchange) {
      entered.set_value();
      std::this_thread::sleep_for(std::chrono::milliseconds(150));  // longer than a tick
      exchange->Respond({});
    });
    server.Start();
    RawClient client(server.port());
    client.Send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    entered.get_future().wait();
    auto stopped = std::async(std::launch::async, [&] { server.Stop(); });
    if (stopped.wait_for(std::chrono::seconds(20)) != std::future_status::ready) {
      ADD_FAILURE() << "the server does not stop";
      std::_Exit(1);  // its thread would never be joined
    }
  }
}

TEST(HttpServer, SurvivesClientsThatBreakOffAnywhere) {
  Fixture fixture;
  const std::string whole =
      "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"
      "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n";
  for (size_t length = 0; length <= whole.size(); ++length) {
    RawClient client(fixture.port());
    client.Send(whole.substr(0, length));
    if (length % 3 == 0)
      client.Reset();
    else if (length % 3 == 1)
      client.ShutdownSend();
  }
  EXPECT_EQ(HttpClient(fixture.url()).Get("/echo").status, 200);
  EXPECT_TRUE(Eventually([&] { return fixture.server().counts().connections == 0; }));
}

TEST(HttpClient, ReadsUrls) {
  const Url url = ParseUrl("https://[::1]:8443/base/?a=b#c");
  EXPECT_TRUE(url.is_tls);
  EXPECT_EQ(url.host, "::1");
  EXPECT_EQ(url.port, "8443");
  EXPECT_EQ(url.path, "/base");
  EXPECT_EQ(url.query, "?a=b");
  EXPECT_EQ(url.Host(), "[::1]:8443");
  EXPECT_EQ(ParseUrl("http://h").port, "80");
  EXPECT_EQ(ParseUrl("http://h").Host(), "h");
  EXPECT_TRUE(ParseUrl("unix:/a b").is_unix);
  for (const char* bad : {"ftp://h", "h:80", "http://", "http://h:", "http://h:99999", "http://h:x",
                          "http://a b", "http://u:p@h", "http://[::1", "http://h\r\nX: y"})
    EXPECT_THROW(ParseUrl(bad), Error) << bad;
}

TEST(HttpClient, SseReaderJoinsPiecesAndSkipsComments) {
  const std::string stream =
      ": ping\n\ndata: {\"a\":1}\r\n\r\nevent: x\ndata:two\ndata:  lines\n\ndata\n\ndata: end";
  for (size_t piece = 1; piece <= stream.size(); ++piece) {
    std::vector<std::string> found;
    SseReader reader([&](std::string_view data) { found.emplace_back(data); });
    for (size_t i = 0; i < stream.size(); i += piece)
      reader.Push(std::string_view(stream).substr(i, piece));
    EXPECT_EQ(found, (std::vector<std::string>{"{\"a\":1}", "two\n lines"}));
  }
}

}  // namespace
}  // namespace planish
