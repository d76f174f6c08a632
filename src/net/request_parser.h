// SPDX-License-Identifier: Apache-2.0
// Bytes of a connection to one HTTP/1.x request, under HttpLimits. The head is collected and checked whole (line ends,
// limits, everything two readers could take differently), then Beast's parser takes it and the body. Knows no sockets, so
// that tests and fuzzers feed it bytes cut anywhere.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "net/http.h"

namespace planish {

struct HttpFailure {
  int status = 400;
  std::string message;
};

class RequestParser {
 public:
  enum class State { kHead, kBody, kDone, kFailed };

  explicit RequestParser(const HttpLimits* limits);  // must outlive the parser
  ~RequestParser();

  // Takes bytes and returns how many belong to this request (what follows is the next one's).
  size_t Push(std::string_view data);

  State state() const { return state_; }
  bool has_begun() const { return state_ != State::kHead || !head_.empty(); }
  const HttpFailure& failure() const { return failure_; }  // when kFailed
  size_t body_bytes() const;                               // received and decoded so far
  size_t raw_body_bytes() const { return raw_body_bytes_; }
  bool expects_continue() const { return expects_continue_; }  // known from kBody on
  bool keep_alive() const { return keep_alive_; }              // known from kBody on
  bool is_http_1_0() const { return is_http_1_0_; }
  HttpRequest Take();  // when kDone; peer is left empty

 private:
  struct Beast;
  size_t PushHead(std::string_view data);
  size_t PushBody(std::string_view data);
  void CheckHead(std::string_view head);
  void ReadHead();
  void Fail(int status, std::string message);

  const HttpLimits* limits_;
  State state_ = State::kHead;
  HttpFailure failure_;
  std::string head_;  // up to and with the empty line
  std::string
      pending_;  // of the body: what the parser could not use yet (an incomplete chunk head)
  size_t raw_body_bytes_ = 0;
  bool expects_continue_ = false, keep_alive_ = false, is_http_1_0_ = false;
  std::unique_ptr<Beast> beast_;
};

}  // namespace planish
