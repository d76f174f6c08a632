// SPDX-License-Identifier: Apache-2.0
// Plain types of HTTP/1.1 that the server, the client and their users share. No sockets here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace planish {

struct HttpHeader {
  std::string name;  // lower case in what was received
  std::string value;
};

struct HttpRequest {
  std::string method;  // "GET"
  std::string target;  // as sent: path and query
  std::string path;    // percent-decoded, without the query; begins with '/'
  std::string query;   // after '?', as sent
  std::vector<HttpHeader> headers;
  std::string body;  // transfer coding undone
  std::string peer;  // address of the client; "unix" for a Unix socket

  // Value of the first header of this (lower-case) name; empty if there is none.
  std::string_view Header(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::vector<HttpHeader> headers;  // all but content-length, transfer-encoding and connection
  std::string body;

  std::string_view Header(std::string_view name) const;
};

// Bounds on what a client may send and how long it may take. Defaults: serve.md section 12.
struct HttpLimits {
  size_t request_line_bytes = 8u << 10;  // 414
  size_t head_bytes = 16u << 10;         // request line and headers, 431
  size_t header_lines = 100;             // 431
  size_t body_bytes = 8u << 20;          // 413
  size_t total_body_bytes = 256u << 20;  // bodies of all connections that are in memory, 503
  double head_s = 10;              // from the first byte of a request to the end of its headers
  double body_grace_s = 5;         // a body may be slow for so long,
  double body_bytes_per_s = 1024;  // then it must have had this rate since
  double idle_s = 75;              // between requests
  double stall_s = 60;             // without the client taking a byte of an answer
  size_t connections = 1024;
  size_t connections_per_address = 64;
  // Pieces of a stream go out together, at most so often: each costs the system and the client a wake-up, which at a
  // thousand tokens a second is a tenth of the machine.
  double gather_s = 0.008;
  size_t congested_bytes = 256u << 10;  // queued output from which a stream should pause
  size_t stream_bytes = 1u << 20;       // queued output that ends a stream
};

const char* ReasonPhrase(int status);
// Undoes %XX; nullopt for a broken escape or a NUL.
std::optional<std::string> PercentDecode(std::string_view text);
std::string ToLower(std::string_view text);  // ASCII

}  // namespace planish
