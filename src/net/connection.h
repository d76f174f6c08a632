// SPDX-License-Identifier: Apache-2.0
// One client of the HTTP server: reads requests, calls the handler, writes answers, keeps time. All on the I/O thread but
// for Outbox, which other threads fill. For http_server.cc.
#pragma once

#include <array>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>

#include "net/http_server.h"
#include "net/request_parser.h"
#include "net/transport.h"

namespace planish {

using NetClock = std::chrono::steady_clock;

class Connection;

inline NetClock::duration GatherTime(const HttpLimits& limits) {
  return std::chrono::duration_cast<NetClock::duration>(
      std::chrono::duration<double>(limits.gather_s));
}

// What a connection needs of its server.
class ConnectionHost {
 public:
  virtual ~ConnectionHost() = default;
  virtual const HttpServerOptions& options() const = 0;
  virtual void Handle(std::shared_ptr<HttpExchange> exchange) = 0;
  virtual void Post(std::function<void()> work) = 0;  // from any thread, to the I/O thread
  // From any thread: Flush of the connection within gather_s, together with others.
  virtual void Gather(std::shared_ptr<Connection> connection) = 0;
  virtual bool is_stopping() const = 0;            // connections close after their answer
  virtual bool AddBodyBytes(ptrdiff_t bytes) = 0;  // false: over total_body_bytes
  virtual void Closed(Connection* connection) = 0;
  virtual HttpServerCounts& counts() = 0;
};

// The answer of one exchange on its way from any thread to the I/O thread.
struct Outbox {
  mutable std::mutex mutex;
  std::string head;                   // to be written first
  std::string body;                   // to be written behind it; one chunk where is_chunked
  size_t in_flight = 0;               // being written
  bool has_head = false;              // an answer was begun
  bool is_complete = false;           // all of it is in `head` and `body`
  bool is_finished = false;           // and a chunked body ends with it
  bool closes = false;                // the connection ends after it
  bool is_cut = false;                // it ended early
  bool is_gone = false;               // nobody takes it any more
  bool is_posted = false;             // the I/O thread has been told
  bool is_gathering = false;          // what it was told can wait
  NetClock::time_point next_piece{};  // pieces before are gathered
  bool is_chunked = false, is_head_request = false;
  HttpExchange::Gone reason = HttpExchange::Gone::kClosed;
  std::string filler;
  double filler_s = 0;
  std::function<void(HttpExchange::Gone)> on_gone;
  uint64_t last_kind = 0;  // of the piece at the end of `body`, if others can join it
  size_t last_tail = 0;    // bytes of its tail

  size_t queued_bytes() const { return head.size() + body.size(); }
  // Takes out what is to be written, framed; empty if there is nothing.
  std::string Take();
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<ConnectionHost> host, std::unique_ptr<Transport> transport,
             std::string peer);

  void Start();
  void Flush();  // there may be something in the outbox
  // Looks at the clock: time-outs, fillers.
  void Tick(NetClock::time_point now);
  // The server stops: idle connections close now.
  void CloseIfIdle();
  void Close(HttpExchange::Gone reason);
  const std::string& peer() const { return peer_; }
  bool is_handling() const { return phase_ == Phase::kHandling; }

 private:
  enum class Phase { kHandshake, kIdle, kReading, kHandling, kLingering, kClosed };
  void Read();
  void OnRead(IoError error, size_t count);
  void Process();
  void Dispatch();
  void Refuse(int status, const std::string& message);
  void AnswerDone();
  void Linger();
  void CountBody();
  void Enter(Phase phase);

  std::shared_ptr<ConnectionHost> host_;
  std::unique_ptr<Transport> transport_;
  std::string peer_;
  Phase phase_ = Phase::kHandshake;
  NetClock::time_point since_;       // of the phase
  NetClock::time_point body_since_;  // of the body
  NetClock::time_point last_write_;  // the client took bytes, or an answer began
  std::array<char, 8192> buffer_;
  std::string input_;  // read, not parsed
  std::unique_ptr<RequestParser> parser_;
  std::shared_ptr<Outbox> outbox_;  // of the current exchange
  std::string writing_;
  size_t counted_body_ = 0;
  bool is_reading_ = false, is_writing_ = false, sent_continue_ = false, at_end_ = false;
  bool keep_alive_ = false;
};

}  // namespace planish
