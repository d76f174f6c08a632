// SPDX-License-Identifier: Apache-2.0
// For tests of clients: a server whose answers the test gives, and that keeps what it was sent.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "net/http_server.h"

namespace planish::testing {

class ScriptedServer {
 public:
  using Handler = std::function<void(std::shared_ptr<HttpExchange>)>;
  explicit ScriptedServer(Handler handler)
      : server_({}, [this, handler = std::move(handler)](std::shared_ptr<HttpExchange> exchange) {
          {
            const std::lock_guard lock(mutex_);
            requests_.push_back(exchange->request());
          }
          handler(std::move(exchange));
        }) {
    server_.Start();
  }
  // Answers everything with this.
  ScriptedServer(std::string body, int status = 200)
      : ScriptedServer([body = std::move(body), status](std::shared_ptr<HttpExchange> exchange) {
          exchange->Respond({.status = status, .body = body});
        }) {}
  ~ScriptedServer() { server_.Stop(); }

  std::string url() const { return server_.url(); }
  std::vector<HttpRequest> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  // Bodies of the requests for this path.
  std::vector<Json> bodies(const std::string& path) const {
    std::vector<Json> bodies;
    for (const HttpRequest& request : requests()) {
      if (request.path == path) bodies.push_back(ParseJson(request.body, "a request"));
    }
    return bodies;
  }
  // Leaves an exchange open.
  void Hold(std::shared_ptr<HttpExchange> exchange) {
    const std::lock_guard lock(mutex_);
    held_.push_back(std::move(exchange));
  }
  std::vector<std::shared_ptr<HttpExchange>> TakeHeld() {
    const std::lock_guard lock(mutex_);
    return std::exchange(held_, {});
  }

 private:
  mutable std::mutex mutex_;
  std::vector<HttpRequest> requests_;
  std::vector<std::shared_ptr<HttpExchange>> held_;
  HttpServer server_;
};

}  // namespace planish::testing
