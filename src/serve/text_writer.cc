// SPDX-License-Identifier: Apache-2.0
#include "serve/text_writer.h"

#include <cmath>

#include "text/utf8.h"

namespace planish {
namespace {

std::string PromptText(const Generation& generation, const Choice& choice) {
  const auto& prompt = generation.plan().prompts[choice.prompt];
  if (!prompt.text.empty()) return prompt.text;
  return generation.opened().tokenizer->Decode(prompt.prompt.ids);
}

// Characters, as Python counts them: offsets are into the text that clients hold.
size_t Characters(std::string_view text) {
  size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

class LogprobLists {
 public:
  LogprobLists(const Tokenizer& tokenizer, bool with_top)
      : tokenizer_(tokenizer), with_top_(with_top) {}

  // The chosen token's value stands in `top` under its own text whatever else has that text: clients look it up there to see
  // whether it was the likeliest. Both are printed from the same double.
  void Add(int32_t id, double logprob, const TopLogprobs& top, bool is_first) {
    const int32_t ids[] = {id};
    const std::string text = tokenizer_.Decode(ids);
    tokens_.Append(text);
    const bool has_value = std::isfinite(logprob) && !is_first;
    values_.Append(has_value ? Json(logprob) : Json());
    offsets_.Append(static_cast<uint64_t>(offset_));
    offset_ += Characters(text);
    if (!has_value || !with_top_) {
      tops_.Append(Json());
      return;
    }
    Json entry = Json::MakeObject();
    for (const auto& [other, value] : top) {
      const int32_t others[] = {other};
      const std::string key = tokenizer_.Decode(others);
      const Json* known = entry.Find(key);
      if (known == nullptr || known->AsDouble() < value) entry.Set(key, value);
    }
    entry.Set(text, logprob);
    tops_.Append(std::move(entry));
  }
  Json Take() {
    Json out = Json::MakeObject();
    out.Set("tokens", std::move(tokens_));
    out.Set("token_logprobs", std::move(values_));
    out.Set("top_logprobs", std::move(tops_));
    out.Set("text_offset", std::move(offsets_));
    return out;
  }
  void StartAt(size_t offset) { offset_ = offset; }

 private:
  const Tokenizer& tokenizer_;
  bool with_top_;
  size_t offset_ = 0;
  Json tokens_ = Json::MakeArray(), values_ = Json::MakeArray(), tops_ = Json::MakeArray(),
       offsets_ = Json::MakeArray();
};

Json Entry(const Choice& choice, std::string text, Json logprobs, Json finish_reason) {
  Json entry = Json::MakeObject();
  entry.Set("index", static_cast<uint64_t>(choice.index));
  entry.Set("text", std::move(text));
  entry.Set("logprobs", std::move(logprobs));
  entry.Set("finish_reason", std::move(finish_reason));
  return entry;
}

}  // namespace

Json LegacyLogprobs(const Generation& generation, const Choice& choice, size_t from, bool echo) {
  const GenerationPlan& plan = generation.plan();
  LogprobLists lists(*generation.opened().tokenizer, plan.top_logprobs > 0);
  const auto& ids = plan.prompts[choice.prompt].prompt.ids;
  const RequestResult& result = choice.result;
  if (echo) {
    static const TopLogprobs kNone;
    for (size_t t = 0; t < ids.size(); ++t) {
      const bool is_known = t > 0 && t - 1 < result.prompt_logprobs.size();
      lists.Add(ids[t], is_known ? result.prompt_logprobs[t - 1] : 0,
                is_known && t - 1 < result.prompt_tops.size() ? result.prompt_tops[t - 1] : kNone,
                /*is_first=*/!is_known);
    }
  } else {
    lists.StartAt(from < choice.token_starts.size() ? choice.token_starts[from] : 0);
  }
  // An end token counts too: clients cut the last entry off.
  for (size_t i = from; i < choice.tokens.size(); ++i) {
    const TokenEvent& event = choice.tokens[i];
    lists.Add(event.id, event.logprob, event.top, /*is_first=*/false);
  }
  return lists.Take();
}

std::string TextWriter::Begin(const Generation&) { return {}; }

bool TextWriter::Text(const Generation& generation, const Choice& choice, const Delta& delta,
                      TextEvent* event) {
  const GenerationPlan& plan = generation.plan();
  const bool has_echo = plan.echo && choice.generated == 1;
  if (delta.events.empty() || has_echo || plan.wants_logprobs || plan.fields.return_token_ids)
    return false;
  const Envelope& envelope = EnvelopeOf(choice.index + 1, "text", [&] {
    Json chunk = EmptyChunk(generation);
    chunk.Set("choices", Json::Array{Entry(choice, "", {}, {})});
    return SseEvent(chunk);
  });
  for (const ReplyEvent& piece : delta.events) event->text += EscapedText(piece.text);
  if (event->text.empty()) return false;
  event->kind = envelope.kind;
  event->head = &envelope.head;
  event->tail = envelope.tail;
  return true;
}

std::string TextWriter::Piece(const Generation& generation, const Choice& choice,
                              const Delta& delta) {
  const GenerationPlan& plan = generation.plan();
  std::string text;
  if (plan.echo && choice.generated == 1 && delta.tokens_from == 0)
    text = PromptText(generation, choice);
  for (const ReplyEvent& event : delta.events) text += event.text;
  const bool has_tokens = delta.tokens_from < choice.tokens.size();
  if (text.empty() && !has_tokens) return {};
  Json entry = Entry(choice, std::move(text),
                     plan.wants_logprobs && has_tokens
                         ? LegacyLogprobs(generation, choice, delta.tokens_from, false)
                         : Json(),
                     {});
  if (plan.fields.return_token_ids) entry.Set("token_ids", TokenIds(choice, delta.tokens_from));
  Json chunk = EmptyChunk(generation);
  chunk.Set("choices", Json::Array{std::move(entry)});
  return SseEvent(chunk);
}

std::string TextWriter::ChoiceEnd(const Generation& generation, const Choice& choice) {
  Json chunk = EmptyChunk(generation);
  chunk.Set("choices", Json::Array{Entry(choice, "", {}, choice.finish_reason)});
  return SseEvent(chunk);
}

Json TextWriter::Whole(const Generation& generation) {
  const GenerationPlan& plan = generation.plan();
  Json out = EmptyWhole(generation), choices = Json::MakeArray();
  for (const auto& choice : generation.choices()) {
    std::string text = plan.echo ? PromptText(generation, *choice) : "";
    text += choice->content;
    Json entry =
        Entry(*choice, std::move(text),
              plan.wants_logprobs ? LegacyLogprobs(generation, *choice, 0, plan.echo) : Json(),
              choice->finish_reason);
    if (plan.fields.return_token_ids) entry.Set("token_ids", TokenIds(*choice, 0));
    choices.Append(std::move(entry));
  }
  out.Set("choices", std::move(choices));
  out.Set("usage", generation.Usage());
  out.Set("planish", generation.Extension());
  return out;
}

}  // namespace planish
