// SPDX-License-Identifier: Apache-2.0
// `planish serve`: the OpenAI-compatible server. The main thread waits for signals; everything else is serve/.
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>

#include "base/log.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "cli/model_options.h"
#include "cli/verbs.h"
#include "net/http_client.h"
#include "serve/server.h"

namespace planish {
namespace {

constexpr double kBackgroundRestS = 0.1;  // programs ask again within it, people do not

bool IsLoopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.") ||
         host.starts_with("unix:");
}

// Signals are taken by sigtimedwait in one place, so no handler runs between other work.
sigset_t ServeSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) sigaddset(&set, signal);
  return set;
}

// Of all weights of a folder or file, to tell how far loading is.
uint64_t WeightBytes(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    const auto size = std::filesystem::file_size(path, error);
    return error ? 0 : size;
  }
  uint64_t total = 0;
  for (const auto& entry : std::filesystem::directory_iterator(path, error)) {
    if (entry.path().extension() == ".safetensors") total += entry.file_size(error);
  }
  return total;
}

class ServeVerb : public Verb {
 public:
  const char* name() const override { return "serve"; }
  const char* group() const override { return "run"; }
  const char* summary() const override {
    return "OpenAI-compatible HTTP server with thinking budgets, tools and a web page";
  }
  const char* examples() const override {
    return "  planish serve -m MODEL\n  planish serve -m MODEL --host 0.0.0.0 --api-key-file keys "
           "--tls-cert c.pem --tls-key k.pem";
  }
  bool reads_options_from_file() const override { return true; }
  void Declare(OptionSet* options) override {
    model_.Declare(options, /*required=*/false);
    model_.DeclareRun(options, "auto");
    options->Flag("--force", &force_, "load the model even if it does not seem to fit in memory");
    options->Group("Address");
    options->Text("--host", &host_, "address, or unix:/path.sock");
    options->Int("--port", &port_, 0, 65535, "0: any free one");
    options->Text("--tls-cert", &tls_cert_, "PEM certificate chain");
    options->Text("--tls-key", &tls_key_, "PEM private key");
    options->TextList("--api-key", &keys_, "key that clients must show");
    options->Text("--api-key-file", &key_file_, "file with one key a line, for this user only");
    options->Flag("--insecure", &insecure_, "serve other machines without a key");
    options->TextList("--cors-origin", &cors_, "origin whose pages may use the server");
    options->TextList("--allowed-host", &hosts_, "further name that the Host header may have");
    options->Flag("--check", &check_, "only ask /health of the address; exit status 0 or 5");
    options->Group("Model's name and answers");
    options->Text("--alias", &alias_, "name of the model; default: that of its folder or file");
    options->Flag("--strict-model", &strict_model_, "404 for other model names");
    options->Flag("--strict-params", &strict_params_, "400 for unknown fields");
    options->Choice("--reasoning-field", &reasoning_field_,
                    {"reasoning_content", "both", "content"},
                    "name of the reasoning; both: also as `reasoning`; content: not taken out of "
                    "the content");
    options->Choice("--web", &web_, {"on", "off"}, "the web page at /");
    options->Flag("--demo-tools", &demo_tools_, "the three demo tools at /demo/tools");
    thinking_.Declare(options);
    options->Int("--thinking-budget-max", &budget_max_, -1, static_cast<int64_t>(limits::kContext),
                 "ceiling of every request's budget; -1: none");
    options->Int("--thinking-grace", &grace_, -1, static_cast<int64_t>(limits::kContext),
                 "tokens to wait for a line's end when the budget is used up; -1: a tenth of it, "
                 "16 to 500");
    options->IntList("--effort-map", &effort_, -1, static_cast<int64_t>(limits::kContext),
                     "budgets of reasoning_effort minimal, low, medium, high");
    options->Group("Work");
    options->Int("--slots", &slots_, 1, 64, "requests that run at once");
    options->Int("--step-tokens", &step_tokens_, 32, 65536, "rows of one step of the engine");
    options->Real("--max-itl", &max_itl_ms_, 0, 60000,
                  "wanted longest time between two tokens while prompts arrive, in ms; 0: none");
    options->Bytes("--ctx-memory", &ctx_memory_,
                   "for running requests; default: 60% of what is free");
    options->Bytes("--cache-ram", &cache_ram_,
                   "for states kept for later prompts; default: a quarter of what is free, at most "
                   "4 GiB");
    options->Text("--cache-dir", &cache_dir_,
                  "folder where these states outlive evictions and restarts; default: none");
    options->Bytes("--cache-dir-max", &cache_dir_max_, "most that the folder may hold");
    options->Choice("--state-cache-type", &state_cache_, {"exact", "bf16"},
                    "of SSM states in that cache; bf16: half the memory, and answers that resume "
                    "from it may differ from cold ones by rounding");
    options->Choice("--warm-next-turn", &warm_, {"on", "off"},
                    "compute the history form of an answer while there is nothing else to do");
    options->Group("Load");
    options->Int("--max-queue", &max_queue_, 1, 65536, "requests that may wait; more get 429");
    options->Int("--max-queued-tokens", &max_queued_tokens_, 1, INT64_C(1) << 40,
                 "prompt tokens that may wait");
    options->Real("--queue-timeout", &queue_timeout_s_, 0, 1e6,
                  "seconds to wait for a slot; 0: no limit");
    options->Real("--request-timeout", &request_timeout_s_, 0, 1e6,
                  "seconds for an answer; 0: no limit");
    options->Real("--stall-timeout", &stall_timeout_s_, 0.1, 1e6,
                  "seconds that a client may take nothing of its answer");
    options->Real("--drain-timeout", &drain_timeout_s_, 0, 1e6,
                  "seconds for running requests after SIGTERM");
    options->Bytes("--max-body", &max_body_, "size of a request");
    options->Int("--max-connections", &max_connections_, 1, 65536, "connections at once");
    options->Int("--max-connections-per-address", &max_per_address_, 1, 65536, "of one client");
    options->Group("Observation");
    options->Text("--log-prompts", &log_prompts_,
                  "folder, of this user alone, where what is asked and answered is written; "
                  "default: nowhere");
    options->Text("--trace", &trace_, "file for the engine's steps as Chrome trace events");
    options->Flag("--metrics-public", &metrics_public_, "/metrics needs no key");
    options->Choice("--metrics-compat", &metrics_compat_, {"none", "vllm", "llamacpp"},
                    "print metrics under another server's names, too");
  }

