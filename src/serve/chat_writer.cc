// SPDX-License-Identifier: Apache-2.0
#include "serve/chat_writer.h"

#include <cmath>

namespace planish {
namespace {

using Kind = ReplyEvent::Kind;

Json TokenJson(const Tokenizer& tokenizer, int32_t id, double logprob) {
  Json token = Json::MakeObject(), bytes = Json::MakeArray();
  const int32_t ids[] = {id};
  token.Set("token", tokenizer.Decode(ids));
  token.Set("logprob", std::isfinite(logprob) ? Json(logprob) : Json());
  for (const char c : tokenizer.TokenBytes(id)) bytes.Append(int{static_cast<unsigned char>(c)});
  token.Set("bytes", std::move(bytes));
  return token;
}

void SetReasoning(const Generation& generation, const std::string& text, Json* to) {
  to->Set("reasoning_content", text);
  if (generation.state().settings.reasoning_both) to->Set("reasoning", text);
}

Json ThinkingSoFar(const ThinkingBudget& budget) {
  Json thinking = Json::MakeObject(), extension = Json::MakeObject();
  thinking.Set("used", static_cast<uint64_t>(budget.used()));
  const int64_t effective = budget.effective_budget();
  thinking.Set("budget", effective >= 0 ? Json(effective) : Json());
  extension.Set("thinking", std::move(thinking));
  return extension;
}

Json Member(std::string_view key, const std::string& text) {
  Json object = Json::MakeObject();
  object.Set(key, text);
  return object;
}

Json ChoiceEntry(const Choice& choice, Json delta, Json finish_reason, Json logprobs, Json ids) {
  Json entry = Json::MakeObject();
  entry.Set("index", static_cast<uint64_t>(choice.index));
  entry.Set("delta", std::move(delta));
  entry.Set("logprobs", std::move(logprobs));
  entry.Set("finish_reason", std::move(finish_reason));
  if (!ids.is_null()) entry.Set("token_ids", std::move(ids));
  return entry;
}

}  // namespace

Json ChatLogprobs(const Generation& generation, const Choice& choice, size_t from) {
  const Tokenizer& tokenizer = *generation.opened().tokenizer;
  Json content = Json::MakeArray();
  for (size_t i = from; i < choice.tokens.size(); ++i) {
    const TokenEvent& event = choice.tokens[i];
    if (event.is_end && !generation.plan().fields.ignore_eos) continue;
    Json token = TokenJson(tokenizer, event.id, event.logprob);
    Json top = Json::MakeArray();
    for (const auto& [id, logprob] : event.top) top.Append(TokenJson(tokenizer, id, logprob));
    token.Set("top_logprobs", std::move(top));
    if (event.forced) token.Set("forced", true);
    content.Append(std::move(token));
  }
  Json out = Json::MakeObject();
  out.Set("content", std::move(content));
  out.Set("refusal", nullptr);
  return out;
}

std::string ChatWriter::ChoiceChunk(const Generation& generation, const Choice& choice, Json delta,
                                    Json finish_reason, Json logprobs, Json ids) const {
  const bool is_reasoning = delta.Find("reasoning_content") != nullptr;
  const bool is_last = !finish_reason.is_null();
  Json entry = ChoiceEntry(choice, std::move(delta), std::move(finish_reason), std::move(logprobs),
                           std::move(ids));
  Json chunk = EmptyChunk(generation);
  chunk.Set("choices", Json::Array{std::move(entry)});
  if (is_reasoning && choice.budget != nullptr) {
    chunk.Set("planish", ThinkingSoFar(*choice.budget));
  } else if (is_last && !generation.plan().fields.include_usage) {
    chunk.Set("planish", generation.Extension());
  }
  return SseEvent(chunk);
}

std::string ChatWriter::Begin(const Generation& generation) {
  std::string out;
  for (const auto& choice : generation.choices()) {
    Json delta = Json::MakeObject();
    delta.Set("role", "assistant");
    delta.Set("content", "");
    out += ChoiceChunk(generation, *choice, std::move(delta), {}, {}, {});
  }
  return out;
}

bool ChatWriter::Text(const Generation& generation, const Choice& choice, const Delta& delta,
                      TextEvent* event) {
  const GenerationPlan& plan = generation.plan();
  if (delta.events.size() != 1 || plan.wants_logprobs || plan.fields.return_token_ids) return false;
  const ReplyEvent& only = delta.events[0];
  const bool is_reasoning = only.kind == Kind::kReasoning;
  if (!is_reasoning && only.kind != Kind::kContent) return false;
  if (is_reasoning && generation.state().settings.reasoning_both) return false;
  const char* key = is_reasoning ? "reasoning_content" : "content";
  const Envelope& envelope = EnvelopeOf(2 * choice.index + 1 + is_reasoning, key, [&] {
    Json entry = ChoiceEntry(choice, Member(key, ""), {}, {}, {});
    Json chunk = EmptyChunk(generation);
    chunk.Set("choices", Json::Array{std::move(entry)});
    return SseEvent(chunk);
  });
  event->kind = envelope.kind;
  event->head = &envelope.head;
  event->text = EscapedText(only.text);
  event->tail = envelope.tail;
  if (is_reasoning && choice.budget != nullptr) {  // the chunk's last member
    constexpr std::string_view kEnd = "}\n\n";
    event->tail.resize(event->tail.size() - kEnd.size());
    event->tail += ",\"planish\":" + DumpJson(ThinkingSoFar(*choice.budget));
    event->tail += kEnd;
  }
  return true;
}

std::string ChatWriter::Piece(const Generation& generation, const Choice& choice,
                              const Delta& delta) {
  const GenerationPlan& plan = generation.plan();
  std::vector<Json> deltas;
  for (const ReplyEvent& event : delta.events) {
    if (event.kind == Kind::kReasoning) {
      Json piece = Json::MakeObject();
      SetReasoning(generation, event.text, &piece);
      deltas.push_back(std::move(piece));
    } else if (event.kind == Kind::kContent) {
      deltas.push_back(Member("content", event.text));
    } else if (event.kind == Kind::kCall || event.kind == Kind::kArguments) {
      Json call = Json::MakeObject(), function = Json::MakeObject();
      call.Set("index", static_cast<uint64_t>(event.index));
      if (event.kind == Kind::kCall) {  // the id and the name once only
        call.Set("id", event.index < choice.calls.size() ? choice.calls[event.index].id : "");
        call.Set("type", "function");
        function.Set("name", event.text);
        function.Set("arguments", "");
      } else {
        function.Set("arguments", event.text);
      }
      call.Set("function", std::move(function));
      Json piece = Json::MakeObject();
      piece.Set("tool_calls", Json::Array{std::move(call)});
      deltas.push_back(std::move(piece));
    }
  }
  const bool has_tokens = delta.tokens_from < choice.tokens.size() &&
                          (plan.fields.return_token_ids || !choice.tokens.back().is_end);
  if (deltas.empty() && has_tokens) deltas.push_back(Json::MakeObject());
  std::string out;
  for (size_t i = 0; i < deltas.size(); ++i) {
    const bool is_first = i == 0;  // which carries the token
    out += ChoiceChunk(
        generation, choice, std::move(deltas[i]), {},
        is_first && plan.wants_logprobs ? ChatLogprobs(generation, choice, delta.tokens_from)
                                        : Json(),
        is_first && plan.fields.return_token_ids ? TokenIds(choice, delta.tokens_from) : Json());
  }
  return out;
}

std::string ChatWriter::ChoiceEnd(const Generation& generation, const Choice& choice) {
  return ChoiceChunk(generation, choice, Json::MakeObject(), choice.finish_reason, {}, {});
}

Json ChatWriter::Whole(const Generation& generation) {
  const GenerationPlan& plan = generation.plan();
  Json choices = Json::MakeArray();
  for (const auto& choice : generation.choices()) {
    Json message = Json::MakeObject();
    message.Set("role", "assistant");
    const bool has_calls = !choice->calls.empty();
    message.Set("content", has_calls && choice->content.empty() ? Json() : Json(choice->content));
    if (!choice->reasoning.empty()) SetReasoning(generation, choice->reasoning, &message);
    if (has_calls) {
      Json calls = Json::MakeArray();
      for (const SpokenCall& spoken : choice->calls) {
        Json call = Json::MakeObject(), function = Json::MakeObject();
        function.Set("name", spoken.name);
        function.Set("arguments", spoken.arguments);
        call.Set("id", spoken.id);
        call.Set("type", "function");
        call.Set("function", std::move(function));
        calls.Append(std::move(call));
      }
      message.Set("tool_calls", std::move(calls));
    }
    message.Set("refusal", nullptr);
    Json entry = Json::MakeObject();
    entry.Set("index", static_cast<uint64_t>(choice->index));
    entry.Set("message", std::move(message));
    entry.Set("logprobs", plan.wants_logprobs ? ChatLogprobs(generation, *choice, 0) : Json());
    entry.Set("finish_reason", choice->finish_reason);
    if (plan.fields.return_token_ids) entry.Set("token_ids", TokenIds(*choice, 0));
    choices.Append(std::move(entry));
  }
  Json out = EmptyWhole(generation);
  out.Set("choices", std::move(choices));
  if (plan.fields.return_token_ids) {
    Json ids = Json::MakeArray();
    for (const int32_t id : plan.prompts[0].prompt.ids) ids.Append(int64_t{id});
    out.Set("prompt_token_ids", std::move(ids));
  }
  out.Set("usage", generation.Usage());
  out.Set("planish", generation.Extension());
  return out;
}

}  // namespace planish
