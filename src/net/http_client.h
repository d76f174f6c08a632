// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 client that blocks: one server, one connection that is kept between requests, answers whole or piece by piece,
// time-outs. For `pull`, `--server URL`, `bench serve` and tests. One thread at a time.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "net/http.h"

namespace planish {

struct HttpClientOptions {
  double connect_s = 10;             // to connect and agree on keys
  double silence_s = 600;            // without a byte of an answer
  size_t head_bytes = 64u << 10;     // of an answer
  uint64_t body_bytes = 1ull << 30;  // of an answer that is collected; pieces are not bounded
  bool verifies_tls = true;
  std::string ca_file;  // PEM; empty: the system's authorities
  // Asked about twenty times a second while a request waits; true ends it with Error(kInterrupted). May be null.
  std::function<bool()> is_cancelled;
};

// What an URL says. Error(kUsage) if it is not http://, https:// or unix:/path.
struct Url {
  bool is_tls = false, is_unix = false;
  std::string host;  // without brackets; the path of a Unix socket
  std::string port;
  std::string path;          // "" or "/base" without a slash at the end
  std::string query;         // with '?'; usually ""
  std::string Host() const;  // for the Host header
};
Url ParseUrl(const std::string& text);

class HttpClient {
 public:
  // `url` may have a path, which is put before every request's.
  explicit HttpClient(const std::string& url, HttpClientOptions options = {});
  ~HttpClient();
  HttpClient(HttpClient&&) noexcept;

  // `on_piece` gets the body of a 2xx answer as it comes and may return false to end it (the connection closes); other
  // bodies, and all without it, are in the result. Error(kNetwork) names the server and what failed.
  using OnPiece = std::function<bool(std::string_view)>;
  // `on_head`, if given, sees status and headers before the body.
  HttpResponse Send(const std::string& method, const std::string& target,
                    const std::vector<HttpHeader>& headers = {}, std::string_view body = {},
                    const OnPiece& on_piece = nullptr,
                    const std::function<void(const HttpResponse&)>& on_head = nullptr);
  HttpResponse Get(const std::string& target) { return Send("GET", target); }
  HttpResponse Post(const std::string& target, std::string_view json,
                    const OnPiece& on_piece = nullptr) {
    return Send("POST", target, {{"content-type", "application/json"}}, json, on_piece);
  }
  void Close();  // the next request connects again

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Cuts a text/event-stream into its `data:` values, whatever pieces it comes in. Comments are skipped.
class SseReader {
 public:
  explicit SseReader(std::function<void(std::string_view data)> on_data)
      : on_data_(std::move(on_data)) {}
  void Push(std::string_view piece);

 private:
  std::function<void(std::string_view)> on_data_;
  std::string line_, data_;
  bool has_data_ = false;
};

}  // namespace planish
