// SPDX-License-Identifier: Apache-2.0
#include "cli/local_partner.h"

#include "base/error.h"

namespace planish {

std::string LocalPartner::Introduction() const {
  return fmt::format("{}, {:.0f} MiB", opened_->name,
                     static_cast<double>(opened_->file_bytes) / (1 << 20));
}

// `text` is null to answer the last message again.
AnswerFigures LocalPartner::Answer(const std::string* text, const AnswerHooks& hooks) {
  ThinkingBudget* budget = nullptr;
  const auto stream = [&](const ReasoningSplitter::Piece& piece) {
    if (budget != nullptr && !piece.reasoning.empty())
      hooks.on_thinking(budget->used(), budget->effective_budget());
    hooks.on_piece(piece);
  };
  const auto poll = [&] {
    if (budget != nullptr && hooks.wants_answer_now()) budget->EndThinking();
    return hooks.is_interrupted();
  };
  const auto start = [&](ThinkingBudget* hook) { budget = hook; };
  const Generated generated = text == nullptr ? session_->Regenerate(stream, poll, start)
                                              : session_->Say(*text, stream, poll, start);
  const RequestResult& result = generated.result;
  AnswerFigures figures;
  figures.prompt_tokens = session_->last_prompt_tokens();
  figures.cached_tokens = result.resumed_tokens;
  figures.reasoning_tokens = generated.reasoning_tokens;
  figures.answer_tokens =
      result.ids.size() - std::min(result.ids.size(), generated.reasoning_tokens);
  figures.prompt_s = result.prompt_s;
  // The first token comes with the prompt.
  if (result.ids.size() > 1 && result.decode_s > 0)
    figures.tokens_per_s = static_cast<double>(result.ids.size() - 1) / result.decode_s;
  if (generated.reasoning_tokens > 0) figures.stopped_by = Name(generated.stopped_by);
  figures.finish = Name(result.finish);
  figures.was_interrupted = result.finish == FinishReason::kCancelled;
  return figures;
}

AnswerFigures LocalPartner::Say(const std::string& text, const AnswerHooks& hooks) {
  return Answer(&text, hooks);
}

AnswerFigures LocalPartner::Regenerate(const AnswerHooks& hooks) { return Answer(nullptr, hooks); }

void LocalPartner::SetParameter(const std::string& name, const Json& value) {
  SamplingParams& sampling = session_->settings.sampling;
  if (name == "temperature")
    sampling.temperature = value.AsDouble();
  else if (name == "top_p")
    sampling.top_p = value.AsDouble();
  else if (name == "min_p")
    sampling.min_p = value.AsDouble();
  else if (name == "top_k")
    sampling.top_k = value.AsInt();
  else if (name == "seed")
    sampling.seed = static_cast<uint64_t>(value.AsInt());
  else
    session_->settings.max_new_tokens = static_cast<size_t>(value.AsInt());
}

void LocalPartner::SetTools(bool on) {
  if (on)
    throw Error(ExitCode::kUsage, "tools are for conversations with a server",
                "planish chat --server URL");
}

}  // namespace planish