  ExitCode Run(const OptionSet& options) override {
    if (check_) return Check();
    if (model_.model.empty()) throw UsageError("-m, --model is missing");
    const sigset_t signals = ServeSignals();
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    Server server(Options(options));
    server.Start();
    LogInfo("listening on {}", server.url());
    const ExitCode code = WaitForTheEnd(&server, signals);
    server.Stop();
    if (server.engine().state() == EngineThread::State::kFailed && server.engine().failure())
      std::rethrow_exception(server.engine().failure());
    return code;
  }

 private:
  std::string CheckUrl() const {
    if (host_.starts_with("unix:")) return host_;
    const std::string host = host_ == "0.0.0.0" ? "127.0.0.1" : host_ == "::" ? "::1" : host_;
    return fmt::format("{}://{}:{}", tls_cert_.empty() ? "http" : "https",
                       host.find(':') == std::string::npos ? host : "[" + host + "]", port_);
  }

  ExitCode Check() const {
    HttpClient client(CheckUrl(), {.connect_s = 5, .silence_s = 5, .verifies_tls = false});
    const HttpResponse response = client.Get("/health");
    if (response.status == 200) return ExitCode::kOk;
    throw Error(ExitCode::kNetwork, fmt::format("{} answers {}: {}", CheckUrl(), response.status,
                                                Quoted(response.body, 200)));
  }

  ServeOptions Options(const OptionSet& options) {
    if (!IsLoopback(host_) && keys_.empty() && key_file_.empty() && !insecure_)
      throw Error(ExitCode::kUsage,
                  fmt::format("{} can be reached by others, and there is no API key", host_),
                  "--api-key-file FILE, or --insecure");
    if (!effort_.empty() && effort_.size() != 4)
      throw UsageError("--effort-map has {} numbers, expected 4", effort_.size());
    ServeOptions serve;
    serve.http.host = host_;
    serve.http.port = static_cast<uint16_t>(port_);
    serve.http.tls_certificate = tls_cert_;
    serve.http.tls_key = tls_key_;
    HttpLimits& limits = serve.http.limits;
    limits.body_bytes = max_body_;
    limits.total_body_bytes = std::max<size_t>(limits.total_body_bytes, 4 * max_body_);
    limits.stall_s = stall_timeout_s_;
    limits.connections = static_cast<size_t>(max_connections_);
    limits.connections_per_address = static_cast<size_t>(max_per_address_);
    // A page of another site whose name was pointed at this machine sends that name.
    if (IsLoopback(host_) && !host_.starts_with("unix:"))
      serve.http.host_names = {"localhost", "127.0.0.1", "[::1]", host_};
    for (const std::string& name : hosts_) serve.http.host_names.push_back(ToLower(name));
    if (!IsLoopback(host_) && hosts_.empty()) serve.http.host_names.clear();
    serve.keys = keys_;
    serve.key_file = key_file_;
    serve.cors_origins = cors_;
    serve.metric_aliases = metrics_compat_ == "none" ? "" : metrics_compat_;
    std::string path = model_.model;
    while (path.size() > 1 && path.back() == '/') path.pop_back();
    serve.model_name = alias_.empty() ? path.substr(path.rfind('/') + 1) : alias_;

    ServeSettings& settings = serve.settings;
    settings.strict_model = strict_model_;
    settings.strict_params = strict_params_;
    settings.reasoning_both = reasoning_field_ == "both";
    settings.reasoning_in_content = reasoning_field_ == "content";
    settings.metrics_public = metrics_public_;
    settings.has_web = web_ == "on";
    settings.has_demo_tools = demo_tools_;
    settings.warm_next_turn = warm_ == "on";
    settings.max_queue = static_cast<size_t>(max_queue_);
    settings.max_queued_tokens = static_cast<size_t>(max_queued_tokens_);
    settings.queue_timeout_s = queue_timeout_s_;
    settings.request_timeout_s = request_timeout_s_;
    settings.slots = static_cast<size_t>(slots_);
    settings.version = ProgramVersion();
    settings.log_prompts = log_prompts_;
    serve.trace = trace_;
    settings.thinking.toggle = thinking_.Resolve();
    settings.thinking.budget = thinking_.budget;
    settings.thinking.budget_max = budget_max_;
    settings.thinking.grace = grace_;
    std::copy(effort_.begin(), effort_.end(), settings.thinking.effort);

    serve.engine.open = [this] {
      Pretrained opened = model_.Open(/*needs_tokenizer=*/true, /*checks_memory=*/!force_);
      thinking_.Apply(&opened);
      return opened;
    };
    serve.engine.expected_bytes = WeightBytes(model_.model);
    const bool has_cache_ram = options.WasGiven("--cache-ram");
    serve.engine.engine = [this, has_cache_ram](const Pretrained& opened) {
      EngineOptions engine;
      engine.slots = static_cast<size_t>(slots_);
      engine.step_tokens = static_cast<size_t>(step_tokens_);
      engine.context = model_.ContextFor(opened.config);
      engine.max_itl_ms = max_itl_ms_;
      engine.background_rest_s = kBackgroundRestS;
      engine.context_memory = ctx_memory_ > 0 ? ctx_memory_ : AvailableBytes() / 10 * 6;
      engine.cache_bytes = has_cache_ram ? cache_ram_ : DefaultCacheBytes();
      engine.packs_cache = state_cache_ == "bf16";
      if (!cache_dir_.empty()) {
        engine.cache_dir = cache_dir_;
        engine.cache_dir_bytes = cache_dir_max_;
        engine.fingerprint =
            StateFingerprint(opened.model.get(), CacheSsmType(*opened.model, engine.packs_cache));
      }
      return engine;
    };
    return serve;
  }

