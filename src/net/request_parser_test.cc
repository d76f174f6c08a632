// SPDX-License-Identifier: Apache-2.0
#include "net/request_parser.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"

namespace planish {
namespace {

using State = RequestParser::State;

struct Parsed {
  State state = State::kHead;
  int status = 0;
  HttpRequest request;
  size_t used = 0;
};

Parsed Parse(std::string_view bytes, const HttpLimits& limits = {}, size_t piece = SIZE_MAX) {
  RequestParser parser(&limits);
  Parsed parsed;
  while (parsed.used < bytes.size() && parser.state() != State::kDone &&
         parser.state() != State::kFailed) {
    const std::string_view part = bytes.substr(parsed.used, piece);
    const size_t used = parser.Push(part);
    EXPECT_LE(used, part.size());
    if (used == 0) break;
    parsed.used += used;
  }
  parsed.state = parser.state();
  if (parsed.state == State::kFailed) parsed.status = parser.failure().status;
  if (parsed.state == State::kDone) parsed.request = parser.Take();
  return parsed;
}

std::string Post(const std::string& headers, const std::string& body) {
  return "POST /v1 HTTP/1.1\r\nHost: a\r\n" + headers + "\r\n" + body;
}

TEST(RequestParser, ReadsTargetHeadersAndBody) {
  const std::string bytes =
      "POST /a%20b?x=1%2 HTTP/1.1\r\nHost: h:1\r\nX-Two:  v w \r\nContent-Length: "
      "5\r\n\r\nhelloGET";
  for (const size_t piece : {size_t{1}, size_t{2}, size_t{7}, SIZE_MAX}) {
    const Parsed parsed = Parse(bytes, {}, piece);
    ASSERT_EQ(parsed.state, State::kDone);
    EXPECT_EQ(parsed.used, bytes.size() - 3) << "the next request's bytes stay";
    EXPECT_EQ(parsed.request.method, "POST");
    EXPECT_EQ(parsed.request.path, "/a b");
    EXPECT_EQ(parsed.request.query, "x=1%2");
    EXPECT_EQ(parsed.request.Header("x-two"), "v w");
    EXPECT_EQ(parsed.request.body, "hello");
  }
}

TEST(RequestParser, ReadsChunkedBodiesCutAnywhere) {
  const std::string bytes =
      Post("Transfer-Encoding: chunked\r\n",
           "5;ext=1\r\nhello\r\n1\r\n \r\nA\r\n0123456789\r\n0\r\nT: x\r\n\r\nXY");
  for (size_t piece = 1; piece < bytes.size(); ++piece) {
    const Parsed parsed = Parse(bytes, {}, piece);
    ASSERT_EQ(parsed.state, State::kDone) << piece;
    EXPECT_EQ(parsed.request.body, "hello 0123456789");
    EXPECT_EQ(parsed.used, bytes.size() - 2);
  }
}

TEST(RequestParser, RefusesEverythingTwoReadersCouldTakeDifferently) {
  const std::vector<std::pair<std::string, int>> cases = {
      {Post("Content-Length: -1\r\n", "x"), 400},
      {Post("Content-Length: +5\r\n", "hello"), 400},
      {Post("Content-Length: 5 5\r\n", "hello"), 400},
      {Post("Content-Length: 0x5\r\n", "hello"), 400},
      {Post("Content-Length: \r\n", "hello"), 400},
      {Post("Content-Length: 5, 5\r\n", "hello"), 400},
      {Post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), 400},
      {Post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"), 400},
      {Post("Content-Length: 100000000000000000000\r\n", "x"), 400},
      {Post("Content-Length: 18446744073709551616\r\n", "x"), 400},
      {Post("Content-Length: 18446744073709551615\r\n", "x"), 413},
      {Post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400},
      {Post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"), 400},
      {Post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400},
      {Post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), 400},
      {Post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"), 400},
      {Post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), 400},
      {Post("Transfer-Encoding:\x0b"
            "chunked\r\n",
            "0\r\n\r\n"),
       400},
      {Post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"), 400},
      {Post("Content-Length : 5\r\n", "hello"), 400},
      {Post("X: a\r\n Content-Length: 5\r\n", "hello"), 400},
      {Post("X: a\n", "hello"), 400},
      {Post("X: a\rContent-Length: 5\r\n", "hello"), 400},
      {Post(std::string("X: a\0b\r\n", 8), "hello"), 400},
      {Post("novalue\r\n", "hello"), 400},
      {Post(": empty\r\n", "hello"), 400},
      {Post("Bad Name: x\r\n", "hello"), 400},
      {Post("Host: b\r\nContent-Length: 0\r\n", ""), 400},
      {Post("X: y\r\n", ""), 411},
      {Post("Content-Encoding: gzip\r\nContent-Length: 1\r\n", "x"), 415},
      {Post("Content-Encoding: br\r\nContent-Length: 1\r\n", "x"), 415},
      {Post("Expect: something\r\nContent-Length: 1\r\n", "x"), 400},
      {Post("Transfer-Encoding: chunked\r\n", "-2\r\nxx\r\n0\r\n\r\n"), 400},
      {Post("Transfer-Encoding: chunked\r\n", "00000000000000005\r\nhello\r\n0\r\n\r\n1"), 200},
      {Post("Transfer-Encoding: chunked\r\n", "10000000000000000\r\nhello\r\n0\r\n\r\n"), 400},
      {Post("Transfer-Encoding: chunked\r\n", "FFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n"), 413},
      {Post("Transfer-Encoding: chunked\r\n", "0x5\r\nhello\r\n0\r\n\r\n"), 400},
      {Post("Transfer-Encoding: chunked\r\n", "5\r\nhelloX\r\n0\r\n\r\n"), 400},
      {Post("Transfer-Encoding: chunked\r\n", "\r\nhello\r\n0\r\n\r\n"), 400},
      {Post("Transfer-Encoding: chunked\r\n", "g\r\nhello\r\n0\r\n\r\n"), 400},
      {"GET / HTTP/1.1\r\n\r\n", 400},
      {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
      {"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505},
      {"GET /\r\nHost: a\r\n\r\n", 400},
      {"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 505},
      {"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET /%1 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"\x16\x03\x01\x02\r\n\r\n", 400},
  };
  for (const auto& [bytes, status] : cases) {
    for (const size_t piece : {size_t{1}, size_t{13}, SIZE_MAX}) {
      const Parsed parsed = Parse(bytes, {}, piece);
      if (status == 200) {
        EXPECT_EQ(parsed.state, State::kDone) << Quoted(bytes, 200);
      } else {
        EXPECT_EQ(parsed.state, State::kFailed) << Quoted(bytes, 200) << " piece " << piece;
        EXPECT_EQ(parsed.status, status) << Quoted(bytes, 200) << " piece " << piece;
      }
    }
  }
}

TEST(RequestParser, LimitsHoldAtTheirEdges) {
  const auto get = [](size_t target, size_t lines, size_t value) {
    std::string bytes = "GET /" + std::string(target, 'a') + " HTTP/1.1\r\nHost: a\r\n";
    for (size_t i = 0; i < lines; ++i) bytes += "X: " + std::string(value, 'v') + "\r\n";
    return bytes + "\r\n";
  };
  // "GET /" + target + " HTTP/1.1\r" is 15 bytes longer than the target.
  EXPECT_EQ(Parse(get((8 << 10) - 15, 0, 0)).state, State::kDone);
  EXPECT_EQ(Parse(get((8 << 10) - 14, 0, 0)).status, 414);
  EXPECT_EQ(Parse("GET /" + std::string(1 << 20, 'a')).status, 414);
  EXPECT_EQ(Parse(get(1, 99, 1)).state, State::kDone);
  EXPECT_EQ(Parse(get(1, 100, 1)).status, 431);
  const size_t base = get(1, 1, 0).size();
  EXPECT_EQ(Parse(get(1, 1, (16 << 10) - base)).state, State::kDone);
  EXPECT_EQ(Parse(get(1, 1, (16 << 10) - base + 1)).status, 431);
  HttpLimits limits;
  limits.body_bytes = 100;
  const auto body = [](size_t n) {
    return Post("Content-Length: " + std::to_string(n) + "\r\n", std::string(n, 'b'));
  };
  EXPECT_EQ(Parse(body(100), limits).request.body.size(), 100u);
  const Parsed over = Parse(body(101), limits);
  EXPECT_EQ(over.status, 413);
  EXPECT_LE(over.used, body(101).size() - 101) << "before reading it";
  const auto chunked = [](size_t n) {
    std::string bytes = Post("Transfer-Encoding: chunked\r\n", "");
    for (size_t i = 0; i < n; ++i) bytes += "1\r\nb\r\n";
    return bytes + "0\r\n\r\n";
  };
  for (const size_t piece : {size_t{1}, size_t{50}, SIZE_MAX}) {
    EXPECT_EQ(Parse(chunked(100), limits, piece).state, State::kDone);
    EXPECT_EQ(Parse(chunked(101), limits, piece).status, 413);
  }
  EXPECT_EQ(
      Parse(Post("Transfer-Encoding: chunked\r\n", "1;" + std::string(10000, 'e')), limits).status,
      400);
  std::string long_extensions = Post("Transfer-Encoding: chunked\r\n", "");
  for (int i = 0; i < 90; ++i) long_extensions += "1;" + std::string(3000, 'e') + "\r\nb\r\n";
  EXPECT_EQ(Parse(long_extensions, limits, 1000).status, 413);
}

TEST(RequestParser, AnyBytesAndAnySplitGiveOneOutcome) {
  const std::string seeds[] = {
      Post("Content-Length: 5\r\n", "hello"),
      Post("Transfer-Encoding: chunked\r\n", "5;a=b\r\nhello\r\n0\r\nT: x\r\n\r\n"),
      "GET /v1/models?x=%41 HTTP/1.1\r\nHost: localhost:8080\r\nAccept: */*\r\n\r\n"};
  uint64_t state = 7;
  const auto next = [&](uint64_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % n;
  };
  for (int round = 0; round < 3000; ++round) {
    std::string bytes = seeds[next(3)];
    for (uint64_t edits = next(4); edits-- > 0;) {
      const size_t at = next(bytes.size());
      switch (next(4)) {
        case 0:
          bytes[at] = static_cast<char>(next(256));
          break;
        case 1:
          bytes.erase(at, 1 + next(4));
          break;
        case 2:
          bytes.insert(at, 1 + next(3), "\r\n:0 \0,;"[next(8)]);
          break;
        default:
          bytes.insert(at, bytes.substr(next(bytes.size()), next(20)));
          break;
      }
      if (bytes.empty()) bytes = "x";
    }
    const Parsed whole = Parse(bytes);
    const Parsed cut = Parse(bytes, {}, 1 + next(9));
    EXPECT_EQ(whole.state, cut.state) << Quoted(bytes, 400);
    EXPECT_EQ(whole.status, cut.status) << Quoted(bytes, 400);
    EXPECT_EQ(whole.request.body, cut.request.body);
  }
}

}  // namespace
}  // namespace planish
