// SPDX-License-Identifier: Apache-2.0
#include "text/message_list.h"

#include "base/error.h"

namespace planish {
namespace {

bool HasRole(const Json& message, const char* role) {
  const Json* found = message.Find("role");
  return found != nullptr && *found == Json(role);
}

Json Message(const char* role, const std::string& content) {
  Json message = Json::MakeObject();
  message.Set("role", role);
  message.Set("content", content);
  return message;
}

}  // namespace

void MessageList::Add(const char* role, const std::string& content) { Add(Message(role, content)); }

std::string MessageList::Undo() {
  Json::Array& messages = messages_.AsArray();
  for (size_t i = messages.size(); i-- > 0;) {
    if (!HasRole(messages[i], "user")) continue;
    const std::string text = messages[i].Find("content")->AsString();
    messages.resize(i);
    return text;
  }
  return {};
}

void MessageList::Clear() {
  Json::Array& messages = messages_.AsArray();
  messages.resize(!messages.empty() && HasRole(messages[0], "system") ? 1 : 0);
}

void MessageList::SetSystem(const std::string& text) {
  Json::Array& messages = messages_.AsArray();
  if (!messages.empty() && HasRole(messages[0], "system")) messages.erase(messages.begin());
  if (!text.empty()) messages.insert(messages.begin(), Message("system", text));
}

std::string MessageList::LastUserText() const {
  const Json::Array& messages = messages_.AsArray();
  for (size_t i = messages.size(); i-- > 0;) {
    if (HasRole(messages[i], "user")) return messages[i].Find("content")->AsString();
  }
  return {};
}

bool MessageList::EndsWithAnswer() const {
  const Json::Array& messages = messages_.AsArray();
  return !messages.empty() && HasRole(messages.back(), "assistant");
}

void MessageList::Set(Json messages) {
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