  // Until SIGTERM or SIGINT and then until the work is done, or until the model could not be loaded.
  ExitCode WaitForTheEnd(Server* server, const sigset_t& signals) {
    bool was_ready = false;
    for (;;) {
      const timespec wait{0, 200'000'000};
      const int signal = sigtimedwait(&signals, nullptr, &wait);
      const auto state = server->engine().state();
      if (state == EngineThread::State::kFailed) return ExitCode::kFailure;
      if (state == EngineThread::State::kReady && !was_ready) {
        was_ready = true;
        LogInfo("{} is ready: context {}, {} slots, {} threads", server->state().model_name,
                server->engine().context(), slots_, ThreadCount());
      }
      if (signal == SIGHUP) server->Reload();
      if (signal == SIGUSR1) LogInfo("{}", server->Describe());
      if (signal == SIGINT || signal == SIGTERM) return Drain(server, signals);
    }
  }

  ExitCode Drain(Server* server, const sigset_t& signals) {
    LogInfo("draining: {} requests; once more to stop now", server->running());
    server->Drain();
    const auto start = ServeClock::now();
    while (server->running() > 0) {
      if (SecondsSince(start) > drain_timeout_s_) {
        LogWarning("{} requests are cut off after {:g} s", server->running(), drain_timeout_s_);
        break;
      }
      const timespec wait{0, 20'000'000};
      const int signal = sigtimedwait(&signals, nullptr, &wait);
      if (signal == SIGINT || signal == SIGTERM) _exit(128 + signal);
    }
    return ExitCode::kOk;
  }

  ModelOptions model_;
  ThinkingOptions thinking_;
  std::string host_ = "127.0.0.1", tls_cert_, tls_key_, key_file_, alias_,
              reasoning_field_ = "reasoning_content", web_ = "on", warm_ = "on",
              metrics_compat_ = "none";
  std::vector<std::string> keys_, cors_, hosts_;
  std::vector<int64_t> effort_;
  int64_t port_ = 8080, budget_max_ = -1, grace_ = -1, slots_ = 4, step_tokens_ = 512,
          max_queue_ = 64, max_queued_tokens_ = 262144, max_connections_ = 1024,
          max_per_address_ = 64;
  double max_itl_ms_ = 250, queue_timeout_s_ = 120, request_timeout_s_ = 0, stall_timeout_s_ = 60,
         drain_timeout_s_ = 30;
  std::string cache_dir_, log_prompts_, trace_, state_cache_ = "exact";
  uint64_t cache_dir_max_ = uint64_t{20} << 30;
  uint64_t ctx_memory_ = 0, cache_ram_ = 0, max_body_ = 8u << 20;
  bool force_ = false, insecure_ = false, check_ = false, strict_model_ = false,
       strict_params_ = false, demo_tools_ = false, metrics_public_ = false;
};

}  // namespace

std::unique_ptr<Verb> MakeServe() { return std::make_unique<ServeVerb>(); }

}  // namespace planish
