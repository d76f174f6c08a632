// SPDX-License-Identifier: Apache-2.0
// The table of routes, and those that do not describe the model.
#include <ctime>

#include "base/memory.h"
#include "base/parallel.h"
#include "serve/chat_request.h"
#include "serve/chat_writer.h"
#include "serve/request_ids.h"
#include "serve/responses_writer.h"
#include "serve/server.h"
#include "serve/text_writer.h"
#include "text/demo_tools.h"

namespace planish {

const std::vector<Server::Route>& Server::Routes() {
  using S = Server;
  // method, path, needs key, needs model, on the I/O thread, answer
  static const std::vector<Route> kRoutes = {
      {"GET", "/livez", false, false, true, &S::Live},
      {"GET", "/health", false, false, true, &S::Health},
      {"GET", "/readyz", false, false, true, &S::Health},
      {"GET", "/metrics", true, false, true, &S::PrintMetrics},
      {"GET", "/slots", true, true, true, &S::Slots},
      {"GET", "/props", true, true, true, &S::Props},
      {"GET", "/v1/models", true, true, true, &S::Models},
      {"GET", "/v1/models/*", true, true, true, &S::ModelByName},
      {"GET", "/tokenizer_info", true, true, true, &S::TokenizerInfo},
      {"POST", "/tokenize", true, true, false, &S::Tokenize},
      {"POST", "/detokenize", true, true, false, &S::Detokenize},
      {"POST", "/apply-template", true, true, false, &S::ApplyTemplate},
      {"POST", "/v1/chat/completions/control", true, true, true, &S::Control},
      {"POST", "/v1/chat/completions", true, true, false, nullptr, &S::ChatCompletion},
      {"POST", "/v1/completions", true, true, false, nullptr, &S::Completion},
      {"POST", "/v1/responses", true, true, false, nullptr, &S::Responses},
      {"GET", "/demo/tools", true, false, true, &S::DemoToolList},
      {"POST", "/demo/tools/*", true, false, false, &S::DemoTool},
  };
  return kRoutes;
}

HttpResponse Server::Live(const Call&) {
  Json out = Json::MakeObject();
  out.Set("status", "ok");
  return JsonResponse(out);
}

HttpResponse Server::Health(const Call& call) {
  try {
    CheckReady(/*generates=*/true);
  } catch (const ApiError& error) {
    HttpResponse response = ErrorResponse(error);
    if (error.code() == "loading") {
      Json body = ErrorJson(error);
      body.Set("progress", engine_->load_progress());
      response.body = DumpJson(body);
    }
    return response;
  }
  return Live(call);
}

HttpResponse Server::PrintMetrics(const Call&) {
  Metrics& metrics = state_.metrics;
  const auto counts = http_->counts();
  metrics.Set("connections", static_cast<double>(counts.connections));
  metrics.Set("resident_memory_bytes", static_cast<double>(ResidentBytes()));
  metrics.Set("engine_threads", ThreadCount());
  if (engine_->state() == EngineThread::State::kReady) {
    const EngineStats stats = engine_->published().stats;
    metrics.Set("requests_running", static_cast<double>(stats.running));
    metrics.Set("requests_waiting", static_cast<double>(stats.waiting));
    metrics.Set("state_cache_bytes", static_cast<double>(stats.state_bytes));
    metrics.Set("kv_cache_usage_ratio", stats.context_memory > 0
                                            ? static_cast<double>(stats.state_bytes) /
                                                  static_cast<double>(stats.context_memory)
                                            : 0.0);
    metrics.Set("cache_bytes", static_cast<double>(stats.cache.bytes));
    const auto snapshots = [&](const char* event, uint64_t count) {
      metrics.SetCounter("snapshots_total", static_cast<double>(count),
                         fmt::format("event=\"{}\"", event));
    };
    snapshots("stored", stats.cache.stored);
    snapshots("hit", stats.cache.hits);
    snapshots("evicted", stats.cache.evicted);
    snapshots("refused", stats.cache.refused);
    metrics.SetCounter("preemptions_total", static_cast<double>(stats.totals.preemptions));
  }
  return {.headers = {{"content-type", "text/plain; version=0.0.4; charset=utf-8"}},
          .body = metrics.Print()};
}

HttpResponse Server::Control(const Call& call) {
  const Json body = ParseBody(call.request());
  Fields fields(body);
  const auto id = fields.Text("id", 256), action = fields.Text("action", 64);
  if (!id) throw InvalidValue("id", "id is missing");
  const bool ends_thinking = action && (*action == "end_thinking" || *action == "reasoning_end");
  if (!ends_thinking && (!action || *action != "cancel"))
    throw InvalidValue("action", "action is {}, expected end_thinking or cancel",
                       action ? Quoted(*action) : "missing");
  const auto generation = state_.registry.Find(*id);
  bool success = generation != nullptr;
  std::string message = success ? "" : "nothing of this id is running";
  if (success && ends_thinking) {
    success = generation->EndThinking();
    if (!success) message = "this request does not think";
  } else if (success) {
    generation->Cancel(Generation::Cancelled::kControl);
  }
  Json out = Json::MakeObject();
  out.Set("success", success);
  if (!success) out.Set("message", message);
  return JsonResponse(out, generation == nullptr ? 404 : 200);
}

HttpResponse Server::DemoToolList(const Call&) {
  if (!state_.settings.has_demo_tools)
    throw ApiError(404, "", "the demo tools are off (--demo-tools)");
  return JsonResponse(DemoTools());
}

HttpResponse Server::DemoTool(const Call& call) {
  if (!state_.settings.has_demo_tools)
    throw ApiError(404, "", "the demo tools are off (--demo-tools)");
  const std::time_t now = std::time(nullptr);
  std::tm date{};
  gmtime_r(&now, &date);
  char text[16];
  std::strftime(text, sizeof(text), "%Y-%m-%d", &date);
  HttpResponse response = JsonResponse({});
  // As `chat --tools` gives it to the model: a client hands on the text of this body.
  response.body =
      DumpJson(RunDemoTool(call.rest, ParseBody(call.request()), text), JsonStyle::kPython);
  return response;
}

void Server::ChatCompletion(const Call& call, const Json& body) {
  Launch(call, "chatcmpl-" + RandomBase32(26), ReadChatRequest(&state_, body),
         std::make_unique<ChatWriter>());
}

void Server::Completion(const Call& call, const Json& body) {
  Launch(call, "cmpl-" + RandomBase32(26), ReadCompletionRequest(&state_, body),
         std::make_unique<TextWriter>());
}

void Server::Responses(const Call& call, const Json& body) {
  Launch(call, "resp_" + RandomBase32(26), ReadResponsesRequest(&state_, body),
         std::make_unique<ResponsesWriter>(body));
}

}  // namespace planish
