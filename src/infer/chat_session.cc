// SPDX-License-Identifier: Apache-2.0
#include "infer/chat_session.h"

#include "base/error.h"

namespace planish {

Generated ChatSession::Answer(const Stream& stream, const std::function<bool()>& is_cancelled,
                              const std::function<void(ThinkingBudget*)>& on_start) {
  const Thinking thinking = settings.budget == 0 ? Thinking::kOff : settings.thinking;
  const Prompt prompt =
      EncodeChat(*opened_, messages_.json(), {.thinking = thinking, .tools = settings.tools});
  GenerateOptions options;
  options.max_new_tokens = settings.max_new_tokens;
  options.sampling = settings.sampling;
  options.sampling.choice = answers_++;
  options.thinking_budget = settings.budget;
  if (engine_->uses_cuts()) {
    const auto encode = [&](const Json& messages, bool add_generation_prompt) {
      return EncodeChat(*opened_, messages,
                        {.thinking = thinking,
                         .add_generation_prompt = add_generation_prompt,
                         .tools = settings.tools})
          .ids;
    };
    options.snapshot_at =
        cuts_.Find(messages_.json(), prompt.ids, encode,
                   std::to_string(static_cast<int>(thinking)) + DumpJson(settings.tools));
    options.keeps_end = prompt.mode == ReasoningSplitter::Mode::kOff;
  }
  options.is_cancelled = is_cancelled;
  options.on_piece = stream;
  options.on_start = on_start;
  const Generated generated = Generate(*opened_, engine_, prompt, options);
  last_prompt_tokens_ = prompt.ids.size();
  Reply reply;
  if (settings.tools.is_null())
    reply.content = generated.answer;
  else
    reply = ParseReply(generated.answer, ReasoningSplitter::Mode::kOff, settings.tools);
  last_calls_ = reply.calls;
  Json message = Json::MakeObject(), calls = Json::MakeArray();
  message.Set("role", "assistant");
  message.Set("content", reply.content);
  for (const ToolCall& call : reply.calls) {
    Json function = Json::MakeObject(), entry = Json::MakeObject();
    function.Set("name", call.name);
    try {  // templates print arguments as JSON
      function.Set("arguments", ParseJson(call.arguments, "arguments"));
    } catch (const Error&) {
      function.Set("arguments", call.arguments);
    }
    entry.Set("id", fmt::format("call_{}", calls.AsArray().size()));
    entry.Set("type", "function");
    entry.Set("function", std::move(function));
    calls.Append(std::move(entry));
  }
  if (!reply.calls.empty()) message.Set("tool_calls", std::move(calls));
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
