// SPDX-License-Identifier: Apache-2.0
#include "serve/generation.h"

#include <algorithm>
#include <cmath>
#include <ctime>

#include "base/log_format.h"
#include "serve/request_ids.h"

namespace planish {
namespace {

using Kind = ReplyEvent::Kind;

const char* Name(Generation::Cancelled why) {
  static constexpr const char* kNames[] = {
      "no", "client", "stalled", "control", "queue_timeout", "request_timeout", "shutdown"};
  return kNames[static_cast<size_t>(why)];
}

double Milliseconds(double seconds) { return std::round(seconds * 1e6) / 1e3; }

}  // namespace

// Tells when the engine takes the request up.
class Generation::AdmissionHook : public TokenHook {
 public:
  explicit AdmissionHook(Generation* owner) : owner_(owner) {}
  Action Begin() override {
    owner_->OnAdmitted();
    return {};
  }
  Action OnToken(int32_t) override { return {}; }

 private:
  Generation* owner_;  // outlives the request: the request's callbacks hold it
};

// Ends the sequence when its text has come to a stop string.
class Generation::StopHook : public TokenHook {
 public:
  explicit StopHook(const Choice* choice) : choice_(choice) {}
  Action OnToken(int32_t) override {
    Action action;
    action.stop = choice_->is_stopped;
    return action;
  }

