// SPDX-License-Identifier: Apache-2.0
#include "cli/local_partner.h"

#include <optional>

#include "base/error.h"
#include "cli/tool_round.h"
#include "text/demo_tools.h"

namespace planish {

std::string LocalPartner::Introduction() const {
  return fmt::format("{}, {:.0f} MiB", opened_->name,
                     static_cast<double>(opened_->file_bytes) / (1 << 20));
}

AnswerFigures LocalPartner::Answer(Ask ask, const std::string& text, const AnswerHooks& hooks) {
  ThinkingBudget* budget = nullptr;
  std::optional<ToolCallParser> markup;
  if (!session_->settings.tools.is_null()) markup.emplace(session_->settings.tools);
  const auto stream = [&](const ReasoningSplitter::Piece& piece) {
    if (budget != nullptr && !piece.reasoning.empty())
      hooks.on_thinking(budget->used(), budget->effective_budget());
    std::string content = piece.answer;
    if (markup) {  // of calls, which are shown when they are run
      content.clear();
      for (const ToolEvent& event : markup->Push(piece.answer)) {
        if (event.kind == ToolEvent::Kind::kContent) content += event.text;
      }
    }
    if (!piece.reasoning.empty() || !content.empty())
      hooks.on_piece({.reasoning = piece.reasoning, .answer = content});
  };
  const auto poll = [&] {
    if (budget != nullptr && hooks.wants_answer_now()) budget->EndThinking();
    return hooks.is_interrupted();
  };
  const auto start = [&](ThinkingBudget* hook) { budget = hook; };
  const Generated generated = ask == Ask::kAgain     ? session_->Regenerate(stream, poll, start)
                              : ask == Ask::kResults ? session_->Continue(stream, poll, start)
                                                     : session_->Say(text, stream, poll, start);
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
  return session_->settings.tools.is_null() ? Answer(Ask::kMessage, text, hooks)
                                            : WithTools(text, hooks);
}

AnswerFigures LocalPartner::WithTools(const std::string& text, const AnswerHooks& hooks) {
  const MessageList before = session_->messages();
  try {
    AnswerFigures figures = Answer(Ask::kMessage, text, hooks);
    for (int round = 1; !session_->last_calls().empty() && !figures.was_interrupted; ++round) {
      if (round == kToolRounds) {
        NoteTooManyRounds(hooks);
        break;
      }
      const std::vector<ToolCall> calls = session_->last_calls();
      for (size_t i = 0; i < calls.size(); ++i)
        session_->messages().Add(
            ToolResultMessage(fmt::format("call_{}", i), calls[i].name, calls[i].arguments, hooks));
      AnswerFigures next = Answer(Ask::kResults, "", hooks);
      next.reasoning_tokens += figures.reasoning_tokens;
      next.answer_tokens += figures.answer_tokens;
      next.prompt_s += figures.prompt_s;
      figures = std::move(next);
    }
    return figures;
  } catch (...) {
    session_->messages() = before;
    throw;
  }
}

AnswerFigures LocalPartner::Regenerate(const AnswerHooks& hooks) {
  if (session_->settings.tools.is_null()) return Answer(Ask::kAgain, "", hooks);
  if (!session_->messages().EndsWithAnswer())
    throw UsageError("there is no answer to generate again");
  const MessageList before = session_->messages();
  const std::string text = session_->messages().Undo();
  try {
    return WithTools(text, hooks);
  } catch (...) {
    session_->messages() = before;
    throw;
  }
}

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

void LocalPartner::SetTools(bool on) { session_->settings.tools = on ? DemoTools() : Json(); }

}  // namespace planish
