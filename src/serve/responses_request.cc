// SPDX-License-Identifier: Apache-2.0
// The body of /v1/responses in terms of a chat: items to messages, flat tools to nested ones, text.format to response_format.
#include "serve/chat_request.h"

namespace planish {
namespace {

Json Message(const char* role, Json content) {
  Json message = Json::MakeObject();
  message.Set("role", role);
  message.Set("content", std::move(content));
  return message;
}

// Parts are called input_text and output_text here.
Json PartsOf(const Json& content) {
  if (!content.is_array()) return content;
  Json parts = Json::MakeArray();
  for (const Json& part : content.AsArray()) {
    Json copy = part;
    const Json* type = part.Find("type");
    if (type != nullptr && (*type == Json("input_text") || *type == Json("output_text")))
      copy.Set("type", "text");
    parts.Append(std::move(copy));
  }
  return parts;
}

std::string TextOf(const Json& item, const char* key, const std::string& place) {
  const Json* found = item.Find(key);
  if (found == nullptr || !found->is_string())
    throw InvalidValue(place, "{}.{} is missing or no string", place, key);
  return found->AsString();
}

void AddCall(const Json& item, const std::string& place, Json* messages) {
  Json call = Json::MakeObject(), function = Json::MakeObject();
  function.Set("name", TextOf(item, "name", place));
  function.Set("arguments", TextOf(item, "arguments", place));
  call.Set("id", TextOf(item, "call_id", place));
  call.Set("type", "function");
  call.Set("function", std::move(function));
  auto& list = messages->AsArray();
  // Calls in a row, and the text before them, are one turn.
  if (list.empty() || *list.back().Find("role") != Json("assistant"))
    list.push_back(Message("assistant", ""));
  Json calls = list.back().Find("tool_calls") != nullptr ? *list.back().Find("tool_calls")
                                                         : Json::MakeArray();
  calls.Append(std::move(call));
  list.back().Set("tool_calls", std::move(calls));
}

Json ReadInput(Fields* fields) {
  Json messages = Json::MakeArray();
  if (const auto instructions = fields->Text("instructions", SIZE_MAX))
    messages.Append(Message("system", *instructions));
  const Json* input = fields->Find("input");
  if (input == nullptr) throw InvalidValue("input", "input is missing");
  if (input->is_string()) {
    messages.Append(Message("user", *input));
    return messages;
  }
  if (!input->is_array() || input->AsArray().empty())
    throw InvalidValue("input", "input is no text and no list of items");
  for (size_t i = 0; i < input->AsArray().size(); ++i) {
    const Json& item = input->AsArray()[i];
    const std::string place = fmt::format("input[{}]", i);
    if (!item.is_object()) throw InvalidValue(place, "{} is no object", place);
    const Json* type = item.Find("type");
    const std::string kind = type == nullptr || type->is_null() ? "message"
                             : type->is_string()                ? type->AsString()
                                                                : "";
    if (kind == "message") {
      const Json* role = item.Find("role");
      const Json* content = item.Find("content");
      if (role == nullptr || content == nullptr)
        throw InvalidValue(place, "{} has no role or no content", place);
      Json message = Message("", PartsOf(*content));
      message.Set("role", *role);
      messages.Append(std::move(message));
    } else if (kind == "function_call") {
      AddCall(item, place, &messages);
    } else if (kind == "function_call_output") {
      Json message = Message("tool", TextOf(item, "output", place));
      message.Set("tool_call_id", TextOf(item, "call_id", place));
      messages.Append(std::move(message));
    } else if (kind != "reasoning") {  // what was thought before is no part of a later prompt
      throw Unsupported(place, "{} is of type {}", place, Quoted(kind));
    }
  }
  return messages;
}

Json NestedTools(const Json* tools) {
  if (tools == nullptr || !tools->is_array()) return tools == nullptr ? Json() : *tools;
  Json nested = Json::MakeArray();
  for (size_t i = 0; i < tools->AsArray().size(); ++i) {
    const Json& tool = tools->AsArray()[i];
    const Json* type = tool.Find("type");
    if (type == nullptr || *type != Json("function"))
      throw Unsupported(fmt::format("tools[{}]", i),
                        "tools[{}] is no function: only these are supported", i);
    if (tool.Find("function") != nullptr) {
      nested.Append(tool);
      continue;
    }
    Json function = tool, wrapped = Json::MakeObject();
    function.Remove("type");
    wrapped.Set("type", "function");
    wrapped.Set("function", std::move(function));
    nested.Append(std::move(wrapped));
  }
  return nested;
}

Json ReadFormat(Fields* fields) {
  auto text = fields->Object("text");
  const Json* format = text ? text->Find("format") : nullptr;
  if (format == nullptr) return {};
  const Json* type = format->Find("type");
  if (type == nullptr || *type != Json("json_schema")) return *format;
  Json inner = *format, wrapped = Json::MakeObject();
  inner.Remove("type");
  wrapped.Set("type", "json_schema");
  wrapped.Set("json_schema", std::move(inner));
  return wrapped;
}

}  // namespace

GenerationPlan ReadResponsesRequest(ServeState* state, const Json& body) {
  Json flat = body;
  Fields top(body);
  if (auto reasoning = top.Object("reasoning")) {
    if (const auto effort = reasoning->Text("effort")) flat.Set("reasoning_effort", *effort);
  }
  Fields fields(flat);
  fields.Find("reasoning");
  GenerationPlan plan;
  plan.endpoint = "/v1/responses";
  CheckModel(*state, &fields);
  if (fields.Text("previous_response_id", 256))
    throw Unsupported("previous_response_id", "this server keeps no answers: send the whole input");
  if (fields.Bool("store").value_or(false))
    throw Unsupported("store", "this server keeps no answers: store must be false");
  const Pretrained& opened = state->engine->opened();
  plan.fields = ReadGenerationFields(&fields, opened, "max_output_tokens");
  if (plan.fields.n != 1) throw Unsupported("n", "n must be 1 here");
  // What ReadChatInputs reads, in its spelling.
  Json chat_body = Json::MakeObject();
  chat_body.Set("messages", ReadInput(&fields));
  chat_body.Set("tools", NestedTools(fields.Find("tools")));
  chat_body.Set("response_format", ReadFormat(&fields));
  for (const char* name : {"tool_choice", "parallel_tool_calls", "chat_template_kwargs"}) {
    if (const Json* value = fields.Find(name)) chat_body.Set(name, *value);
  }
  Fields chat_fields(chat_body);
  ChatInputs chat = ReadChatInputs(&chat_fields);
  const ThinkingFields thinking = ReadThinkingFields(
      &fields, opened.thinking, state->settings.thinking, chat.messages, &chat.kwargs);
  NoteUnknown(*state, fields, &plan);
  PlanChat(state, chat, thinking, &plan);
  return plan;
}

}  // namespace planish
