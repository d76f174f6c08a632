// SPDX-License-Identifier: Apache-2.0
#include "infer/chat_session.h"

#include "base/error.h"

namespace planish {

Generated ChatSession::Answer(const Stream& stream, const std::function<bool()>& is_cancelled,
                              const std::function<void(ThinkingBudget*)>& on_start) {
  const Thinking thinking = settings.budget == 0 ? Thinking::kOff : settings.thinking;
  const Prompt prompt = EncodeChat(*opened_, messages_.json(), {.thinking = thinking});
  GenerateOptions options;
  options.max_new_tokens = settings.max_new_tokens;
  options.sampling = settings.sampling;
  options.sampling.choice = answers_++;
  options.thinking_budget = settings.budget;
  if (engine_->uses_cuts()) {
    const auto encode = [&](const Json& messages, bool add_generation_prompt) {
      return EncodeChat(*opened_, messages,
                        {.thinking = thinking, .add_generation_prompt = add_generation_prompt})
          .ids;
    };
    options.snapshot_at = cuts_.Find(messages_.json(), prompt.ids, encode,
                                     std::to_string(static_cast<int>(thinking)));
    options.keeps_end = prompt.mode == ReasoningSplitter::Mode::kOff;
  }
  options.is_cancelled = is_cancelled;
  options.on_piece = stream;
  options.on_start = on_start;
  const Generated generated = Generate(*opened_, engine_, prompt, options);
  last_prompt_tokens_ = prompt.ids.size();
  Json message = Json::MakeObject();
  message.Set("role", "assistant");
  message.Set("content", generated.answer);
  if (!generated.reasoning.empty()) message.Set("reasoning_content", generated.reasoning);
  messages_.Add(std::move(message));
  return generated;
}

Generated ChatSession::Say(const std::string& text, const Stream& stream,
                           const std::function<bool()>& is_cancelled,
                           const std::function<void(ThinkingBudget*)>& on_start) {
  messages_.Add("user", text);
  try {
    return Answer(stream, is_cancelled, on_start);
  } catch (...) {
    messages_.Truncate(messages_.size() - 1);
    throw;
  }
}

Generated ChatSession::Regenerate(const Stream& stream, const std::function<bool()>& is_cancelled,
                                  const std::function<void(ThinkingBudget*)>& on_start) {
  if (!messages_.EndsWithAnswer()) throw UsageError("there is no answer to generate again");
  const MessageList before = messages_;
  messages_.Truncate(messages_.size() - 1);
  try {
    return Answer(stream, is_cancelled, on_start);
  } catch (...) {
    messages_ = before;
    throw;
  }
}

}  // namespace planish