 private:
  const Choice* choice_;
};

Choice::Choice(size_t choice_index, size_t prompt_index, const Pretrained& opened,
               const GenerationPlan& plan)
    : index(choice_index),
      prompt(prompt_index),
      decoder(opened.tokenizer, /*skip_special=*/plan.is_raw),
      parser(plan.prompts[prompt_index].prompt.mode, plan.tools),
      stops(plan.fields.stop) {}

Generation::Generation(ServeState* state, std::shared_ptr<HttpExchange> exchange,
                       std::string request_id, std::string id, GenerationPlan plan,
                       std::unique_ptr<ReplyWriter> writer, ServeClock::time_point received)
    : state_(state),
      exchange_(std::move(exchange)),
      request_id_(std::move(request_id)),
      id_(std::move(id)),
      plan_(std::move(plan)),
      writer_(std::move(writer)),
      received_(received),
      first_token_at_(received),
      last_token_at_(received),
      created_(std::time(nullptr)) {
  for (size_t p = 0; p < plan_.prompts.size(); ++p) {
    prompt_tokens_ += plan_.prompts[p].prompt.ids.size();
    for (size_t k = 0; k < plan_.fields.n; ++k)
      choices_.push_back(std::make_unique<Choice>(choices_.size(), p, opened(), plan_));
  }
  left_ = choices_.size();
}

Generation::~Generation() {
  if (!is_over_) Conclude(500, "dropped");
}

void Generation::Post() {
  state_->registry.Add(id_, shared_from_this());
  exchange_->OnGone([weak = weak_from_this()](HttpExchange::Gone gone) {
    if (const auto self = weak.lock())
      self->Cancel(gone == HttpExchange::Gone::kStalled    ? Cancelled::kStalled
                   : gone == HttpExchange::Gone::kShutdown ? Cancelled::kShutdown
                                                           : Cancelled::kClient);
  });
  state_->engine->Post([self = shared_from_this()](Engine& engine) { self->Start(engine); });
}

void Generation::Cancel(Cancelled why) {
  Cancelled none = Cancelled::kNo;
  cancelled_.compare_exchange_strong(none, why);
}

bool Generation::EndThinking() {
  bool told = false;
  for (const auto& choice : choices_) {
    if (choice->budget == nullptr) continue;
    choice->budget->EndThinking();
    told = true;
  }
  return told;
}

Request Generation::MakeRequest(Choice* choice) {
  const auto& prompt = plan_.prompts[choice->prompt];
  const auto self = shared_from_this();
  Request request;
  request.prompt = prompt.prompt.ids;
  const size_t context = state_->engine->context();
  const size_t room = context - std::min(context, prompt.prompt.ids.size());
  request.max_new_tokens = std::min(plan_.fields.max_tokens.value_or(room), room);
  request.sampling = plan_.fields.sampling;
  request.sampling.choice = choice->index % plan_.fields.n;
  request.end_ids = opened().eos_ids;
  request.ignore_end = plan_.fields.ignore_eos;
  if (plan_.wants_logprobs) request.top_logprobs = plan_.top_logprobs;
  request.prompt_logprobs = plan_.echo && plan_.wants_logprobs;
  request.prompt_top_logprobs = request.prompt_logprobs ? plan_.top_logprobs : 0;
  request.priority = plan_.fields.priority;
  request.cache_prompt = plan_.fields.cache_prompt;
  request.cache_salt = plan_.fields.cache_salt;
  request.snapshot_at = prompt.snapshot_at;
  using Mode = ReasoningSplitter::Mode;
  const Mode mode = prompt.prompt.mode;
  request.keeps_end = mode == Mode::kOff;
  request.hooks.push_back(std::make_shared<AdmissionHook>(this));
  request.hooks.push_back(std::make_shared<StopHook>(choice));
  if (!plan_.is_raw && (mode == Mode::kThink || mode == Mode::kOpenWait)) {
    BudgetParams params;
    params.budget = plan_.thinking.budget;
    params.grace = plan_.thinking.grace;
    params.answer_reserve = plan_.thinking.answer_reserve;
    params.min_tokens = plan_.thinking.min_tokens;
    params.close_message = plan_.thinking.close_message;
    params.max_new_tokens = request.max_new_tokens;
    params.tool_calls = plan_.answer != nullptr && plan_.answer->reads_tools;
    if (!plan_.fields.ignore_eos) params.end_ids = opened().eos_ids;
    choice->budget = std::make_shared<ThinkingBudget>(opened().tokenizer, mode, params);
    request.hooks.push_back(choice->budget);
  }
  if (plan_.answer != nullptr) {
    choice->grammar = std::make_shared<GrammarHook>(
        plan_.answer, state_->Vocabulary(), mode,
        plan_.fields.ignore_eos ? std::vector<int32_t>() : opened().eos_ids);
    request.hooks.push_back(choice->grammar);
  }
  request.on_token = [self, choice](const TokenEvent& event) { self->OnToken(choice, event); };
  request.is_cancelled = [self] { return self->ShouldCancel(); };
  if (plan_.fields.stream)
    request.is_paused = [self] { return self->is_streaming_ && self->exchange_->is_congested(); };
  if (plan_.fields.include_progress && plan_.fields.stream && choice->index == 0) {
    request.on_progress = [self](size_t done, size_t total, size_t cached) {
      self->Send(self->writer_->Progress(*self, done, total, cached));
    };
  }
  return request;
}

void Generation::Start(Engine& engine) {
  try {
    const size_t n = plan_.fields.n;
    for (size_t p = 0; p < plan_.prompts.size(); ++p) {
      std::vector<Request> requests;
      std::vector<Engine::DoneCallback> done;
      for (size_t k = 0; k < n; ++k) {
        Choice* choice = choices_[p * n + k].get();
        requests.push_back(MakeRequest(choice));
        done.push_back([self = shared_from_this(), choice, &engine](const RequestResult& result) {
          self->OnDone(engine, choice, result);
        });
      }
      if (n == 1)
        engine.Submit(std::move(requests[0]), std::move(done[0]));
      else
        engine.SubmitGroup(std::move(requests), std::move(done));
    }
  } catch (const Error& error) {
    // Prompts that were accepted before end as cancelled, for nobody.
    Cancel(Cancelled::kControl);
    Fail(error.code() == ExitCode::kNoMemory
             ? ApiError(400, "context_length_exceeded", error.what())
             : ApiError(400, "invalid_value", error.what()));
  }
}

void Generation::OnAdmitted() {
  if (is_admitted_) return;
  is_admitted_ = true;
  queue_s_ = SecondsSince(received_);
  has_left_queue_ = true;
  state_->queue.Leave(prompt_tokens_, queue_s_);
  state_->metrics.Observe("request_queue_time_seconds", queue_s_);
  if (plan_.fields.stream) StartStream();
}

bool Generation::ShouldCancel() {
  const ServeSettings& settings = state_->settings;
  if (!is_admitted_ && settings.queue_timeout_s > 0 &&
      SecondsSince(received_) > settings.queue_timeout_s)
    Cancel(Cancelled::kQueueTimeout);
  if (settings.request_timeout_s > 0 && SecondsSince(received_) > settings.request_timeout_s)
    Cancel(Cancelled::kRequestTimeout);
  return cancelled_.load(std::memory_order_relaxed) != Cancelled::kNo;
}

void Generation::StartStream() {
  is_streaming_ = true;
  HttpResponse head{.headers = {{"content-type", "text/event-stream; charset=utf-8"},
                                {"cache-control", "no-cache"},
                                {"x-accel-buffering", "no"},
                                {"x-request-id", request_id_}}};
  if (!plan_.ignored.empty())
    head.headers.push_back(
        {"x-planish-ignored", fmt::format("{}", fmt::join(plan_.ignored, ", "))});
  head.body = writer_->Begin(*this);
  exchange_->StartStream(std::move(head), ": ping\n\n", state_->settings.ping_s);
}

void Generation::Send(const std::string& piece) {
  if (piece.empty() || !is_streaming_ || is_over_) return;
  if (!exchange_->Write(piece)) Cancel(Cancelled::kStalled);
}

std::vector<ReplyEvent> Generation::Filter(Choice* choice, std::vector<ReplyEvent> events) {
  if (plan_.fields.stop.empty()) return events;
  std::vector<ReplyEvent> kept;
  for (ReplyEvent& event : events) {
    if (choice->is_stopped) break;
    const bool is_matched = event.kind == Kind::kContent ||
                            (event.kind == Kind::kReasoning && plan_.fields.stop_in_reasoning);
    if (!is_matched) {
      // Nothing goes on across another kind of text.
      if (choice->stops.holds()) kept.push_back({Kind::kContent, 0, choice->stops.Finish()});
      kept.push_back(std::move(event));
      continue;
    }
    event.text = choice->stops.Push(event.text);
    choice->is_stopped = choice->stops.has_matched();
    if (!event.text.empty()) kept.push_back(std::move(event));
  }
  return kept;
}

// Puts the reasoning back where the model wrote it. `before`: where the parser stood before these events.
void Generation::KeepInContent(Choice* choice, ReasoningSplitter::Mode before,
                               std::vector<ReplyEvent>* events) const {
  using Mode = ReasoningSplitter::Mode;
  if (!plan_.reasoning_in_content) return;
  const auto is_reasoning = [](const ReplyEvent& event) { return event.kind == Kind::kReasoning; };
  const Mode after = choice->parser.mode();
  const bool was_open = before == Mode::kThink;
  const bool opened =
      before == Mode::kOpenWait &&
      (after == Mode::kThink || std::any_of(events->begin(), events->end(), is_reasoning));
  if (after == Mode::kAnswer && (was_open || opened)) {
    const auto last = std::find_if(events->rbegin(), events->rend(), is_reasoning);
    events->insert(last.base(), {Kind::kContent, 0, std::string(kCloseTag) + "\n\n"});
  }
  for (ReplyEvent& event : *events) {
    if (is_reasoning(event)) event.kind = Kind::kContent;
  }
  if (opened) events->insert(events->begin(), {Kind::kContent, 0, std::string(kOpenTag)});
}

void Generation::Accept(Choice* choice, const std::vector<ReplyEvent>& events) {
  for (const ReplyEvent& event : events) {
    switch (event.kind) {
      case Kind::kReasoning:
        choice->reasoning += event.text;
        break;
      case Kind::kContent:
        choice->content += event.text;
        break;
      case Kind::kCall:
        choice->calls.push_back({"call_" + RandomBase32(24), event.text, ""});
        break;
      case Kind::kArguments:
        if (!choice->calls.empty()) choice->calls.back().arguments += event.text;
        break;
      case Kind::kCallEnd:
        break;
    }
  }
}

void Generation::OnToken(Choice* choice, const TokenEvent& event) {
  const auto now = ServeClock::now();
  if (!has_first_token_) {
    has_first_token_ = true;
    first_token_at_ = now;
    state_->metrics.Observe("time_to_first_token_seconds", SecondsSince(received_));
  } else if (choices_.size() == 1) {
    state_->metrics.Observe("inter_token_latency_seconds",
                            std::chrono::duration<double>(now - last_token_at_).count());
  }
  last_token_at_ = now;
  ++choice->generated;
  Delta delta{.tokens_from = choice->tokens.size()};
  if (plan_.wants_logprobs || plan_.fields.return_token_ids) {
    choice->tokens.push_back(event);
    choice->token_starts.push_back(choice->text_bytes);
  }
  if (!event.is_end || plan_.fields.ignore_eos) {
    const std::string text = choice->decoder.Push(event.id);
    choice->text_bytes += text.size();
    std::vector<ReplyEvent> events;
    const auto before = choice->parser.mode();
    if (!plan_.is_raw)
      events = choice->parser.Push(text);
    else if (!text.empty())
      events.push_back({Kind::kContent, 0, text});
    delta.events = Filter(choice, std::move(events));
    KeepInContent(choice, before, &delta.events);
    Accept(choice, delta.events);
  }
  if (plan_.fields.stream) SendDelta(*choice, delta);
}

void Generation::SendDelta(const Choice& choice, const Delta& delta) {
  TextEvent event;
  if (!writer_->Text(*this, choice, delta, &event)) {
    Send(writer_->Piece(*this, choice, delta));
  } else if (is_streaming_ && !is_over_ &&
             !exchange_->WriteJoined({event.kind, *event.head, event.text, event.tail})) {
    Cancel(Cancelled::kStalled);
  }
}

ApiError Generation::WhyCancelled() const {
  switch (cancelled_.load()) {
    case Cancelled::kQueueTimeout: {
      ApiError error(
          408, "queue_timeout",
          fmt::format("no place became free in {:g} s", state_->settings.queue_timeout_s));
      return error;
    }
    case Cancelled::kRequestTimeout:
      return {
          408, "request_timeout",
          fmt::format("the answer took longer than {:g} s", state_->settings.request_timeout_s)};
    case Cancelled::kShutdown:
      return {503, "draining", "the server is shutting down"};
    default:
      return {500, "cancelled", "the request was cancelled"};
  }
}

void Generation::OnDone(Engine& engine, Choice* choice, const RequestResult& result) {
  if (is_over_) return;
  choice->result = result;
  --left_;
  if (result.finish == FinishReason::kError) {
    LogWarning("request {}: {}", request_id_, result.error);
    if (!failure_)
      failure_.emplace(500, "", fmt::format("the model failed on this request ({})", request_id_));
    Cancel(Cancelled::kControl);  // the other choices
  } else if (result.finish == FinishReason::kCancelled &&
             cancelled_.load() != Cancelled::kControl && !failure_) {
    failure_ = WhyCancelled();
  }
  Delta delta{.tokens_from = choice->tokens.size()};
  std::vector<ReplyEvent> events;
  const std::string rest = choice->decoder.Finish();
  const auto before = choice->parser.mode();
  if (plan_.is_raw) {
    if (!rest.empty()) events.push_back({Kind::kContent, 0, rest});
  } else {
    events = choice->parser.Push(rest);
    for (ReplyEvent& event : choice->parser.Finish()) events.push_back(std::move(event));
  }
  events = Filter(choice, std::move(events));
  if (!choice->is_stopped && choice->stops.holds())
    events.push_back({Kind::kContent, 0, choice->stops.Finish()});
  KeepInContent(choice, before, &events);
  delta.events = std::move(events);
  Accept(choice, delta.events);
  choice->finish_reason = result.finish == FinishReason::kLength ? "length" : "stop";
  if (!choice->calls.empty() &&
      !(plan_.answer != nullptr && plan_.answer->tool_choice == ToolChoice::kNamed) &&
      choice->finish_reason == "stop")
    choice->finish_reason = "tool_calls";
  if (!failure_ && plan_.fields.stream) {
    if (!delta.events.empty()) Send(writer_->Piece(*this, *choice, delta));
    Send(writer_->ChoiceEnd(*this, *choice));
  }
  if (left_ == 0) Finish(engine);
}

void Generation::Finish(Engine& engine) {
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
  if (failure_) {
    Fail(*failure_);
    return;
  }
  // The books are closed first: who has the answer may ask for the metrics, or control what is over.
  if (is_streaming_) {
    const std::string end = writer_->End(*this);
    Conclude(200, choices_[0]->finish_reason);
    exchange_->Write(end);
    exchange_->Finish();
  } else {
    HttpResponse response = JsonResponse(writer_->Whole(*this));
    Conclude(200, choices_[0]->finish_reason);
    response.headers.push_back({"x-request-id", request_id_});
    if (!plan_.ignored.empty())
      response.headers.push_back(
          {"x-planish-ignored", fmt::format("{}", fmt::join(plan_.ignored, ", "))});
    exchange_->Respond(std::move(response));
  }
  if (plan_.next_turn && state_->settings.warm_next_turn && choices_.size() == 1 &&
      choices_[0]->calls.empty() && plan_.fields.cache_prompt) {
    GenerationPlan::NextTurn next = plan_.next_turn(choices_[0]->content);
    Request warm;
    warm.prompt = std::move(next.prompt);
    warm.snapshot_at = std::move(next.snapshot_at);
    warm.is_background = true;
    warm.cache_salt = plan_.fields.cache_salt;
    if (!warm.prompt.empty() && warm.prompt.size() < engine.context())
      engine.Submit(std::move(warm), nullptr);
  }
}

void Generation::Fail(const ApiError& error) {
  if (is_over_) return;
  Conclude(error.status(), error.code().empty() ? "error" : error.code());
  if (is_streaming_) {
    exchange_->Write(writer_->Failure(*this, error));
    exchange_->Finish();  // browsers throw away what is queued, the error too, when a body is cut
  } else {
    HttpResponse response = ErrorResponse(error);
    response.headers.push_back({"x-request-id", request_id_});
    exchange_->Respond(std::move(response));
  }
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
