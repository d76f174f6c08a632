// SPDX-License-Identifier: Apache-2.0
// Tool calls as models write them, printed and read. Formats: Nemotron Nano 2 and Llama-Nemotron
// `<TOOLCALL>[{"name": ..., "arguments": {...}}]</TOOLCALL>`, Qwen's and SmolLM's `<tool_call>{...}</tool_call>`, Nemotron 3
// `<tool_call><function=f><parameter=p>v</parameter></function></tool_call>`. The reader takes all of them, and damaged
// ones too (text/tool_call_parser.h).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace planish {

class ChatTemplate;

struct ToolCall {
  std::string name;
  std::string arguments =
      {};  // JSON text of an object, as the model wrote it; no valid JSON if !is_complete
  bool is_complete = true;
  bool operator==(const ToolCall&) const = default;
};

struct ToolReply {
  std::string content;  // what is no call
  std::vector<ToolCall> calls;
  size_t failures =
      0;  // markup that could not be read (then it is content), or calls cut off or broken in their arguments
};

enum class ToolFormat {
  kToolcallList,  // <TOOLCALL>[{...}, {...}]</TOOLCALL>
  kToolCallJson,  // <tool_call>{...}</tool_call>, one a call
  kToolCallTags,  // <tool_call><function=f>...</function></tool_call>, one a call
};

// A whole answer, read by the streaming parser in one piece. `tools`: null or the list of OpenAI's request, which says of what
// type the values of the tag format are.
ToolReply ParseToolCalls(std::string_view text, const Json& tools = Json());
// The calls as a model of this format writes them. Error(kUsage) if an argument text is no JSON object.
std::string PrintToolCalls(const std::vector<ToolCall>& calls, ToolFormat format);

// What the template turns tool calls of the history into, found by rendering a probe; kToolcallList if it shows none.
ToolFormat DetectToolFormat(const ChatTemplate& chat_template);

// The JSON schema of a tool's arguments, null if the list has no such tool or it has no schema. Reads OpenAI's nested form
// ({"type": "function", "function": {...}}) and the flat one.
const Json* ToolParameters(const Json& tools, std::string_view name);
// What is wrong with a call, as "f: /city: ...", empty if nothing: unknown name, arguments that are no JSON object or break
// the tool's schema (types, enum, required, ...; text/json_schema.h).
std::string CheckToolCall(const ToolCall& call, const Json& tools);

}  // namespace planish
