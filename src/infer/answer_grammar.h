// SPDX-License-Identifier: Apache-2.0
// What a request says its answer must look like, compiled: response_format, structured_outputs, tools with tool_choice.
// Binds the answer only, never the reasoning (GrammarHook sees to that).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "infer/grammar.h"
#include "text/tool_format.h"

namespace planish {

struct AnswerFormat {
  Json response_format;  // {"type": "text" | "json_object" | "json_schema", ...}; null: not given
  Json structured_outputs;  // vLLM's: one of json, regex, choice, grammar, json_object
  Json tools;               // list of function tools
  Json tool_choice;         // "none", "auto", "required", or a function by name; null: auto
  bool parallel_tool_calls = true;
  ToolFormat tool_format = ToolFormat::kToolcallList;
};

enum class ToolChoice { kOff, kNone, kAuto, kRequired, kNamed };  // kOff: no tools

struct AnswerGrammar {
  std::shared_ptr<const Grammar> grammar;
  ToolChoice tool_choice = ToolChoice::kOff;
  bool reads_tools = false;  // calls may come, so one inside the reasoning ends it
  std::string opening;       // what the answer begins with in any case: put in, not sampled
  // Arguments that are any object because the tool's schema (not marked strict) cannot be bound: "weather: #/...: ...".
  std::vector<std::string> unbound;
};

// Null when the request leaves the answer free. GrammarError: its pointer begins with the field of the request, e.g.
// "response_format.json_schema.schema#/properties/a/pattern".
std::shared_ptr<const AnswerGrammar> CompileAnswerGrammar(const AnswerFormat& format);

}  // namespace planish
