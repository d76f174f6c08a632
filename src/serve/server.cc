// SPDX-License-Identifier: Apache-2.0
#include "serve/server.h"

#include <algorithm>
#include <ctime>

#include "base/log.h"
#include "serve/chat_request.h"
#include "serve/request_ids.h"
#include "serve/step_trace.h"
#include "serve/web_page.h"

namespace planish {
namespace {

constexpr size_t kWorkers = 2;
constexpr double kLoadingRetryS = 5;

HttpResponse ErrorPage(int status, const std::string& message) {
  return ErrorResponse(ApiError(status, status == 400 ? "invalid_http" : "", message));
}

// "/demo/tools/*" takes one more segment.
bool Matches(std::string_view pattern, std::string_view path, std::string* rest) {
  if (!pattern.ends_with("/*")) return pattern == path;
  pattern.remove_suffix(1);
  if (!path.starts_with(pattern) || path.size() == pattern.size()) return false;
  *rest = path.substr(pattern.size());
  return true;
}

}  // namespace

Server::Server(ServeOptions options)
    : state_(std::move(options.settings), options.model_name, options.metric_aliases),
      keys_(options.keys, options.key_file),
      cors_origins_(std::move(options.cors_origins)) {
  state_.created = std::time(nullptr);
  state_.fingerprint =
      "planish-" + state_.settings.version.substr(0, state_.settings.version.find(' '));
  if (!state_.settings.log_prompts.empty())
    state_.prompt_log = std::make_unique<PromptLog>(state_.settings.log_prompts);
  const auto trace = options.trace.empty() ? nullptr : std::make_shared<StepTrace>(options.trace);
  options.engine.on_step = [this, trace](Engine& engine) {
    if (trace) trace->Add(engine);
    if (const size_t rows = engine.last_step().rows(); rows > 0)
      state_.metrics.Observe("step_tokens", static_cast<double>(rows));
  };
  engine_ = std::make_unique<EngineThread>(std::move(options.engine));
  state_.engine = engine_.get();
  options.http.error_page = ErrorPage;
  options.http.decorate = [this](const HttpRequest& request, HttpResponse* response) {
    Decorate(request, response);
  };
  http_ = std::make_unique<HttpServer>(
      std::move(options.http),
      [this](std::shared_ptr<HttpExchange> exchange) { Handle(std::move(exchange)); });
  url_ = http_->url();
}

Server::~Server() { Stop(); }

void Server::Start() {
  workers_ = std::make_unique<Workers>(kWorkers);
  http_->Start();
  engine_->Start();
}

void Server::Drain() { state_.is_draining = true; }

// Order: nobody is let in, nothing new is prepared, the engine ends, its answers have nowhere to go any more.
void Server::Stop() {
  state_.is_draining = true;
  http_->StopAccepting();
  workers_.reset();
  engine_->Stop();
  http_->Stop();
}

void Server::Reload() {
  try {
    keys_.Reload();
    http_->ReloadTls();
    LogInfo("keys and certificates were read again");
  } catch (const std::exception& error) {
    LogWarning("the old keys and certificates stay: {}", error.what());
  }
}

std::string Server::Describe() const {
  const auto published = engine_->published();
  const auto& stats = published.stats;
  std::string out = fmt::format("{} running, {} waiting ({} prompt tokens), {} in all\n",
                                stats.running, stats.waiting, stats.waiting_tokens, running());
  for (const SlotInfo& slot : published.slots)
    out += fmt::format(
        "  request {} {}{}: prompt {}/{} ({} cached), {} of {} generated, {:.1f} s\n", slot.id,
        Name(slot.phase), slot.is_paused ? ", paused" : "", slot.prompt_done, slot.prompt_tokens,
        slot.cached_tokens, slot.generated, slot.max_new_tokens, slot.age_s);
  return out;
}

const std::string* Server::AllowedOrigin(const HttpRequest& request) const {
  const std::string_view origin = request.Header("origin");
  const auto found = std::find(cors_origins_.begin(), cors_origins_.end(), origin);
  return origin.empty() || found == cors_origins_.end() ? nullptr : &*found;
}

void Server::Decorate(const HttpRequest& request, HttpResponse* response) const {
  if (response->Header("x-request-id").empty())
    response->headers.push_back({"x-request-id", RequestIdOf(request)});
  if (const std::string* origin = AllowedOrigin(request)) {
    response->headers.push_back({"access-control-allow-origin", *origin});
    response->headers.push_back(
        {"access-control-expose-headers", "x-request-id, x-planish-ignored"});
  }
  if (!cors_origins_.empty()) response->headers.push_back({"vary", "origin"});
}

bool Server::HandlePreflight(const Call& call) {
  if (call.request().method != "OPTIONS") return false;
  if (AllowedOrigin(call.request()) == nullptr) {
    Reply(nullptr, call,
          ErrorResponse(ApiError(403, "", "this origin may not use the server (--cors-origin)")));
    return true;
  }
  Reply(nullptr, call,
        {.status = 204,
         .headers = {{"access-control-allow-methods", "GET, POST"},
                     {"access-control-allow-headers",
                      "authorization, content-type, x-api-key, x-request-id"},
                     {"access-control-max-age", "600"}}});
  return true;
}

void Server::CheckReady(bool generates) const {
  switch (engine_->state()) {
    case EngineThread::State::kReady:
      break;
    case EngineThread::State::kLoading: {
      ApiError error(503, "loading", "the model is being loaded");
      error.retry_after_s = kLoadingRetryS;
      throw error;
    }
    case EngineThread::State::kFailed:
      throw ApiError(503, "unavailable", "the model could not be loaded");
  }
  if (generates && state_.is_draining) {
    ApiError error(503, "draining", "the server is shutting down");
    error.retry_after_s = kLoadingRetryS;
    throw error;
  }
}

// On the I/O thread.
void Server::Handle(std::shared_ptr<HttpExchange> exchange) {
  const HttpRequest& request = exchange->request();
  Call call{exchange, RequestIdOf(request), ServeClock::now(), {}};
  if (HandlePreflight(call)) return;
  if (state_.settings.has_web) {
    if (auto page = WebPage(request)) return exchange->Respond(std::move(*page));
  }
  const std::string_view method =
      request.method == "HEAD" ? "GET" : std::string_view(request.method);
  std::string allowed;
  for (const Route& route : Routes()) {
    if (!Matches(route.path, request.path, &call.rest)) continue;
    if (method == route.method) return Dispatch(route, std::move(call));
    allowed += (allowed.empty() ? "" : ", ") + std::string(route.method);
  }
  if (allowed.empty())
    return Reply(
        nullptr, call,
        ErrorResponse(ApiError(404, "", fmt::format("there is no {}", Quoted(request.path)))));
  HttpResponse response = ErrorResponse(ApiError(
      405, "", fmt::format("{} is not allowed here, only {}", Quoted(request.method), allowed)));
  response.headers.push_back({"allow", allowed});
  Reply(nullptr, call, std::move(response));
}

void Server::Dispatch(const Route& route, Call call) {
  try {
    const bool is_open = !route.needs_key || (route.path == std::string_view("/metrics") &&
                                              state_.settings.metrics_public);
    if (!is_open && !keys_.Admits(call.request()))
      throw ApiError(401, "invalid_api_key",
                     "the API key is missing or wrong: Authorization: Bearer KEY");
    if (route.needs_model) CheckReady(route.begin != nullptr);
    if (route.is_inline) return Answer(route, call);
    if (route.begin != nullptr) {
      state_.queue.Enter();
      ++preparing_;
      workers_->Post([this, &route, call = std::move(call)] {
        Begin(route, call);
        --preparing_;
      });
      return;
    }
  } catch (const ApiError& error) {
    if (error.code() == "queue_full") state_.metrics.Add("queue_rejections_total");
    return Reply(&route, call, ErrorResponse(error));
  }
  workers_->Post([this, &route, call = std::move(call)] { Answer(route, call); });
}

void Server::Answer(const Route& route, const Call& call) {
  HttpResponse response;
  try {
    response = (this->*route.answer)(call);
  } catch (const ApiError& error) {
    response = ErrorResponse(error);
  } catch (const std::exception& error) {
    LogWarning("request {}: {}", call.request_id, error.what());
    response = ErrorResponse(
        ApiError(500, "", fmt::format("the server failed on this request ({})", call.request_id)));
  }
  Reply(&route, call, std::move(response));
}

// On a worker: until Launch has made a generation, the place in the queue is ours to give back.
void Server::Begin(const Route& route, const Call& call) {
  try {
    (this->*route.begin)(call, ParseBody(call.request()));
    return;
  } catch (const ApiError& error) {
    if (error.code() == "queue_full") state_.metrics.Add("queue_rejections_total");
    Reply(&route, call, ErrorResponse(error));
  } catch (const std::exception& error) {
    LogWarning("request {}: {}", call.request_id, error.what());
    Reply(&route, call,
          ErrorResponse(ApiError(
              500, "", fmt::format("the server failed on this request ({})", call.request_id))));
  }
  state_.queue.Leave(0, -1);
}

void Server::Launch(const Call& call, std::string id, GenerationPlan plan,
                    std::unique_ptr<ReplyWriter> writer) {
  size_t tokens = 0;
  for (const auto& prompt : plan.prompts) tokens += prompt.prompt.ids.size();
  state_.queue.AddTokens(tokens);
  if (state_.prompt_log) plan.request = ParseJson(call.request().body, "request");
  std::make_shared<Generation>(&state_, call.exchange, call.request_id, std::move(id),
                               std::move(plan), std::move(writer), call.received)
      ->Post();
}

void Server::Reply(const Route* route, const Call& call, HttpResponse response) {
  const int status = response.status;
  response.headers.push_back({"x-request-id", call.request_id});
  call.exchange->Respond(std::move(response));
  state_.metrics.Add(
      "requests_total", 1,
      fmt::format("endpoint=\"{}\",code=\"{}\"", route == nullptr ? "other" : route->path, status));
}

}  // namespace planish
