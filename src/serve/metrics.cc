// SPDX-License-Identifier: Apache-2.0
#include "serve/metrics.h"

#include <algorithm>

#include "base/error.h"

namespace planish {
namespace {

constexpr size_t kSeries = 512;  // of one name: labels come from a fixed set, this only makes sure

const std::vector<double> kSeconds = {0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,
                                      2.5,   5,     10,   30,    60,   120, 300,  600};
const std::vector<double> kTokens = {1,   2,   4,    8,    16,   32,   64,   128,
                                     256, 512, 1024, 2048, 4096, 8192, 16384};

struct Declared {
  const char* name;
  const char* help;
};
constexpr Declared kCounters[] = {
    {"requests_total", "Answered requests by endpoint and status"},
    {"requests_cancelled_total", "Requests that ended early, by reason"},
    {"prompt_tokens_total", "Prompt tokens of admitted requests"},
    {"prompt_tokens_cached_total", "Prompt tokens that were resumed from the cache"},
    {"generation_tokens_total", "Generated tokens"},
    {"reasoning_tokens_total", "Generated tokens of reasoning"},
    {"forced_close_total", "Reasoning that was closed by force, by reason"},
    {"tool_calls_total", "Tool calls in answers"},
    {"tool_parse_failures_total", "Tool markup that could not be read"},
    {"grammar_mask_total", "Tokens sampled under a grammar"},
    {"snapshots_total", "Events of kept states"},
    {"preemptions_total", "Sequences that gave up their memory for others"},
    {"queue_rejections_total", "Requests refused because the queue was full"},
};
constexpr Declared kGauges[] = {
    {"requests_running", "Requests in slots"},
    {"requests_waiting", "Requests that wait for a slot"},
    {"kv_cache_usage_ratio", "Share of the memory for running sequences that is in use"},
    {"state_cache_bytes", "Bytes of running sequences' states"},
    {"cache_bytes", "Bytes of states kept for later prompts"},
    {"engine_threads", "Threads of the engine"},
    {"resident_memory_bytes", "Resident memory of the process"},
    {"connections", "Open connections"},
};
struct DeclaredHistogram {
  const char* name;
  const char* help;
  bool is_time;
};
constexpr DeclaredHistogram kHistograms[] = {
    {"time_to_first_token_seconds", "From the request to its first token", true},
    {"inter_token_latency_seconds", "Between tokens of one answer", true},
    {"request_queue_time_seconds", "From the request to its admission", true},
    {"request_prefill_time_seconds", "From admission to the first token", true},
    {"request_decode_time_seconds", "From the first token to the last", true},
    {"e2e_request_latency_seconds", "From the request to the last token", true},
    {"step_tokens", "Rows of a step of the engine", false},
    {"thinking_tokens", "Reasoning tokens of an answer that thought", false},
};

struct Alias {
  const char* name;
  const char* of;
};
constexpr Alias kVllm[] = {
    {"vllm:num_requests_running", "requests_running"},
    {"vllm:num_requests_waiting", "requests_waiting"},
    {"vllm:kv_cache_usage_perc", "kv_cache_usage_ratio"},
    {"vllm:prefix_cache_queries_total", "prompt_tokens_total"},
    {"vllm:prefix_cache_hits_total", "prompt_tokens_cached_total"},
    {"vllm:time_to_first_token_seconds", "time_to_first_token_seconds"},
    {"vllm:inter_token_latency_seconds", "inter_token_latency_seconds"},
    {"vllm:e2e_request_latency_seconds", "e2e_request_latency_seconds"},
};
constexpr Alias kLlamaCpp[] = {
    {"llamacpp:prompt_tokens_total", "prompt_tokens_total"},
    {"llamacpp:tokens_predicted_total", "generation_tokens_total"},
    {"llamacpp:requests_processing", "requests_running"},
    {"llamacpp:requests_deferred", "requests_waiting"},
};

std::string LabelValue(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n')
      out += "\\n";
    else
      out += c;
  }
  return out;
}

}  // namespace

Metrics::Metrics(std::string model, std::string aliases)
    : model_(LabelValue(model)), aliases_(std::move(aliases)) {
  for (const auto& [name, help] : kCounters) families_[name] = {Kind::kCounter, help, {}, {}};
  for (const auto& [name, help] : kGauges) families_[name] = {Kind::kGauge, help, {}, {}};
  for (const auto& [name, help, is_time] : kHistograms)
    families_[name] = {Kind::kHistogram, help, is_time ? kSeconds : kTokens, {}};
}

Metrics::Family& Metrics::Get(std::string_view name) {
  const auto found = families_.find(name);
  PLANISH_CHECK(found != families_.end(), "{}", name);
  return found->second;
}

void Metrics::Add(std::string_view name, double value, const std::string& labels) {
  const std::lock_guard lock(mutex_);
  Family& family = Get(name);
  if (family.series.size() < kSeries || family.series.contains(labels))
    family.series[labels].value += value;
}

void Metrics::Set(std::string_view name, double value) {
  const std::lock_guard lock(mutex_);
  Get(name).series[""].value = value;
}

void Metrics::SetCounter(std::string_view name, double value, const std::string& labels) {
  const std::lock_guard lock(mutex_);
  Get(name).series[labels].value = value;
}

void Metrics::Observe(std::string_view name, double value) {
  const std::lock_guard lock(mutex_);
  Family& family = Get(name);
  Series& series = family.series[""];
  series.buckets.resize(family.bounds.size() + 1);
  const auto at = std::lower_bound(family.bounds.begin(), family.bounds.end(), value);
  ++series.buckets[static_cast<size_t>(at - family.bounds.begin())];
  ++series.count;
  series.value += value;
}

void Metrics::PrintFamily(const std::string& name, const Family& family, std::string* out) const {
  static constexpr const char* kKinds[] = {"counter", "gauge", "histogram"};
  *out += fmt::format("# HELP {} {}.\n# TYPE {} {}\n", name, family.help, name,
                      kKinds[static_cast<size_t>(family.kind)]);
  const std::string model = fmt::format("model=\"{}\"", model_);
  std::map<std::string, Series> zero;  // a name without events yet is there with 0
  zero[""];
  for (const auto& [labels, series] : family.series.empty() ? zero : family.series) {
    const std::string all = labels.empty() ? model : model + "," + labels;
    if (family.kind != Kind::kHistogram) {
      *out += fmt::format("{}{{{}}} {}\n", name, all, series.value);
      continue;
    }
    uint64_t sum = 0;
    for (size_t i = 0; i < family.bounds.size(); ++i) {
      if (!series.buckets.empty()) sum += series.buckets[i];
      *out += fmt::format("{}_bucket{{{},le=\"{}\"}} {}\n", name, all, family.bounds[i], sum);
    }
    *out += fmt::format("{}_bucket{{{},le=\"+Inf\"}} {}\n{}_sum{{{}}} {}\n{}_count{{{}}} {}\n",
                        name, all, series.count, name, all, series.value, name, all, series.count);
  }
}

std::string Metrics::Print() const {
  const std::lock_guard lock(mutex_);
  std::string out;
  for (const auto& [name, family] : families_) PrintFamily("planish_" + name, family, &out);
  const auto print = [&](const Alias& alias) {
    PrintFamily(alias.name, families_.find(alias.of)->second, &out);
  };
  if (aliases_ == "vllm") std::for_each(std::begin(kVllm), std::end(kVllm), print);
  if (aliases_ == "llamacpp") std::for_each(std::begin(kLlamaCpp), std::end(kLlamaCpp), print);
  return out;
}

}  // namespace planish
