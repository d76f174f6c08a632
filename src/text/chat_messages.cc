// SPDX-License-Identifier: Apache-2.0
// NormalizeMessages: the shape every message must have before a template sees it, with errors that
// name the message.
#include "base/error.h"
#include "text/chat_template.h"

namespace planish {
namespace {

[[noreturn]] void Fail(const std::string& place, const Json* found, std::string_view expected) {
  if (found == nullptr) throw BadFile("{} is missing, expected {}", place, expected);
  throw BadFile("{} is {}, expected {}", place, found->type_name(), expected);
}

void CheckContent(const std::string& place, const Json* content) {
  if (content == nullptr || content->is_null() || content->is_string()) return;
  if (!content->is_array()) Fail(place, content, "a string, null or a list of parts");
  for (size_t i = 0; i < content->AsArray().size(); ++i) {
    const Json& part = content->AsArray()[i];
    const std::string part_place = fmt::format("{}[{}]", place, i);
    if (part.is_string()) continue;
    if (!part.is_object()) Fail(part_place, &part, "an object with a type");
    const Json* type = part.Find("type");
    if (type == nullptr || !type->is_string()) Fail(part_place + ".type", type, "a string");
    const Json* text = part.Find("text");
    if (type->AsString() == "text" && (text == nullptr || !text->is_string()))
      Fail(part_place + ".text", text, "a string");
  }
}

void CheckToolCalls(const std::string& place, const Json* calls) {
  if (calls == nullptr || calls->is_null()) return;
  if (!calls->is_array()) Fail(place, calls, "a list");
  for (size_t i = 0; i < calls->AsArray().size(); ++i) {
    const Json& call = calls->AsArray()[i];
    const std::string call_place = fmt::format("{}[{}]", place, i);
    if (!call.is_object()) Fail(call_place, &call, "an object");
    // The function may be spelled in place, as some data sets do.
    const Json* nested = call.Find("function");
    if (nested != nullptr && !nested->is_object())
      Fail(call_place + ".function", nested, "an object");
    const std::string function_place = nested != nullptr ? call_place + ".function" : call_place;
    const Json& function = nested != nullptr ? *nested : call;
    const Json* name = function.Find("name");
    if (name == nullptr || !name->is_string()) Fail(function_place + ".name", name, "a string");
    const Json* arguments = function.Find("arguments");
    if (arguments != nullptr && !arguments->is_string() && !arguments->is_object() &&
        !arguments->is_null()) {
      Fail(function_place + ".arguments", arguments, "an object or a string with JSON");
    }
  }
}

}  // namespace

Json NormalizeMessages(Json messages) {
  if (!messages.is_array()) Fail("messages", &messages, "a list");
  for (size_t i = 0; i < messages.AsArray().size(); ++i) {
    Json& message = messages.AsArray()[i];
    const std::string place = fmt::format("messages[{}]", i);
    if (!message.is_object()) Fail(place, &message, "an object");
    const Json* role = message.Find("role");
    if (role == nullptr || !role->is_string()) Fail(place + ".role", role, "a string");
    if (role->AsString().empty())
      throw BadFile("{}.role is empty, expected a name such as user", place);
    CheckContent(place + ".content", message.Find("content"));
    CheckToolCalls(place + ".tool_calls", message.Find("tool_calls"));
    if (role->AsString() == "developer") message.Set("role", Json("system"));
  }
  return messages;
}

}  // namespace planish
