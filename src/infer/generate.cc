// SPDX-License-Identifier: Apache-2.0
#include "infer/generate.h"

#include <algorithm>

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

// Ends the spans behind the text of the last message, as transformers' continue_final_message does. False if the template has
// left the message's reasoning out.
bool CutAfterFinalMessage(const Json& messages, std::vector<RenderedSpan>* spans) {
  const auto& list = messages.AsArray();
  const Json* role = list.empty() ? nullptr : list.back().Find("role");
  const Json* content = list.empty() ? nullptr : list.back().Find("content");
  if (role == nullptr || *role != Json("assistant") || content == nullptr || !content->is_string())
    throw UsageError("the last message is not text of the assistant: it cannot be continued");
  std::string_view text = content->AsString();
  while (!text.empty() && std::string_view(" \n\r\t").find(text.back()) != std::string_view::npos)
    text.remove_suffix(1);  // templates trim
  std::string all;
  for (const RenderedSpan& span : *spans) all += span.text;
  const size_t found = all.rfind(text);
  if (!text.empty() && found == std::string::npos && text.find(kCloseTag) != std::string_view::npos)
    return false;
  if (text.empty() || found == std::string::npos)
    throw UsageError("the chat template does not repeat the last message: it cannot be continued");
  size_t left = found + text.size();
  for (size_t i = 0; i < spans->size(); ++i) {
    std::string& part = (*spans)[i].text;
    if (part.size() < left) {
      left -= part.size();
      continue;
    }
    part.resize(left);
    spans->resize(i + 1);
    break;
  }
  return true;
}

// For templates that leave the reasoning of every message out: the open message as the model would have written it, behind
// the prompt that opens its turn. Its tags are the model's own, the rest is text.
void AppendOpenMessage(std::string_view content, int message, std::vector<RenderedSpan>* spans) {
  std::string prompt;
  for (const RenderedSpan& span : *spans) prompt += span.text;
  size_t end = prompt.find_last_not_of(" \n");
  end = end == std::string::npos ? 0 : end + 1;
  const bool is_open = std::string_view(prompt).substr(0, end).ends_with(kOpenTag);
  if (is_open && content.starts_with(kOpenTag)) {
    content.remove_prefix(kOpenTag.size());
    // The blanks behind the tag stand in the prompt already.
    for (const char c : prompt.substr(end)) {
      if (!content.starts_with(c)) break;
      content.remove_prefix(1);
    }
  }
  const auto add = [&](std::string_view text, Origin origin) {
    if (!text.empty()) spans->push_back({std::string(text), origin});
  };
  const Origin own{Origin::Kind::kMessage, message};
  for (const std::string_view tag : {kOpenTag, kCloseTag}) {
    const size_t at = content.find(tag);
    if (at == std::string_view::npos) continue;
    add(content.substr(0, at), own);
    add(tag, {});
    content.remove_prefix(at + tag.size());
  }
  add(content, own);
}

ReasoningSplitter::Mode ModeInside(std::string_view text) {
  const size_t open = text.rfind(kOpenTag), close = text.rfind(kCloseTag);
  const bool is_open =
      open != std::string_view::npos && (close == std::string_view::npos || close < open);
  return is_open ? ReasoningSplitter::Mode::kThink : ReasoningSplitter::Mode::kOff;
}

struct RenderedChat {
  std::vector<RenderedSpan> spans;
  ReasoningSplitter::Mode mode = ReasoningSplitter::Mode::kOff;
};

RenderedChat Render(const Pretrained& opened, const Json& messages,
                    const ChatPromptOptions& options) {
  if (opened.chat_template == nullptr) {
    throw Error(ExitCode::kUsage, fmt::format("{} has no chat template", opened.name),
                "`planish generate` with a plain prompt");
  }
  ChatInput input{.messages = NormalizeMessages(messages),
                  .tools = options.tools,
                  .add_generation_prompt = options.add_generation_prompt,
                  .bos_token = opened.bos_token,
                  .eos_token = opened.eos_token};
  if (options.kwargs.is_object()) input.kwargs = options.kwargs;
  const ThinkingSupport& support = opened.thinking;
  ApplyToggle(support, options.thinking, &input);
  RenderedChat chat{.spans = opened.chat_template->Render(input).spans};
  if (options.continues_final) {
    if (!CutAfterFinalMessage(input.messages, &chat.spans)) {
      ChatInput before = input;
      const size_t last = before.messages.AsArray().size() - 1;
      before.messages.AsArray().pop_back();
      before.add_generation_prompt = true;
      chat.spans = opened.chat_template->Render(before).spans;
      AppendOpenMessage(input.messages.AsArray().back().Find("content")->AsString(),
                        static_cast<int>(last), &chat.spans);
    }
    if (!support.supported) return chat;
    // Tags of earlier messages say nothing of this one.
    std::string text;
    for (const RenderedSpan& span : chat.spans) text += span.text;
    const std::string& content = input.messages.AsArray().back().Find("content")->AsString();
    const size_t tail = std::min(text.size(), content.size() + 2 * kOpenTag.size());
    chat.mode = ModeInside(std::string_view(text).substr(text.size() - tail));
    return chat;
  }
  std::string text;
  for (const RenderedSpan& span : chat.spans) text += span.text;
  chat.mode = ModeAfter(support, text);
  if (options.thinking == Thinking::kOff && support.supported && support.toggle == Toggle::kNone &&
      chat.mode == ReasoningSplitter::Mode::kThink) {
    chat.spans.push_back({"\n</think>\n\n", {}, false});
    chat.mode = ReasoningSplitter::Mode::kOff;
  }
  return chat;
}

}  // namespace

Prompt EncodeChat(const Pretrained& opened, const Json& messages,
                  const ChatPromptOptions& options) {
  const RenderedChat chat = Render(opened, messages, options);
  std::vector<TextSpan> spans;
  for (const RenderedSpan& span : chat.spans) {
    spans.push_back({span.text, /*parse_special=*/span.origin.kind == Origin::Kind::kTemplate});
  }
  return {opened.tokenizer->EncodeSpans(spans), chat.mode};
}

std::string RenderChat(const Pretrained& opened, const Json& messages,
                       const ChatPromptOptions& options) {
  std::string text;
  for (const RenderedSpan& span : Render(opened, messages, options).spans) text += span.text;
  return text;
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
  request.snapshot_at = options.snapshot_at;
  request.keeps_end = options.keeps_end;
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
