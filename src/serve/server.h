// SPDX-License-Identifier: Apache-2.0
// `planish serve`: an HTTP server, the engine's thread, workers between them, and the table of routes (routes.cc,
// model_routes.cc). Made with its port open; the model loads in the background.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "net/http_server.h"
#include "serve/api_keys.h"
#include "serve/generation.h"
#include "serve/serve_state.h"
#include "serve/workers.h"

namespace planish {

struct ServeOptions {
  HttpServerOptions http;  // host, port, TLS, limits
  ServeSettings settings;
  std::string model_name, metric_aliases;
  std::vector<std::string> keys;
  std::string key_file;
  std::vector<std::string> cors_origins;
  EngineThread::Options engine;  // but for on_step
  std::string trace;             // file for StepTrace; empty: none
};

class Server {
 public:
  // Error(kNetwork) if the address cannot be had.
  explicit Server(ServeOptions options);
  ~Server();

  void Start();
  const std::string& url() const { return url_; }
  uint16_t port() const { return http_->port(); }
  HttpServerCounts http_counts() const { return http_->counts(); }
  EngineThread& engine() { return *engine_; }
  ServeState& state() { return state_; }
  // New work is refused with 503 from now on.
  void Drain();
  size_t running() const { return state_.registry.size() + preparing_.load(); }
  void Stop();
  void Reload();                 // keys and TLS files; problems are logged, the old ones stay
  std::string Describe() const;  // what is going on, for the log

  // What one route does. Inline ones run on the I/O thread and must be quick; others on a worker.
  struct Call {
    std::shared_ptr<HttpExchange> exchange;
    std::string request_id;
    ServeClock::time_point received;
    std::string rest;  // what stands for * in the path
    const HttpRequest& request() const { return exchange->request(); }
  };
  struct Route {
    const char* method;
    const char* path;  // may end in "/*"
    bool needs_key, needs_model, is_inline;
    HttpResponse (Server::*answer)(const Call&);                     // null: `begin`
    void (Server::*begin)(const Call&, const Json& body) = nullptr;  // answers later by itself
  };

 private:
  static const std::vector<Route>& Routes();
  void Handle(std::shared_ptr<HttpExchange> exchange);
  void Dispatch(const Route& route, Call call);
  void Answer(const Route& route, const Call& call);
  void Begin(const Route& route, const Call& call);
  void Reply(const Route* route, const Call& call, HttpResponse response);
  void Decorate(const HttpRequest& request, HttpResponse* response) const;
  bool HandlePreflight(const Call& call);
  void CheckReady(bool generates) const;  // ApiError 503
  const std::string* AllowedOrigin(const HttpRequest& request) const;

  // routes.cc
  HttpResponse Live(const Call& call);
  HttpResponse Health(const Call& call);
  HttpResponse PrintMetrics(const Call& call);
  HttpResponse Control(const Call& call);
  HttpResponse DemoToolList(const Call& call);
  HttpResponse DemoTool(const Call& call);
  void ChatCompletion(const Call& call, const Json& body);
  void Completion(const Call& call, const Json& body);
  void Responses(const Call& call, const Json& body);
  // model_routes.cc
  HttpResponse Models(const Call& call);
  HttpResponse ModelByName(const Call& call);
  HttpResponse Props(const Call& call);
  HttpResponse Slots(const Call& call);
  HttpResponse Tokenize(const Call& call);
  HttpResponse Detokenize(const Call& call);
  HttpResponse TokenizerInfo(const Call& call);
  HttpResponse ApplyTemplate(const Call& call);
  Json ModelJson() const;

  void Launch(const Call& call, std::string id, GenerationPlan plan,
              std::unique_ptr<ReplyWriter> writer);

  ServeState state_;
  ApiKeys keys_;
  std::vector<std::string> cors_origins_;
  std::unique_ptr<EngineThread> engine_;
  std::unique_ptr<Workers> workers_;
  std::unique_ptr<HttpServer> http_;
  std::string url_;
  std::atomic<size_t> preparing_ = 0;
};

}  // namespace planish
