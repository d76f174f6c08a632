// SPDX-License-Identifier: Apache-2.0
#include "cli/server_partner.h"

#include <chrono>

#include "cli/tool_round.h"
#include "text/demo_tools.h"

namespace planish {
namespace {

constexpr double kControlSilence = 10;  // seconds

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace

ServerPartner::ServerPartner(const std::string& url, const std::string& key,
                             const std::string& model)
    : key_(key),
      model_(model),
      client_(url, key,
              {.is_cancelled =
                   [this] {
                     if (hooks_ == nullptr) return false;
                     if (is_thinking_ && hooks_->wants_answer_now()) EndThinking();
                     return hooks_->is_interrupted();
                   }}),
      control_(url, key, {.silence_s = kControlSilence}) {
  const Json models = client_.Get("/v1/models");
  const Json* data = models.Find("data");
  if (data == nullptr || !data->is_array() || data->AsArray().empty()) return;
  const Json* chosen = nullptr;
  for (const Json& entry : data->AsArray()) {
    const Json* id = entry.Find("id");
    if (id == nullptr || !id->is_string()) continue;
    if (chosen == nullptr && (model_.empty() || id->AsString() == model_)) chosen = &entry;
  }
  if (chosen == nullptr) return;  // the server says what it thinks of the name
  model_ = chosen->Find("id")->AsString();
  const Json* meta = chosen->Find("meta");
  const Json* thinking = meta == nullptr ? nullptr : meta->Find("thinking");
  const Json* supported = thinking == nullptr ? nullptr : thinking->Find("supported");
  if (supported != nullptr && supported->is_bool()) has_thinking_ = supported->AsBool();
}

std::string ServerPartner::Introduction() const {
  return fmt::format("{} at {}", model_.empty() ? "a model" : model_, client_.url());
}

Json ServerPartner::Request() const {
  Json request = Json::MakeObject();
  if (!model_.empty()) request.Set("model", model_);
  request.Set("messages", messages_.json());
  for (const auto& [name, value] : parameters_.AsObject()) request.Set(name, value);
  if (thinking_ != Thinking::kDefault || budget_ == 0) {
    Json arguments = Json::MakeObject();
    arguments.Set("enable_thinking", thinking_ == Thinking::kOn && budget_ != 0);
    request.Set("chat_template_kwargs", std::move(arguments));
  }
  if (budget_ > 0 && thinking_ != Thinking::kOff)
    request.Set("thinking_budget_tokens", budget_);  // llama-server knows this name too
  if (uses_tools_) request.Set("tools", DemoTools());
  return request;
}

void ServerPartner::EndThinking() {
  Json body = Json::MakeObject();
  body.Set("id", reply_id_);
  body.Set("action", "end_thinking");
  try {
    control_.Post("/v1/chat/completions/control", body);
  } catch (const ServerError& error) {
    hooks_->on_note(error.what());  // a server without it thinks on
  }
}

void ServerPartner::AddReply(const ChatReply& reply) {
  Json message = Json::MakeObject();
  message.Set("role", "assistant");
  message.Set("content", reply.content);
  if (!reply.reasoning.empty()) message.Set("reasoning_content", reply.reasoning);
  if (!reply.calls.empty()) {
    Json calls = Json::MakeArray();
    for (const ChatToolCall& call : reply.calls) {
      Json function = Json::MakeObject();
      function.Set("name", call.name);
      function.Set("arguments", call.arguments);
      Json entry = Json::MakeObject();
      entry.Set("id", call.id);
      entry.Set("type", "function");
      entry.Set("function", std::move(function));
      calls.Append(std::move(entry));
    }
    message.Set("tool_calls", std::move(calls));
  }
  messages_.Add(std::move(message));
}

AnswerFigures ServerPartner::Answer(const AnswerHooks& hooks) {
  hooks_ = &hooks;
  AnswerFigures figures;
  double decode_s = 0;
  size_t decoded = 0;
  for (int round = 0;; ++round) {
    const auto begin = Clock::now();
    double first_s = 0;
    size_t events = 0, thought = 0;
    is_thinking_ = false;
    const ChatReply reply = client_.Complete(Request(), [&](const ChatPiece& piece) {
      reply_id_ = piece.id;
      if (piece.has_text()) is_thinking_ = !piece.reasoning.empty();
      if (!piece.has_text()) return true;
      if (events++ == 0) first_s = SecondsSince(begin);
      if (!piece.reasoning.empty()) {
        thought = piece.thinking_used;
        hooks.on_thinking(thought, piece.thinking_budget);
      }
      hooks.on_piece({.reasoning = piece.reasoning, .answer = piece.content});
      return true;
    });
    const double total_s = SecondsSince(begin);
    const size_t reasoning = reply.reasoning_tokens.value_or(thought);
    const size_t completion = reply.completion_tokens.value_or(events);
    figures.prompt_tokens = reply.prompt_tokens.value_or(0);
    figures.cached_tokens = reply.cached_tokens.value_or(0);
    figures.reasoning_tokens += reasoning;
    figures.answer_tokens += completion - std::min(completion, reasoning);
    figures.prompt_s += reply.prompt_s > 0 ? reply.prompt_s : first_s;
    decode_s += reply.decode_s > 0 ? reply.decode_s : total_s - first_s;
    decoded += completion > 0 ? completion - 1 : 0;
    if (reasoning > 0) figures.stopped_by = reply.stopped_by.empty() ? "end" : reply.stopped_by;
    figures.finish = reply.was_cancelled ? "cancelled" : reply.finish;
    figures.was_interrupted = reply.was_cancelled;
    AddReply(reply);
    if (reply.was_cancelled || reply.finish != "tool_calls" || reply.calls.empty()) break;
    if (round + 1 == kToolRounds) {
      NoteTooManyRounds(hooks);
      break;
    }
    for (const ChatToolCall& call : reply.calls)
      messages_.Add(ToolResultMessage(call.id, call.name, call.arguments, hooks));
  }
  if (decoded > 0 && decode_s > 0) figures.tokens_per_s = static_cast<double>(decoded) / decode_s;
  return figures;
}

AnswerFigures ServerPartner::Say(const std::string& text, const AnswerHooks& hooks) {
  const size_t before = messages_.size();
  messages_.Add("user", text);
  try {
    const AnswerFigures figures = Answer(hooks);
    hooks_ = nullptr;
    return figures;
  } catch (...) {
    hooks_ = nullptr;
    messages_.Truncate(before);
    throw;
  }
}

AnswerFigures ServerPartner::Regenerate(const AnswerHooks& hooks) {
  if (!messages_.EndsWithAnswer()) throw UsageError("there is no answer to generate again");
  const MessageList before = messages_;
  const std::string text = messages_.Undo();
  try {
    return Say(text, hooks);
  } catch (...) {
    messages_ = before;
    throw;
  }
}

void ServerPartner::SetParameter(const std::string& name, const Json& value) {
  if (name != "n")
    parameters_.Set(name, value);
  else if (value == Json(0))
    parameters_.Remove("max_tokens");
  else
    parameters_.Set("max_tokens", value);
}

}  // namespace planish
