// SPDX-License-Identifier: Apache-2.0
#include "infer/generate.h"

#include "base/error.h"
#include "text/thinking_toggle.h"

namespace planish {
namespace {

using Toggle = ThinkingSupport::Toggle;

void ApplyToggle(const ThinkingSupport& support, Thinking thinking, ChatInput* input) {
  if (thinking == Thinking::kDefault) return;
  if (thinking == Thinking::kOn && !support.supported)
    throw Error(ExitCode::kUsage,
                "this model has no thinking mode: its chat template does not react to any toggle",
                "a reasoning model, or no --think");
  SetThinking(support, thinking == Thinking::kOn, input);
}

ReasoningSplitter::Mode ModeAfter(const ThinkingSupport& support, const std::string& rendered) {
  if (!support.supported) return ReasoningSplitter::Mode::kOff;
  const size_t open = rendered.rfind(kOpenTag), close = rendered.rfind(kCloseTag);
  if (open != std::string::npos && (close == std::string::npos || close < open) &&
      rendered.size() - open <= kOpenTag.size() + 2) {
    return ReasoningSplitter::Mode::kThink;
  }
  if (close != std::string::npos && rendered.size() - close <= kCloseTag.size() + 2)
    return ReasoningSplitter::Mode::kOff;
  return ReasoningSplitter::Mode::kOpenWait;
}

}  // namespace

Prompt EncodeChat(const Pretrained& opened, const Json& messages, Thinking thinking,
                  bool add_generation_prompt, const Json& tools) {
  if (opened.chat_template == nullptr) {
    throw Error(ExitCode::kUsage, fmt::format("{} has no chat template", opened.name),
                "`planish generate` with a plain prompt");
  }
  ChatInput input{.messages = NormalizeMessages(messages),
                  .tools = tools,
                  .add_generation_prompt = add_generation_prompt,
                  .bos_token = opened.bos_token,
                  .eos_token = opened.eos_token};
  const ThinkingSupport& support = opened.thinking;
  ApplyToggle(support, thinking, &input);
  const Rendered rendered = opened.chat_template->Render(input);
  std::vector<TextSpan> spans;
  for (const RenderedSpan& span : rendered.spans) {
    spans.push_back({span.text, /*parse_special=*/span.origin.kind == Origin::Kind::kTemplate});
  }
  ReasoningSplitter::Mode mode = ModeAfter(support, rendered.Text());
  if (thinking == Thinking::kOff && support.supported && support.toggle == Toggle::kNone &&
      mode == ReasoningSplitter::Mode::kThink) {
    spans.push_back({"\n</think>\n\n", /*parse_special=*/true});
    mode = ReasoningSplitter::Mode::kOff;
  }
  return {opened.tokenizer->EncodeSpans(spans), mode};
}

Prompt EncodeText(const Pretrained& opened, std::string_view text, bool parse_special) {
  return {opened.tokenizer->Encode(text, {.parse_special = parse_special, .add_special = true}),
          ReasoningSplitter::Mode::kOff};
}

SamplingParams DefaultSampling(const GenerationDefaults& defaults) {
  SamplingParams params;
  params.temperature = defaults.do_sample.value_or(true) ? defaults.temperature.value_or(1.0) : 0.0;
  params.top_p = defaults.top_p.value_or(1.0);
  params.min_p = defaults.min_p.value_or(0.0);
  params.top_k = defaults.top_k.value_or(0);
  params.repetition_penalty = defaults.repetition_penalty.value_or(1.0);
  return params;
}

Generated Generate(const Pretrained& opened, Engine* engine, const Prompt& prompt,
                   const GenerateOptions& options) {
  Generated generated;
  Request request;
  request.prompt = prompt.ids;
  const size_t room =
      engine->context() > prompt.ids.size() ? engine->context() - prompt.ids.size() : 0;
  request.max_new_tokens =
      options.max_new_tokens == 0 ? room : std::min(options.max_new_tokens, room);
  if (request.prompt.size() >= engine->context()) request.max_new_tokens = 1;  // Submit explains
  request.sampling = options.sampling;
  request.end_ids = opened.eos_ids;
  request.ignore_end = options.ignore_end;
  request.resume = options.resume;
  request.snapshot_at = options.snapshot_at;
  request.is_cancelled = options.is_cancelled;

  std::shared_ptr<ThinkingBudget> budget;
  if (prompt.mode == ReasoningSplitter::Mode::kThink ||
      prompt.mode == ReasoningSplitter::Mode::kOpenWait) {
    budget = std::make_shared<ThinkingBudget>(
        opened.tokenizer, prompt.mode,
        BudgetParams{.budget = options.thinking_budget, .max_new_tokens = request.max_new_tokens});
    request.hooks.push_back(budget);
    if (options.on_start) options.on_start(budget.get());
  }
  StreamDecoder decoder(opened.tokenizer, /*skip_special=*/false);
  ReasoningSplitter splitter(prompt.mode);
  const auto emit = [&](const ReasoningSplitter::Piece& piece) {
    generated.reasoning += piece.reasoning;
    generated.answer += piece.answer;
    if (options.on_piece && !(piece.reasoning.empty() && piece.answer.empty()))
      options.on_piece(piece);
  };
  request.on_token = [&](const TokenEvent& event) {
    generated.logprobs.push_back(event.logprob);
    if (event.is_end && !options.ignore_end) return;
    const std::string text = decoder.Push(event.id);
    generated.text += text;
    emit(splitter.Push(text));
  };
  generated.result = engine->Run(std::move(request));
  if (generated.result.finish == FinishReason::kError)
    throw RuntimeError("{}: {}", opened.name, generated.result.error);
  const std::string rest = decoder.Finish();
  generated.text += rest;
  emit(splitter.Push(rest));
  emit(splitter.Finish());
  generated.ids = generated.result.ids;
  if (budget != nullptr) {
    generated.reasoning_tokens = budget->used();
    generated.stopped_by = budget->stopped_by();
    const bool was_cut = generated.result.finish == FinishReason::kLength && budget->is_thinking();
    if (was_cut && generated.stopped_by == ThinkingBudget::StoppedBy::kNone)
      generated.stopped_by = ThinkingBudget::StoppedBy::kLength;
  }
  return generated;
}

}  // namespace planish
