// SPDX-License-Identifier: Apache-2.0
// The books of a generation: what it cost as usage, timings, metrics, log lines.
#include <algorithm>
#include <cmath>

#include "base/log_format.h"
#include "serve/generation.h"

namespace planish {
namespace {

const char* Name(Generation::Cancelled why) {
  static constexpr const char* kNames[] = {
      "no", "client", "stalled", "control", "queue_timeout", "request_timeout", "shutdown"};
  return kNames[static_cast<size_t>(why)];
}

double Milliseconds(double seconds) { return std::round(seconds * 1e6) / 1e3; }

}  // namespace

void Generation::CountEnd() {
  Metrics& metrics = state_->metrics;
  size_t generated = 0, reasoning = 0;
  for (const auto& choice : choices_) {
    generated += choice->generated;
    reasoning += choice->reasoning_tokens();
    if (choice->reasoning_tokens() > 0)
      metrics.Observe("thinking_tokens", static_cast<double>(choice->reasoning_tokens()));
    using StoppedBy = ThinkingBudget::StoppedBy;
    const auto by = choice->budget == nullptr ? StoppedBy::kNone : choice->budget->stopped_by();
    if (by != StoppedBy::kNone && by != StoppedBy::kNatural)
      metrics.Add("forced_close_total", 1, fmt::format("reason=\"{}\"", planish::Name(by)));
    if (choice->grammar != nullptr)
      metrics.Add("grammar_mask_total", static_cast<double>(choice->grammar->masks_built()));
    metrics.Add("tool_calls_total", static_cast<double>(choice->calls.size()));
    metrics.Add("tool_parse_failures_total", static_cast<double>(choice->parser.failures()));
  }
  size_t cached = 0;
  for (const auto& choice : choices_) {
    if (choice->index % plan_.fields.n == 0) cached += choice->result.resumed_tokens;
  }
  metrics.Add("prompt_tokens_total", static_cast<double>(prompt_tokens_));
  metrics.Add("prompt_tokens_cached_total", static_cast<double>(cached));
  metrics.Add("generation_tokens_total", static_cast<double>(generated));
  metrics.Add("reasoning_tokens_total", static_cast<double>(reasoning));
  if (has_first_token_) {
    const auto between = [](auto from, auto to) {
      return std::chrono::duration<double>(to - from).count();
    };
    metrics.Observe("request_prefill_time_seconds", between(received_, first_token_at_) - queue_s_);
    metrics.Observe("request_decode_time_seconds", between(first_token_at_, last_token_at_));
  }
  metrics.Observe("e2e_request_latency_seconds", SecondsSince(received_));
}

// The end of all ways: the books are closed.
void Generation::Conclude(int status, const std::string& outcome) {
  is_over_ = true;
  if (has_left_queue_)
    state_->queue.Ended();
  else
    state_->queue.Leave(prompt_tokens_, -1);
  state_->registry.Remove(id_);
  const Cancelled why = cancelled_.load();
  if (why != Cancelled::kNo)
    state_->metrics.Add("requests_cancelled_total", 1, fmt::format("reason=\"{}\"", Name(why)));
  state_->metrics.Add("requests_total", 1,
                      fmt::format("endpoint=\"{}\",code=\"{}\"", plan_.endpoint, status));
  size_t generated = 0, reasoning = 0, cached = 0;
  for (const auto& choice : choices_) {
    generated += choice->generated;
    reasoning += choice->reasoning_tokens();
    cached += choice->result.resumed_tokens;
  }
  const double ttft = std::chrono::duration<double>(first_token_at_ - received_).count();
  const double decode = std::chrono::duration<double>(last_token_at_ - first_token_at_).count();
  const double itl = generated > 1 ? decode / static_cast<double>(generated - 1) : 0.0;
  const double ttft_ms = has_first_token_ ? 1e3 * ttft : 0.0;
  if (GetLogLevel() >= LogLevel::kInfo) {
    Json members = Json::MakeObject();
    members.Set("request_id", request_id_);
    members.Set("endpoint", plan_.endpoint);
    members.Set("status", status);
    members.Set("prompt_tokens", static_cast<uint64_t>(prompt_tokens_));
    members.Set("cached_tokens", static_cast<uint64_t>(cached));
    members.Set("output_tokens", static_cast<uint64_t>(generated));
    members.Set("reasoning_tokens", static_cast<uint64_t>(reasoning));
    members.Set("ttft_ms", ttft_ms);
    members.Set("itl_ms", 1e3 * itl);
    members.Set("outcome", outcome);
    LogRecord(
        LogLevel::kInfo,
        fmt::format("{} {} {} prompt {} cached {} output {} reasoning {} ttft {:.0f} ms itl {:.1f} "
                    "ms {}",
                    request_id_, plan_.endpoint, status, prompt_tokens_, cached, generated,
                    reasoning, ttft_ms, 1e3 * itl, outcome),
        members);
  }
  if (state_->prompt_log) LogPrompt(status, outcome);
}

void Generation::LogPrompt(int status, const std::string& outcome) const {
  Json answers = Json::MakeArray();
  for (const auto& choice : choices_) {
    Json answer = Json::MakeObject(), calls = Json::MakeArray();
    answer.Set("reasoning", choice->reasoning);
    answer.Set("content", choice->content);
    for (const SpokenCall& spoken : choice->calls) {
      Json call = Json::MakeObject();
      call.Set("name", spoken.name);
      call.Set("arguments", spoken.arguments);
      calls.Append(std::move(call));
    }
    answer.Set("tool_calls", std::move(calls));
    answer.Set("finish_reason", choice->finish_reason);
    answers.Append(std::move(answer));
  }
  Json record = Json::MakeObject();
  record.Set("time", UtcTime());
  record.Set("request_id", request_id_);
  record.Set("endpoint", plan_.endpoint);
  record.Set("status", status);
  record.Set("outcome", outcome);
  record.Set("request", plan_.request);
  record.Set("answers", std::move(answers));
  state_->prompt_log->Write(record);
}

Json Generation::Usage() const {
  size_t completion = 0, reasoning = 0, cached = 0;
  for (const auto& choice : choices_) {
    completion += choice->generated;
    reasoning += choice->reasoning_tokens();
    if (choice->index % plan_.fields.n == 0) cached += choice->result.resumed_tokens;
  }
  Json usage = Json::MakeObject(), prompt = Json::MakeObject(), output = Json::MakeObject();
  usage.Set("prompt_tokens", static_cast<uint64_t>(prompt_tokens_));
  usage.Set("completion_tokens", static_cast<uint64_t>(completion));
  usage.Set("total_tokens", static_cast<uint64_t>(prompt_tokens_ + completion));
  prompt.Set("cached_tokens", static_cast<uint64_t>(cached));
  output.Set("reasoning_tokens", static_cast<uint64_t>(reasoning));
  usage.Set("prompt_tokens_details", std::move(prompt));
  usage.Set("completion_tokens_details", std::move(output));
  return usage;
}

Json Generation::Extension() const {
  const auto between = [](ServeClock::time_point from, ServeClock::time_point to) {
    return std::chrono::duration<double>(to - from).count();
  };
  size_t generated = 0;
  for (const auto& choice : choices_) generated += choice->generated;
  const double first_token_s = between(received_, first_token_at_);
  const double decode_s = between(first_token_at_, last_token_at_);
  const size_t after_first = generated - std::min(generated, choices_.size());
  Json timings = Json::MakeObject();
  timings.Set("queue_ms", Milliseconds(queue_s_));
  timings.Set("prompt_ms", Milliseconds(std::max(0.0, first_token_s - queue_s_)));
  timings.Set("first_token_ms", Milliseconds(first_token_s));
  timings.Set("decode_ms", Milliseconds(decode_s));
  timings.Set("tokens_per_s",
              decode_s > 0 ? Milliseconds(static_cast<double>(after_first) / decode_s / 1e3) : 0.0);
  const Choice& first = *choices_[0];
  Json thinking = Json::MakeObject();
  const bool thinks = first.budget != nullptr;
  const int64_t budget = thinks ? first.budget->effective_budget() : 0;
  thinking.Set("budget", thinks && budget >= 0 ? Json(budget) : Json());
  thinking.Set("used", static_cast<uint64_t>(first.reasoning_tokens()));
  using StoppedBy = ThinkingBudget::StoppedBy;
  StoppedBy by = thinks ? first.budget->stopped_by() : StoppedBy::kNone;
  if (thinks && by == StoppedBy::kNone && first.finish_reason == "length" &&
      first.budget->is_thinking())
    by = StoppedBy::kLength;
  thinking.Set("stopped_by", by == StoppedBy::kNone ? Json() : Json(planish::Name(by)));
  Json cache = Json::MakeObject();
  cache.Set("matched", static_cast<uint64_t>(first.result.matched_tokens));
  cache.Set("resumed_at", static_cast<uint64_t>(first.result.resumed_tokens));
  Json out = Json::MakeObject();
  out.Set("timings", std::move(timings));
  out.Set("thinking", std::move(thinking));
  out.Set("cache", std::move(cache));
  return out;
}

}  // namespace planish
