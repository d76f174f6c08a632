// SPDX-License-Identifier: Apache-2.0
#include "serve/generation.h"

#include <algorithm>
#include <ctime>

#include "base/log.h"
#include "serve/request_ids.h"

namespace planish {
namespace {

using Kind = ReplyEvent::Kind;

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
  CountEnd();
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

}  // namespace planish
