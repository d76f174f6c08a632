// SPDX-License-Identifier: Apache-2.0
#include "net/exchange.h"

#include "base/error.h"

namespace planish {
namespace {

constexpr size_t kGatherBytes = 16u << 10;  // more than this is worth a wake-up of its own

// A value from elsewhere must not begin a header of its own.
void AppendHeader(const HttpHeader& header, std::string* out) {
  *out += header.name;
  *out += ": ";
  for (const char c : header.value) {
    if (c == '\t' || static_cast<unsigned char>(c) >= 0x20) *out += c;
  }
  *out += "\r\n";
}

}  // namespace

ConnectionExchange::ConnectionExchange(std::shared_ptr<ConnectionHost> host,
                                       std::shared_ptr<Connection> connection,
                                       std::shared_ptr<Outbox> outbox, HttpRequest request,
                                       bool keep_alive, bool is_http_1_0)
    : host_(std::move(host)),
      connection_(std::move(connection)),
      outbox_(std::move(outbox)),
      request_(std::move(request)),
      keep_alive_(keep_alive),
      is_http_1_0_(is_http_1_0) {
  outbox_->is_head_request = request_.method == "HEAD";
}

ConnectionExchange::~ConnectionExchange() {
  std::unique_lock lock(outbox_->mutex);
  if (outbox_->is_gone || outbox_->is_complete) return;
  const bool has_head = outbox_->has_head;
  lock.unlock();
  if (has_head) {
    Abort();
    return;
  }
  const auto& page = host_->options().error_page;
  Respond(page ? page(500, "the request was dropped") : HttpResponse{.status = 500});
}

std::string ConnectionExchange::Head(const HttpResponse& original,
                                     const std::string& framing) const {
  HttpResponse response{.status = original.status, .headers = original.headers};
  if (host_->options().decorate) host_->options().decorate(request_, &response);
  std::string head =
      fmt::format("HTTP/1.1 {} {}\r\n", response.status, ReasonPhrase(response.status));
  for (const HttpHeader& header : response.headers) AppendHeader(header, &head);
  return head + framing + "\r\n";
}

// Wakes the I/O thread once for any number of pieces.
void ConnectionExchange::Notify(std::unique_lock<std::mutex>* lock) {
  if (outbox_->is_posted && !outbox_->is_gathering) return;
  outbox_->is_posted = true;
  outbox_->is_gathering = false;
  lock->unlock();
  host_->Post([connection = connection_] { connection->Flush(); });
}

void ConnectionExchange::Respond(HttpResponse response) {
  std::unique_lock lock(outbox_->mutex);
  if (outbox_->is_gone) return;
  PLANISH_CHECK(!outbox_->has_head);
  outbox_->has_head = true;
  outbox_->closes = !keep_alive_ || host_->is_stopping();
  outbox_->head =
      Head(response, fmt::format("content-length: {}\r\nconnection: {}\r\n", response.body.size(),
                                 outbox_->closes ? "close" : "keep-alive"));
  outbox_->body = std::move(response.body);
  outbox_->is_complete = true;
  Notify(&lock);
}

void ConnectionExchange::StartStream(HttpResponse head, std::string filler, double filler_s) {
  std::unique_lock lock(outbox_->mutex);
  if (outbox_->is_gone) return;
  PLANISH_CHECK(!outbox_->has_head);
  outbox_->has_head = true;
  outbox_->is_chunked = !is_http_1_0_;
  outbox_->closes = !keep_alive_ || is_http_1_0_;
  outbox_->head = Head(head, fmt::format("{}connection: {}\r\n",
                                         is_http_1_0_ ? "" : "transfer-encoding: chunked\r\n",
                                         outbox_->closes ? "close" : "keep-alive"));
  outbox_->filler = std::move(filler);
  outbox_->filler_s = filler_s;
  outbox_->body = std::move(head.body);
  Notify(&lock);
}

bool ConnectionExchange::HasRoom(size_t size, std::unique_lock<std::mutex>* lock) {
  if (outbox_->queued_bytes() + outbox_->in_flight + size <= host_->options().limits.stream_bytes)
    return true;
  outbox_->is_complete = outbox_->is_cut = true;
  outbox_->reason = Gone::kStalled;
  lock->unlock();
  // Whatever was posted before: that may wait for a write which never ends.
  host_->Post([connection = connection_] { connection->Flush(); });
  return false;
}

void ConnectionExchange::AfterWrite(std::unique_lock<std::mutex>* lock) {
  const bool is_small = outbox_->queued_bytes() < kGatherBytes;
  if (outbox_->is_posted && (is_small || !outbox_->is_gathering)) return;
  const auto now = NetClock::now();
  if (is_small && now < outbox_->next_piece) {
    outbox_->is_posted = outbox_->is_gathering = true;
    lock->unlock();
    host_->Gather(connection_);
    return;
  }
  outbox_->next_piece = now + GatherTime(host_->options().limits);
  Notify(lock);
}

bool ConnectionExchange::Write(std::string_view piece) {
  std::unique_lock lock(outbox_->mutex);
  if (outbox_->is_gone || outbox_->is_complete) return false;
  if (piece.empty() || outbox_->is_head_request) return true;
  if (!HasRoom(piece.size(), &lock)) return false;
  outbox_->body += piece;
  outbox_->last_kind = 0;
  AfterWrite(&lock);
  return true;
}

bool ConnectionExchange::WriteJoined(const JoinedPiece& piece) {
  std::unique_lock lock(outbox_->mutex);
  if (outbox_->is_gone || outbox_->is_complete) return false;
  if (outbox_->is_head_request) return true;
  if (!HasRoom(piece.head.size() + piece.text.size() + piece.tail.size(), &lock)) return false;
  if (outbox_->last_kind == piece.kind && piece.kind != 0)
    outbox_->body.resize(outbox_->body.size() - outbox_->last_tail);
  else
    outbox_->body += piece.head;
  outbox_->body += piece.text;
  outbox_->body += piece.tail;
  outbox_->last_kind = piece.kind;
  outbox_->last_tail = piece.tail.size();
  AfterWrite(&lock);
  return true;
}

void ConnectionExchange::Finish() {
  std::unique_lock lock(outbox_->mutex);
  if (outbox_->is_gone || outbox_->is_complete) return;
  outbox_->is_complete = outbox_->is_finished = true;
  if (host_->is_stopping()) outbox_->closes = true;
  Notify(&lock);
}

void ConnectionExchange::Abort() {
  std::unique_lock lock(outbox_->mutex);
  if (outbox_->is_gone || outbox_->is_complete) return;
  outbox_->is_complete = outbox_->closes = true;
  Notify(&lock);
}

bool ConnectionExchange::is_congested() const {
  const std::lock_guard lock(outbox_->mutex);
  return outbox_->queued_bytes() + outbox_->in_flight > host_->options().limits.congested_bytes;
}

bool ConnectionExchange::is_gone() const {
  const std::lock_guard lock(outbox_->mutex);
  return outbox_->is_gone;
}

void ConnectionExchange::OnGone(std::function<void(Gone)> callback) {
  std::unique_lock lock(outbox_->mutex);
  if (!outbox_->is_gone) {
    outbox_->on_gone = std::move(callback);
    return;
  }
  const Gone reason = outbox_->reason;
  lock.unlock();
  callback(reason);
}

}  // namespace planish
