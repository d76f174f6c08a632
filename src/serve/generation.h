// SPDX-License-Identifier: Apache-2.0
// One request on its way through the engine: submits its choices, turns their tokens into reasoning, text and tool calls,
// hands these to a writer that knows the shape of the endpoint's answer, keeps time, counts. Made on a worker's thread;
// from Start on everything but Cancel and EndThinking happens on the engine's thread.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "infer/generate.h"
#include "infer/grammar_hook.h"
#include "net/http_server.h"
#include "serve/serve_state.h"
#include "serve/stop_filter.h"
#include "text/reply_parser.h"

namespace planish {

// Everything a request asks of the engine.
struct GenerationPlan {
  std::string endpoint;  // "/v1/chat/completions", for log and metrics
  GenerationFields fields;
  struct PromptPlan {
    Prompt prompt;
    std::vector<size_t> snapshot_at;
    std::string text;  // as given, for echo; empty if it was ids
  };
  std::vector<PromptPlan> prompts;  // choice i * n + k is the k-th of prompt i
  bool is_raw =
      false;  // plain completion: no reasoning, no calls; special tokens are left out of the text
  bool echo = false;
  bool wants_logprobs = false;
  size_t top_logprobs = 0;
  ThinkingFields thinking;
  bool reasoning_in_content = false;            // with its tags, instead of apart
  Json tools;                                   // null or a list: calls are looked for
  std::shared_ptr<const AnswerGrammar> answer;  // null: the answer is free
  std::vector<std::string> ignored;             // fields that nobody knows
  Json request;                                 // as it came, where prompts are logged
  // What is surely the beginning of the next turn's prompt after this answer, to be computed while there is nothing else to
  // do; may be null, may give an empty prompt.
  struct NextTurn {
    std::vector<int32_t> prompt;
    std::vector<size_t> snapshot_at;
  };
  std::function<NextTurn(const std::string& content)> next_turn;
};

struct SpokenCall {
  std::string id, name, arguments;
};

// One answer as far as it is.
struct Choice {
  Choice(size_t choice_index, size_t prompt_index, const Pretrained& opened,
         const GenerationPlan& plan);

  size_t index, prompt;
  StreamDecoder decoder;
  ReplyParser parser;
  StopFilter stops;
  std::shared_ptr<ThinkingBudget> budget;  // null: it does not think
  std::shared_ptr<GrammarHook> grammar;    // null: it is free
  std::string reasoning, content;
  std::vector<SpokenCall> calls;
  std::vector<TokenEvent> tokens;    // when log-probabilities or ids are wanted; ends included
  std::vector<size_t> token_starts;  // of each of these: bytes of the raw text before it
  size_t text_bytes = 0;             // of the raw text
  RequestResult result;
  std::string finish_reason;  // empty while it runs
  bool is_stopped = false;    // by a stop string
  size_t generated = 0;
  size_t reasoning_tokens() const { return budget == nullptr ? 0 : budget->used(); }
};

// What one token added to a choice.
struct Delta {
  std::vector<ReplyEvent> events;
  size_t tokens_from = 0;  // Choice::tokens from here on are new
};

// An event that carries nothing but a text: those of one kind that leave together leave as one (HttpExchange::WriteJoined).
struct TextEvent {
  uint64_t kind = 0;
  const std::string* head = nullptr;  // the writer's
  std::string text, tail;             // text: escaped
};

class ReplyWriter {
 public:
  virtual ~ReplyWriter() = default;
  // What Piece would give, if it can be had as one text; else false. Most tokens of a stream go this way.
  virtual bool Text(const Generation&, const Choice&, const Delta&, TextEvent*) { return false; }
  // Parts of a stream, as complete events; empty for nothing.
  virtual std::string Begin(const Generation& generation) = 0;
  virtual std::string Piece(const Generation& generation, const Choice& choice,
                            const Delta& delta) = 0;
  virtual std::string Progress(const Generation& generation, size_t done, size_t total,
                               size_t cached) = 0;
  virtual std::string ChoiceEnd(const Generation& generation, const Choice& choice) = 0;
  virtual std::string End(const Generation& generation) = 0;
  virtual std::string Failure(const Generation& generation, const ApiError& error) = 0;
  // The answer that is not streamed.
  virtual Json Whole(const Generation& generation) = 0;
};

class Generation : public std::enable_shared_from_this<Generation> {
 public:
  // Why it ended early; the first word stays.
  enum class Cancelled {
    kNo,
    kClient,
    kStalled,
    kControl,
    kQueueTimeout,
    kRequestTimeout,
    kShutdown
  };

  Generation(ServeState* state, std::shared_ptr<HttpExchange> exchange, std::string request_id,
             std::string id, GenerationPlan plan, std::unique_ptr<ReplyWriter> writer,
             ServeClock::time_point received);
  ~Generation();

  // Gives itself to the engine's thread.
  void Post();
  void Cancel(Cancelled why);  // from any thread
  bool EndThinking();          // from any thread; false if no choice can be told

  const std::string& id() const { return id_; }
  const GenerationPlan& plan() const { return plan_; }
  const std::vector<std::unique_ptr<Choice>>& choices() const { return choices_; }
  const Pretrained& opened() const { return state_->engine->opened(); }
  const ServeState& state() const { return *state_; }
  int64_t created() const { return created_; }
  Json Usage() const;
  Json Extension() const;  // "planish": timings, thinking, cache
  size_t prompt_tokens() const { return prompt_tokens_; }

 private:
  void Start(Engine& engine);
  Request MakeRequest(Choice* choice);
  void OnAdmitted();
  bool ShouldCancel();
  void OnToken(Choice* choice, const TokenEvent& event);
  std::vector<ReplyEvent> Filter(Choice* choice, std::vector<ReplyEvent> events);
  void KeepInContent(Choice* choice, ReasoningSplitter::Mode before,
                     std::vector<ReplyEvent>* events) const;
  void Accept(Choice* choice, const std::vector<ReplyEvent>& events);
  void OnDone(Engine& engine, Choice* choice, const RequestResult& result);
  void Finish(Engine& engine);
  void Fail(const ApiError& error);
  void StartStream();
  void Send(const std::string& piece);
  void SendDelta(const Choice& choice, const Delta& delta);
  // generation_books.cc
  void CountEnd();
  void Conclude(int status, const std::string& outcome);
  void LogPrompt(int status, const std::string& outcome) const;
  ApiError WhyCancelled() const;

  class AdmissionHook;
  class StopHook;

  ServeState* state_;
  std::shared_ptr<HttpExchange> exchange_;
  std::string request_id_, id_;
  GenerationPlan plan_;
  std::unique_ptr<ReplyWriter> writer_;
  ServeClock::time_point received_, first_token_at_, last_token_at_;
  int64_t created_;
  std::vector<std::unique_ptr<Choice>> choices_;
  size_t prompt_tokens_ = 0, left_ = 0;
  bool is_admitted_ = false, is_streaming_ = false, is_over_ = false, has_first_token_ = false;
  bool has_left_queue_ = false;
  double queue_s_ = 0;
  std::optional<ApiError> failure_;
  std::atomic<Cancelled> cancelled_ = Cancelled::kNo;
};

}  // namespace planish
