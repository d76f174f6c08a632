// SPDX-License-Identifier: Apache-2.0
// The side of an exchange that handlers hold: frames the answer and puts it into the outbox. For connection.cc.
#pragma once

#include "net/connection.h"

namespace planish {

class ConnectionExchange final : public HttpExchange {
 public:
  ConnectionExchange(std::shared_ptr<ConnectionHost> host, std::shared_ptr<Connection> connection,
                     std::shared_ptr<Outbox> outbox, HttpRequest request, bool keep_alive,
                     bool is_http_1_0);
  ~ConnectionExchange() override;

  const HttpRequest& request() const override { return request_; }
  void Respond(HttpResponse response) override;
  void StartStream(HttpResponse head, std::string filler, double filler_s) override;
  bool Write(std::string_view piece) override;
  bool WriteJoined(const JoinedPiece& piece) override;
  void Finish() override;
  void Abort() override;
  bool is_congested() const override;
  bool is_gone() const override;
  void OnGone(std::function<void(Gone)> callback) override;

 private:
  // With the lock, both: whether `size` more bytes may be queued (the stream is cut if not), and what follows when they are.
  bool HasRoom(size_t size, std::unique_lock<std::mutex>* lock);
  void AfterWrite(std::unique_lock<std::mutex>* lock);
  void Notify(std::unique_lock<std::mutex>* lock);
  std::string Head(const HttpResponse& response, const std::string& framing) const;

  std::shared_ptr<ConnectionHost> host_;
  std::shared_ptr<Connection> connection_;
  std::shared_ptr<Outbox> outbox_;
  HttpRequest request_;
  bool keep_alive_, is_http_1_0_;
};

}  // namespace planish
