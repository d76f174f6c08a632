// SPDX-License-Identifier: Apache-2.0
#include "data/dialogue.h"

#include "base/error.h"
#include "text/chat_template.h"
#include "text/reasoning.h"

namespace planish {
namespace {

constexpr std::string_view kWhiteSpace = " \t\r\n";

std::string_view TrimNewlines(std::string_view text) {
  const size_t begin = text.find_first_not_of("\r\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of("\r\n") - begin + 1);
}

const std::string* StringMember(const Json& message, std::string_view key) {
  const Json* value = message.Find(key);
  return value != nullptr && value->is_string() ? &value->AsString() : nullptr;
}

// Reasoning moves to "reasoning_content"; content keeps the answer alone.
void TakeOutReasoning(Json* message) {
  if (StringMember(*message, "reasoning_content") == nullptr) {
    if (const std::string* reasoning = StringMember(*message, "reasoning"))
      message->Set("reasoning_content", std::string(*reasoning));
  }
  message->Remove("reasoning");
  const std::string* content = StringMember(*message, "content");
  if (content == nullptr) return;
  const size_t close = content->find(kCloseTag);
  if (close == std::string::npos) return;
  std::string_view reasoning = std::string_view(*content).substr(0, close);
  std::string_view answer = std::string_view(*content).substr(close + kCloseTag.size());
  const size_t open = reasoning.find_first_not_of(kWhiteSpace);
  if (open != std::string_view::npos && reasoning.substr(open).starts_with(kOpenTag))
    reasoning.remove_prefix(open + kOpenTag.size());
  if (StringMember(*message, "reasoning_content") == nullptr)
    message->Set("reasoning_content", TrimNewlines(reasoning));
  answer.remove_prefix(std::min(answer.find_first_not_of("\r\n"), answer.size()));
  message->Set("content", std::string(answer));
}

}  // namespace

Dialogue ParseDialogue(std::string_view text, const std::string& where) {
  Dialogue dialogue;
  dialogue.line = ParseJson(text, where);
  if (!dialogue.line.is_object())
    throw BadFile("{}: is {}, expected an object with messages", where, dialogue.line.type_name());
  const JsonReader reader(dialogue.line, where);
  dialogue.messages = Json(reader.Array("messages"));
  try {
    dialogue.messages = NormalizeMessages(std::move(dialogue.messages));
  } catch (const Error& error) {
    throw BadFile("{}: {}", where, error.what());
  }
  if (dialogue.messages.AsArray().empty()) reader.Fail("messages", "at least one message");
  for (Json& message : dialogue.messages.AsArray()) {
    if (HasRole(message, "assistant")) TakeOutReasoning(&message);
  }
  if (reader.Has("tools")) {
    const Json::Array& tools = reader.Array("tools");
    if (!tools.empty()) dialogue.tools = Json(tools);
  }
  if (reader.Has("enable_thinking"))
    dialogue.enable_thinking = reader.BoolOr("enable_thinking", false);
  return dialogue;
}

bool HasRole(const Json& message, std::string_view role) {
  const std::string* found = StringMember(message, "role");
  return found != nullptr && *found == role;
}

std::string ReasoningOf(const Json& message) {
  const std::string* reasoning = StringMember(message, "reasoning_content");
  return reasoning == nullptr ? "" : std::string(TrimNewlines(*reasoning));
}

bool TrainsReasoning(const Json& message) {
  const Json* value = message.Find("train_reasoning");
  return value == nullptr || !value->is_bool() || value->AsBool();
}

}  // namespace planish
