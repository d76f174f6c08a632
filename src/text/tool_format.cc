// SPDX-License-Identifier: Apache-2.0
#include "text/tool_format.h"

#include "base/error.h"
#include "text/chat_template.h"
#include "text/json_schema.h"
#include "text/reply_parser.h"

namespace planish {
namespace {

Json ArgumentsOf(const ToolCall& call) {
  Json arguments = ParseJson(call.arguments, fmt::format("arguments of {}", Quoted(call.name)),
                             {.reject_duplicate_keys = false});
  if (!arguments.is_object())
    throw UsageError("arguments of {} are {}, expected an object", Quoted(call.name),
                     arguments.type_name());
  return arguments;
}

std::string TagText(const ToolCall& call) {
  std::string text = fmt::format("<tool_call>\n<function={}>\n", call.name);
  const Json arguments = ArgumentsOf(call);
  for (const auto& [name, value] : arguments.AsObject()) {
    text += fmt::format("<parameter={}>\n{}\n</parameter>\n", name,
                        value.is_string() ? value.AsString() : DumpJson(value, JsonStyle::kPython));
  }
  return text + "</function>\n</tool_call>";
}

Json CallJson(const ToolCall& call) {
  Json element = Json::MakeObject();
  element.Set("name", call.name);
  element.Set("arguments", ArgumentsOf(call));
  return element;
}

}  // namespace

ToolReply ParseToolCalls(std::string_view text, const Json& tools) {
  // Without a list the parser must still look for calls: an empty tool is offered.
  Json any = Json::MakeArray();
  any.Append(Json::MakeObject());
  const bool has_tools = tools.is_array() && !tools.AsArray().empty();
  return ParseReply(text, ReasoningSplitter::Mode::kAnswer, has_tools ? tools : any);
}

std::string PrintToolCalls(const std::vector<ToolCall>& calls, ToolFormat format) {
  std::string text;
  if (format == ToolFormat::kToolcallList) {
    Json list = Json::MakeArray();
    for (const ToolCall& call : calls) list.Append(CallJson(call));
    return fmt::format("{}{}{}", kToolcallTag, DumpJson(list, JsonStyle::kPython), kToolcallEndTag);
  }
  for (const ToolCall& call : calls) {
    if (!text.empty()) text += '\n';
    text += format == ToolFormat::kToolCallTags
                ? TagText(call)
                : fmt::format("{}\n{}\n{}", kToolCallTag,
                              DumpJson(CallJson(call), JsonStyle::kPython), kToolCallEndTag);
  }
  return text;
}

ToolFormat DetectToolFormat(const ChatTemplate& chat_template) {
  ChatInput input;
  input.messages = ParseJson(
      R"([{"role":"user","content":"a"},{"role":"assistant","content":"","tool_calls":[{"id":"call_a","type":"function",)"
      R"("function":{"name":"f","arguments":{"p":1}}}]}])",
      "probe");
  input.tools = ParseJson(
      R"([{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object","properties":{}}}}])",
      "probe");
  std::string text;
  try {
    text = chat_template.Render(input).Text();
  } catch (const Error&) {  // a template without tools may refuse them
  }
  // The call stands after the tools, which may be explained with an example of a call.
  const size_t tags = text.rfind("<function=f>"), json = text.rfind(kToolCallTag);
  if (text.rfind(kToolcallTag) != std::string::npos || json == std::string::npos)
    return ToolFormat::kToolcallList;
  return tags != std::string::npos && tags > json ? ToolFormat::kToolCallTags
                                                  : ToolFormat::kToolCallJson;
}

const Json* ToolParameters(const Json& tools, std::string_view name) {
  if (!tools.is_array()) return nullptr;
  for (const Json& tool : tools.AsArray()) {
    const Json* nested = tool.Find("function");
    const Json& function = nested != nullptr && nested->is_object() ? *nested : tool;
    const Json* its_name = function.Find("name");
    if (its_name != nullptr && its_name->is_string() && its_name->AsString() == name)
      return function.Find("parameters");
  }
  return nullptr;
}

std::string CheckToolCall(const ToolCall& call, const Json& tools) {
  bool is_known = false;
  for (const Json& tool : tools.is_array() ? tools.AsArray() : Json::Array()) {
    const Json* nested = tool.Find("function");
    const Json* name = (nested != nullptr && nested->is_object() ? *nested : tool).Find("name");
    is_known = is_known || (name != nullptr && name->is_string() && name->AsString() == call.name);
  }
  if (!is_known) return fmt::format("no tool is called {}", Quoted(call.name));
  if (!call.is_complete) return fmt::format("{}: the arguments are cut off or broken", call.name);
  Json arguments;
  try {
    arguments = ArgumentsOf(call);
  } catch (const Error& e) {
    return e.what();
  }
  const Json* schema = ToolParameters(tools, call.name);
  if (schema == nullptr || schema->is_null()) return {};
  const std::string problem = CheckJsonSchema(*schema, arguments);
  return problem.empty() ? problem : fmt::format("{}: {}", call.name, problem);
}

}  // namespace planish
