// SPDX-License-Identifier: Apache-2.0
#include "net/connection.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "net/exchange.h"

namespace planish {
namespace {

constexpr size_t kPipelinedBytes = 16u << 10;  // read ahead while a request is being answered
constexpr double kLingerS = 2;  // for a refused client to stop sending, so that it can read why

double Seconds(NetClock::time_point from, NetClock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

std::string HostName(std::string_view host) {
  if (!host.empty() && host[0] == '[') return ToLower(host.substr(0, host.find(']') + 1));
  return ToLower(host.substr(0, host.find(':')));
}

}  // namespace

std::string Outbox::Take() {
  std::string out = std::move(head);
  head.clear();
  if (is_head_request) body.clear();
  if (is_chunked && !body.empty())
    fmt::format_to(std::back_inserter(out), "{:x}\r\n{}\r\n", body.size(), body);
  else if (out.empty())
    out = std::move(body);
  else
    out += body;
  body.clear();
  last_kind = 0;
  if (is_finished && is_chunked && !is_head_request) out += "0\r\n\r\n";
  is_finished = false;
  return out;
}

Connection::Connection(std::shared_ptr<ConnectionHost> host, std::unique_ptr<Transport> transport,
                       std::string peer)
    : host_(std::move(host)),
      transport_(std::move(transport)),
      peer_(std::move(peer)),
      since_(NetClock::now()),
      body_since_(since_),
      last_write_(since_),
      parser_(std::make_unique<RequestParser>(&host_->options().limits)) {}

void Connection::Enter(Phase phase) {
  phase_ = phase;
  since_ = NetClock::now();
}

void Connection::Start() {
  transport_->Handshake([self = shared_from_this()](IoError error) {
    if (self->phase_ != Phase::kHandshake) return;
    if (error) return self->Close(HttpExchange::Gone::kClosed);
    self->Enter(Phase::kIdle);
    self->Read();
  });
}

void Connection::Read() {
  if (is_reading_ || at_end_ || phase_ == Phase::kClosed || input_.size() > kPipelinedBytes) return;
  is_reading_ = true;
  transport_->ReadSome(buffer_, [self = shared_from_this()](IoError error, size_t count) {
    self->is_reading_ = false;
    self->OnRead(error, count);
  });
}

void Connection::OnRead(IoError error, size_t count) {
  if (phase_ == Phase::kClosed) return;
  if (error) {
    at_end_ = true;
    bool has_answer = false;
    if (phase_ == Phase::kHandling) {
      const std::lock_guard lock(outbox_->mutex);
      has_answer = outbox_->is_complete;  // it is on its way to a client that may still read
    }
    if (!has_answer) Close(HttpExchange::Gone::kClosed);
    return;
  }
  if (phase_ != Phase::kLingering) {
    input_.append(buffer_.data(), count);
    Process();
  }
  Read();
}

void Connection::CountBody() {
  const size_t now = phase_ == Phase::kClosed ? 0 : parser_->body_bytes();
  const bool fits =
      host_->AddBodyBytes(static_cast<ptrdiff_t>(now) - static_cast<ptrdiff_t>(counted_body_));
  counted_body_ = now;
  if (!fits && phase_ == Phase::kReading)
    Refuse(503, "too many large requests at once: try again later");
}

void Connection::Process() {
  while (!input_.empty() && (phase_ == Phase::kIdle || phase_ == Phase::kReading)) {
    const auto before = parser_->state();
    const size_t used = parser_->Push(input_);
    input_.erase(0, used);
    if (phase_ == Phase::kIdle && parser_->has_begun()) Enter(Phase::kReading);
    switch (parser_->state()) {
      case RequestParser::State::kFailed:
        Refuse(parser_->failure().status, parser_->failure().message);
        return;
      case RequestParser::State::kDone:
        Dispatch();
        return;
      case RequestParser::State::kBody:
        if (before == RequestParser::State::kHead) body_since_ = NetClock::now();
        if (parser_->expects_continue() && !sent_continue_ && input_.empty()) {
          sent_continue_ = true;
          if (!is_writing_) {
            writing_ = "HTTP/1.1 100 Continue\r\n\r\n";
            is_writing_ = true;
            transport_->WriteAll(writing_, [self = shared_from_this()](IoError error, size_t) {
              self->is_writing_ = false;
              if (!error) self->Flush();
            });
          }
        }
        CountBody();
        break;
      case RequestParser::State::kHead:
        break;
    }
    if (used == 0) return;
  }
}

void Connection::Dispatch() {
  ++host_->counts().requests;
  Enter(Phase::kHandling);
  last_write_ = since_;
  keep_alive_ = parser_->keep_alive() && !at_end_;
  outbox_ = std::make_shared<Outbox>();
  HttpRequest request = parser_->Take();
  request.peer = peer_;
  const auto exchange = std::make_shared<ConnectionExchange>(
      host_, shared_from_this(), outbox_, std::move(request), keep_alive_, parser_->is_http_1_0());
  const auto& options = host_->options();
  const auto refuse = [&](int status, const std::string& message) {
    exchange->Respond(options.error_page ? options.error_page(status, message)
                                         : HttpResponse{.status = status, .body = message + "\n"});
  };
  const auto& names = options.host_names;
  const std::string_view host = exchange->request().Header("host");
  if (!names.empty() && std::find(names.begin(), names.end(), HostName(host)) == names.end())
    return refuse(403, fmt::format("this server is not called {}", Quoted(host)));
  try {
    host_->Handle(exchange);
  } catch (const std::exception& error) {
    LogWarning("request from {}: {}", peer_, error.what());
    bool is_open;
    {
      const std::lock_guard lock(outbox_->mutex);
      is_open = !outbox_->has_head;
    }
    if (is_open)
      refuse(500, "the server failed");
    else
      exchange->Abort();
  }
}

// Answers a request that could not be read; what else the client sends is thrown away.
void Connection::Refuse(int status, const std::string& message) {
  ++host_->counts().requests;
  const auto& options = host_->options();
  Enter(Phase::kHandling);
  last_write_ = since_;
  keep_alive_ = false;
  input_.clear();
  outbox_ = std::make_shared<Outbox>();
  HttpRequest request;
  request.peer = peer_;
  ConnectionExchange exchange(host_, shared_from_this(), outbox_, std::move(request),
                              /*keep_alive=*/false, /*is_http_1_0=*/true);
  exchange.Respond(options.error_page ? options.error_page(status, message)
                                      : HttpResponse{.status = status, .body = message + "\n"});
}

void Connection::Flush() {
  if (phase_ != Phase::kHandling) return;
  std::unique_lock lock(outbox_->mutex);
  if (outbox_->is_cut) {  // also while a write waits for a client that reads nothing
    const auto reason = outbox_->reason;
    lock.unlock();
    ++host_->counts().stalls;
    Close(reason);
    return;
  }
  if (is_writing_) return;
  if (outbox_->is_gathering)
    outbox_->next_piece = NetClock::now() + GatherTime(host_->options().limits);
  outbox_->is_posted = outbox_->is_gathering = false;
  writing_ = outbox_->Take();
  if (writing_.empty()) {
    const bool is_complete = outbox_->is_complete;
    lock.unlock();
    if (is_complete) AnswerDone();
    return;
  }
  outbox_->in_flight = writing_.size();
  lock.unlock();
  is_writing_ = true;
  last_write_ = NetClock::now();
  transport_->WriteAll(writing_, [self = shared_from_this()](IoError error, size_t) {
    self->is_writing_ = false;
    if (self->phase_ != Phase::kHandling) return;
    self->last_write_ = NetClock::now();
    {
      const std::lock_guard guard(self->outbox_->mutex);
      self->outbox_->in_flight = 0;
    }
    if (error) return self->Close(HttpExchange::Gone::kClosed);
    self->Flush();
  });
}

void Connection::AnswerDone() {
  bool closes;
  {
    const std::lock_guard lock(outbox_->mutex);
    outbox_->is_gone = true;
    outbox_->on_gone = nullptr;
    closes = outbox_->closes;
  }
  host_->AddBodyBytes(-static_cast<ptrdiff_t>(counted_body_));
  counted_body_ = 0;
  if (closes || at_end_ || host_->is_stopping()) return Linger();
  outbox_.reset();
  parser_ = std::make_unique<RequestParser>(&host_->options().limits);
  sent_continue_ = false;
  writing_ = std::string();
  Enter(Phase::kIdle);
  Process();
  Read();
}

void Connection::Linger() {
  if (at_end_) return Close(HttpExchange::Gone::kClosed);
  Enter(Phase::kLingering);
  input_.clear();
  transport_->ShutdownSend();
  Read();
}

void Connection::Tick(NetClock::time_point now) {
  const HttpLimits& limits = host_->options().limits;
  const double in_phase = Seconds(since_, now);
  switch (phase_) {
    case Phase::kHandshake:
      if (in_phase > limits.head_s) Close(HttpExchange::Gone::kClosed);
      return;
    case Phase::kIdle:
      if (in_phase > limits.idle_s) Close(HttpExchange::Gone::kClosed);
      return;
    case Phase::kReading:
      if (parser_->state() == RequestParser::State::kHead) {
        if (in_phase > limits.head_s) {
          ++host_->counts().timeouts;
          Refuse(408, fmt::format("the headers took longer than {} s", limits.head_s));
        }
      } else {
        const double late = Seconds(body_since_, now) - limits.body_grace_s;
        if (late > 0 &&
            static_cast<double>(parser_->raw_body_bytes()) < late * limits.body_bytes_per_s) {
          ++host_->counts().timeouts;
          Refuse(408, fmt::format("the body came slower than {} bytes/s", limits.body_bytes_per_s));
        }
      }
      return;
    case Phase::kHandling: {
      if (is_writing_) {
        if (Seconds(last_write_, now) > limits.stall_s) {
          ++host_->counts().stalls;
          Close(HttpExchange::Gone::kStalled);
        }
        return;
      }
      const std::lock_guard lock(outbox_->mutex);
      const bool is_silent =
          outbox_->has_head && !outbox_->is_complete && outbox_->queued_bytes() == 0;
      if (is_silent && !outbox_->filler.empty() && Seconds(last_write_, now) > outbox_->filler_s)
        outbox_->body = outbox_->filler;
      else
        return;
    }
      Flush();
      return;
    case Phase::kLingering:
      if (in_phase > kLingerS) Close(HttpExchange::Gone::kClosed);
      return;
    case Phase::kClosed:
      return;
  }
}

void Connection::CloseIfIdle() {
  if (phase_ == Phase::kIdle || phase_ == Phase::kHandshake || phase_ == Phase::kReading)
    Close(HttpExchange::Gone::kShutdown);
}

void Connection::Close(HttpExchange::Gone reason) {
  if (phase_ == Phase::kClosed) return;
  const auto self = shared_from_this();
  phase_ = Phase::kClosed;
  transport_->Close();
  host_->AddBodyBytes(-static_cast<ptrdiff_t>(counted_body_));
  counted_body_ = 0;
  if (outbox_ != nullptr) {
    std::function<void(HttpExchange::Gone)> callback;
    {
      const std::lock_guard lock(outbox_->mutex);
      outbox_->is_gone = true;
      outbox_->reason = reason;
      outbox_->head = outbox_->body = std::string();
      outbox_->is_finished = false;
      callback = std::move(outbox_->on_gone);
      outbox_->on_gone = nullptr;
    }
    if (callback) callback(reason);
  }
  host_->Closed(this);
}

}  // namespace planish
