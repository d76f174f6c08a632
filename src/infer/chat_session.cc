// SPDX-License-Identifier: Apache-2.0
#include "infer/chat_session.h"

#include "base/error.h"

namespace planish {
namespace {

Json Message(const char* role, const std::string& content) {
  Json message = Json::MakeObject();
  message.Set("role", role);
  message.Set("content", content);
  return message;
}

bool HasRole(const Json& message, const char* role) {
  const Json* found = message.Find("role");
  return found != nullptr && *found == Json(role);
}

}  // namespace

Generated ChatSession::Answer(const Stream& stream, const std::function<bool()>& is_cancelled,
                              const std::function<void(ThinkingBudget*)>& on_start) {
  const Thinking thinking = settings.budget == 0 ? Thinking::kOff : settings.thinking;
  const Prompt prompt = EncodeChat(*opened_, messages_, {.thinking = thinking});
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
    options.snapshot_at =
        cuts_.Find(messages_, prompt.ids, encode, std::to_string(static_cast<int>(thinking)));
    options.keeps_end = prompt.mode == ReasoningSplitter::Mode::kOff;
  }
  options.is_cancelled = is_cancelled;
  options.on_piece = stream;
  options.on_start = on_start;
  const Generated generated = Generate(*opened_, engine_, prompt, options);
  last_prompt_tokens_ = prompt.ids.size();
  Json message = Message("assistant", generated.answer);
  if (!generated.reasoning.empty()) message.Set("reasoning_content", generated.reasoning);
  messages_.Append(std::move(message));
  return generated;
}

Generated ChatSession::Say(const std::string& text, const Stream& stream,
                           const std::function<bool()>& is_cancelled,
                           const std::function<void(ThinkingBudget*)>& on_start) {
  messages_.Append(Message("user", text));
  try {
    return Answer(stream, is_cancelled, on_start);
  } catch (...) {
    messages_.AsArray().pop_back();
    throw;
  }
}

Generated ChatSession::Regenerate(const Stream& stream, const std::function<bool()>& is_cancelled,
                                  const std::function<void(ThinkingBudget*)>& on_start) {
  Json::Array& messages = messages_.AsArray();
  if (messages.empty() || !HasRole(messages.back(), "assistant"))
    throw UsageError("there is no answer to generate again");
  Json dropped = std::move(messages.back());
  messages.pop_back();
  try {
    return Answer(stream, is_cancelled, on_start);
  } catch (...) {
    messages_.Append(std::move(dropped));
    throw;
  }
}

std::string ChatSession::Undo() {
  Json::Array& messages = messages_.AsArray();
  for (size_t i = messages.size(); i-- > 0;) {
    if (!HasRole(messages[i], "user")) continue;
    const Json* content = messages[i].Find("content");
    const std::string text = content != nullptr && content->is_string() ? content->AsString() : "";
    messages.resize(i);
    return text;
  }
  return {};
}

void ChatSession::Clear() {
  Json::Array& messages = messages_.AsArray();
  messages.resize(!messages.empty() && HasRole(messages[0], "system") ? 1 : 0);
}

void ChatSession::SetSystem(const std::string& text) {
  Json::Array& messages = messages_.AsArray();
  if (!messages.empty() && HasRole(messages[0], "system")) messages.erase(messages.begin());
  if (!text.empty()) messages.insert(messages.begin(), Message("system", text));
}

std::string ChatSession::LastUserText() const {
  const Json::Array& messages = messages_.AsArray();
  for (size_t i = messages.size(); i-- > 0;) {
    if (HasRole(messages[i], "user")) return messages[i].Find("content")->AsString();
  }
  return {};
}

void ChatSession::SetMessages(Json messages) {
  if (!messages.is_array())
    throw BadFile("the conversation is {}, expected a list of messages", messages.type_name());
  for (size_t i = 0; i < messages.AsArray().size(); ++i) {
    const Json& message = messages.AsArray()[i];
    for (const char* key : {"role", "content"}) {
      const Json* found = message.Find(key);
      if (found == nullptr || !found->is_string())
        throw BadFile("message {} has no {} that is a string", i, key);
    }
  }
  messages_ = std::move(messages);
}

}  // namespace planish
