// SPDX-License-Identifier: Apache-2.0
#include "infer/answer_grammar.h"

#include <algorithm>

#include "infer/grammar_json.h"
#include "infer/grammar_regex.h"
#include "infer/grammar_schema.h"
#include "infer/grammar_text.h"
#include "text/tool_call_parser.h"

namespace planish {
namespace {

constexpr size_t kMaxTools = 256;

struct Tool {
  std::string name;
  const Json* parameters = nullptr;  // may be null
  bool is_strict = false;
  std::string pointer;  // of the parameters
};

std::vector<Tool> ReadTools(const Json& tools) {
  if (tools.is_null()) return {};
  if (!tools.is_array())
    throw GrammarError("tools", fmt::format("is {}, expected a list", tools.type_name()));
  if (tools.AsArray().size() > kMaxTools)
    throw GrammarError("tools", fmt::format("has more than {} entries", kMaxTools));
  std::vector<Tool> list;
  for (size_t i = 0; i < tools.AsArray().size(); ++i) {
    const Json& tool = tools.AsArray()[i];
    const Json* nested = tool.Find("function");
    const Json& function = nested != nullptr ? *nested : tool;
    const std::string at = fmt::format("tools[{}]{}", i, nested != nullptr ? ".function" : "");
    const Json* type = tool.Find("type");
    if (type != nullptr && *type != Json("function"))
      throw GrammarError(fmt::format("tools[{}].type", i), "is not \"function\"");
    const Json* name = function.Find("name");
    if (name == nullptr || !name->is_string() || name->AsString().empty())
      throw GrammarError(at + ".name", "is missing, expected a string");
    const Json* parameters = function.Find("parameters");
    const Json* strict = function.Find("strict");
    list.push_back(
        {name->AsString(), parameters != nullptr && !parameters->is_null() ? parameters : nullptr,
         strict != nullptr && strict->is_bool() && strict->AsBool(), at + ".parameters"});
  }
  return list;
}

ToolChoice ReadChoice(const Json& choice, const std::vector<Tool>& tools, std::string* name) {
  if (tools.empty()) {
    if (!choice.is_null() && choice != Json("none") && choice != Json("auto"))
      throw GrammarError("tool_choice", "asks for a call, but there are no tools");
    return ToolChoice::kOff;
  }
  if (choice.is_null() || choice == Json("auto")) return ToolChoice::kAuto;
  if (choice == Json("none")) return ToolChoice::kNone;
  if (choice == Json("required")) return ToolChoice::kRequired;
  const Json* function = choice.Find("function");
  const Json* wanted = (function != nullptr ? *function : choice).Find("name");
  if (wanted == nullptr || !wanted->is_string())
    throw GrammarError("tool_choice",
                       "is not \"none\", \"auto\", \"required\" or a function by name");
  *name = wanted->AsString();
  if (std::none_of(tools.begin(), tools.end(),
                   [&](const Tool& tool) { return tool.name == *name; }))
    throw GrammarError("tool_choice", fmt::format("no tool is called {}", Quoted(*name)));
  return ToolChoice::kNamed;
}

class AnswerCompiler {
 public:
  explicit AnswerCompiler(const AnswerFormat& format) : format_(format), rules_(&builder_) {}

  std::shared_ptr<const AnswerGrammar> Run() {
    std::string named;
    std::vector<Tool> tools = ReadTools(format_.tools);
    answer_->tool_choice = ReadChoice(format_.tool_choice, tools, &named);
    const ToolChoice choice = answer_->tool_choice;
    if (choice == ToolChoice::kNamed)
      std::erase_if(tools, [&](const Tool& tool) { return tool.name != named; });
    answer_->reads_tools = choice == ToolChoice::kAuto || choice == ToolChoice::kRequired ||
                           choice == ToolChoice::kNamed;
    int32_t root = -1;
    if (choice == ToolChoice::kRequired || choice == ToolChoice::kNamed) {
      root = Calls(tools, format_.parallel_tool_calls && choice == ToolChoice::kRequired);
      answer_->opening = format_.tool_format == ToolFormat::kToolcallList
                             ? std::string(kToolcallTag) + "["
                             : std::string(kToolCallTag);
    } else {
      root = Content();
      if (choice == ToolChoice::kAuto) {
        const int32_t calls = Calls(tools, format_.parallel_tool_calls);
        if (root >= 0) {
          const int32_t either = builder_.NewRule();
          for (const int32_t rule : {root, calls})
            builder_.SetFinal(builder_.CallRule(builder_.Start(either), rule));
          root = either;
        } else {
          root = TextAround(tools);
        }
      } else if (choice == ToolChoice::kNone && root < 0) {
        root = builder_.NewRule();
        FreeText(builder_.Start(root), Tag(), -1, -1);
      }
    }
    if (root < 0) return nullptr;
    try {
      answer_->grammar = builder_.Finish(root);
    } catch (const GrammarError& e) {
      throw GrammarError(field_.empty() ? "tools" : field_, WithoutPlace(e));
    }
    return answer_;
  }

 private:
  static std::string WithoutPlace(const GrammarError& e) {
    return std::string(e.what()).substr(e.pointer().size() + 2);
  }
  std::string_view Tag() const {
    return format_.tool_format == ToolFormat::kToolcallList ? kToolcallTag : kToolCallTag;
  }

  int32_t Schema(const Json& schema, const std::string& field) {
    field_ = field;
    try {
      CheckSchemaSize(schema, "#");
      compilers_.emplace_back(&schema, "#", &rules_);
      return compilers_.back().Compile();
    } catch (const GrammarError& e) {
      throw GrammarError(field + e.pointer(), WithoutPlace(e));
    }
  }

  // The rule of the answer's content, -1 if it is free.
  int32_t Content() {
    const int32_t by_format = ResponseFormat();
    const int32_t by_output = StructuredOutputs();
    if (by_format >= 0 && by_output >= 0)
      throw GrammarError("structured_outputs", "cannot stand together with response_format");
    return std::max(by_format, by_output);
  }

  int32_t ResponseFormat() {
    const Json& format = format_.response_format;
    if (format.is_null()) return -1;
    const Json* type = format.Find("type");
    if (type == nullptr || !type->is_string())
      throw GrammarError("response_format.type", "is missing, expected a string");
    if (type->AsString() == "text") return -1;
    if (type->AsString() == "json_object") return rules_.Object();
    if (type->AsString() != "json_schema")
      throw GrammarError("response_format.type",
                         fmt::format("is {}, expected text, json_object or json_schema",
                                     Quoted(type->AsString())));
    const Json* nested = format.Find("json_schema");
    const Json* schema = (nested != nullptr ? *nested : format).Find("schema");
    const std::string field =
        nested != nullptr ? "response_format.json_schema.schema" : "response_format.schema";
    if (schema == nullptr) throw GrammarError(field, "is missing, expected a schema");
    return Schema(*schema, field);
  }

  int32_t StructuredOutputs() {
    const Json& outputs = format_.structured_outputs;
    if (outputs.is_null()) return -1;
    if (!outputs.is_object())
      throw GrammarError("structured_outputs",
                         fmt::format("is {}, expected an object", outputs.type_name()));
    int32_t rule = -1;
    for (const auto& [key, value] : outputs.AsObject()) {
      if (value.is_null() || (key == "json_object" && value == Json(false))) continue;
      const std::string field = "structured_outputs." + key;
      if (rule >= 0)
        throw GrammarError(field,
                           "only one of json, regex, choice, grammar, json_object can be given");
      field_ = field;
      if (key == "json") {
        rule = value.is_string() ? Schema(ParsedSchema(value.AsString(), field), field)
                                 : Schema(value, field);
      } else if (key == "json_object") {
        rule = rules_.Object();
      } else if (key == "choice") {
        rule = Choice(value, field);
      } else if (key == "regex" || key == "grammar") {
        if (!value.is_string())
          throw GrammarError(field, fmt::format("is {}, expected a string", value.type_name()));
        try {
          rule = key == "regex" ? CompileRegex(value.AsString(), RegexUse::kWhole, field, &rules_)
                                : CompileGrammarText(value.AsString(), &rules_);
        } catch (const GrammarError& e) {
          throw e.pointer() == field ? e : GrammarError(field, e.what());
        }
      } else {
        throw GrammarError(field,
                           "is not supported (json, regex, choice, grammar and json_object are)");
      }
    }
    return rule;
  }

  const Json& ParsedSchema(const std::string& text, const std::string& field) {
    try {
      parsed_ = ParseJson(text, field);
    } catch (const Error& e) {
      throw GrammarError(field, e.what());
    }
    return parsed_;
  }

  int32_t Choice(const Json& choices, const std::string& field) {
    if (!choices.is_array() || choices.AsArray().empty())
      throw GrammarError(field, "is no list of strings");
    const int32_t rule = builder_.NewRule();
    for (const Json& choice : choices.AsArray()) {
      if (!choice.is_string()) throw GrammarError(field, "is no list of strings");
      builder_.SetFinal(builder_.Text(builder_.Start(rule), choice.AsString()));
    }
    return rule;
  }

  // The schema of a tool's arguments. One that is not supported is an error only if the tool asks for strictness: many
  // clients send schemas that merely describe.
  int32_t Arguments(const Tool& tool) {
    if (tool.parameters == nullptr) return rules_.Object();
    try {
      return Schema(*tool.parameters, tool.pointer);
    } catch (const GrammarError& e) {
      if (tool.is_strict) throw;
      answer_->unbound.push_back(fmt::format("{}: {}", tool.name, e.what()));
      return rules_.Object();
    }
  }

  // {"name": "f", "arguments": {...}} of any of the tools.
  int32_t Element(const std::vector<Tool>& tools) {
    const int32_t rule = builder_.NewRule();
    const int32_t end = builder_.NewState();
    builder_.SetFinal(end);
    int32_t at = rules_.Spaced(rules_.Spaced(builder_.Start(rule), "{"), "\"name\"");
    const int32_t name = rules_.Spaced(at, ":");
    for (const Tool& tool : tools) {
      std::string quoted;
      AppendJsonString(tool.name, &quoted);
      at = rules_.Spaced(rules_.Spaced(rules_.Spaced(name, quoted), ","), "\"arguments\"");
      at = builder_.CallRule(rules_.Spaced(at, ":"), Arguments(tool));
      builder_.Byte(builder_.CallRule(at, rules_.Space()), '}', '}', end);
    }
    return rule;
  }

  // What follows an opening tag, its closing tag included.
  int32_t Body(const std::vector<Tool>& tools, bool is_parallel) {
    if (format_.tool_format == ToolFormat::kToolCallTags) return TagBody(tools);
    const bool is_list = format_.tool_format == ToolFormat::kToolcallList;
    const int32_t element = Element(tools);
    const int32_t inner = is_list ? rules_.List({element}, is_parallel ? element : -1, 1,
                                                is_parallel ? kUnbounded : 1)
                                  : element;
    const int32_t rule = builder_.NewRule();
    int32_t at = builder_.CallRule(builder_.CallRule(builder_.Start(rule), rules_.Space()), inner);
    at = builder_.CallRule(at, rules_.Space());
    builder_.SetFinal(builder_.Text(at, is_list ? kToolcallEndTag : kToolCallEndTag));
    return rule;
  }

  // <function=f> <parameter=p> value </parameter> ... </function>, names in the order of the schema.
  int32_t TagBody(const std::vector<Tool>& tools) {
    const int32_t rule = builder_.NewRule();
    const int32_t name =
        builder_.Text(builder_.CallRule(builder_.Start(rule), rules_.Space()), "<function=");
    for (const Tool& tool : tools) {
      int32_t at = builder_.Text(name, tool.name + ">\n");
      const Json* properties =
          tool.parameters != nullptr ? tool.parameters->Find("properties") : nullptr;
      const Json* required =
          tool.parameters != nullptr ? tool.parameters->Find("required") : nullptr;
      static const Json::Object kNone;  // no temporary: rules are known by their schema's address
      const bool has_any = properties != nullptr && properties->is_object();
      for (const auto& [key, schema] : has_any ? properties->AsObject() : kNone) {
        const int32_t next = builder_.NewState();
        const int32_t value = builder_.Text(at, "<parameter=" + key + ">\n");
        const int32_t after = Value(schema, tool, value);
        builder_.Jump(after, next);
        const bool is_needed = required != nullptr && required->is_array() &&
                               std::find(required->AsArray().begin(), required->AsArray().end(),
                                         Json(key)) != required->AsArray().end();
        if (!is_needed) builder_.Jump(at, next);
        at = next;
      }
      builder_.SetFinal(builder_.Text(at, "</function>\n</tool_call>"));
    }
    return rule;
  }

  // A value and "\n</parameter>\n": text as it is if the schema asks for a string, JSON otherwise.
  int32_t Value(const Json& schema, const Tool& tool, int32_t from) {
    constexpr std::string_view kEnd = "\n</parameter>\n";
    const Json* type = schema.Find("type");
    const Json* choices = schema.Find("enum");
    const bool is_text = type == nullptr || *type == Json("string");
    if (is_text && choices != nullptr && choices->is_array()) {
      const int32_t to = builder_.NewState();
      for (const Json& choice : choices->AsArray())
        builder_.Jump(
            builder_.Text(from, (choice.is_string() ? choice.AsString() : DumpJson(choice)) +
                                    std::string(kEnd)),
            to);
      return to;
    }
    if (is_text) {
      const int32_t to = builder_.NewState();
      FreeText(from, kEnd, to, -1);
      return to;
    }
    int32_t rule = -1;
    try {
      rule = Schema(schema, tool.pointer);
    } catch (const GrammarError& e) {
      if (tool.is_strict) throw;
      answer_->unbound.push_back(fmt::format("{}: {}", tool.name, e.what()));
      rule = rules_.Value();
    }
    return builder_.Text(builder_.CallRule(from, rule), kEnd);
  }

  // One or several calls, tags included.
  int32_t Calls(const std::vector<Tool>& tools, bool is_parallel) {
    const int32_t one = builder_.NewRule();
    builder_.SetFinal(builder_.CallRule(builder_.Text(builder_.Start(one), Tag()),
                                        body_ = Body(tools, is_parallel)));
    if (!is_parallel || format_.tool_format == ToolFormat::kToolcallList) return one;
    const int32_t rule = builder_.NewRule(), more = builder_.NewRule();
    builder_.SetFinal(
        builder_.CallRule(builder_.CallRule(builder_.Start(more), rules_.Space()), one));
    builder_.SetFinal(
        builder_.Repeat(builder_.CallRule(builder_.Start(rule), one), more, 0, kUnbounded));
    return rule;
  }

  // Free text in which each opening tag begins a call that holds. Without parallel calls nothing but white space follows one.
  int32_t TextAround(const std::vector<Tool>&) {
    const int32_t rule = builder_.NewRule(), tag = builder_.NewState();
    const int32_t start = builder_.NewState();
    builder_.Jump(builder_.Start(rule), start);
    FreeText(start, Tag(), tag, start);
    const int32_t after = builder_.CallRule(tag, body_);
    if (format_.parallel_tool_calls) {
      builder_.Jump(after, start);
    } else {
      builder_.SetFinal(builder_.CallRule(after, rules_.Space()));
    }
    return rule;
  }

  // Any bytes up to `end`, which leads to `to`, or is not allowed if `to` is negative. The state number is how much of
  // `end` stands at the end of the text; its first byte occurs in it once more at most as a new beginning. The text may end
  // anywhere unless it must come to `to` (final < 0 and to >= 0).
  void FreeText(int32_t from, std::string_view end, int32_t to, int32_t final) {
    std::vector<int32_t> states = {from};
    for (size_t k = 1; k < end.size(); ++k) states.push_back(builder_.NewState());
    const bool may_end = to < 0 || final >= 0;
    for (size_t k = 0; k < end.size(); ++k) {
      if (may_end) builder_.SetFinal(states[k]);
      // Knuth, Morris and Pratt: where each byte leads.
      std::vector<int32_t> next(256);
      for (int byte = 0; byte < 256; ++byte) {
        std::string text(end.substr(0, k));
        text += static_cast<char>(byte);
        size_t keep = std::min(text.size(), end.size());
        while (keep > 0 && text.substr(text.size() - keep) != end.substr(0, keep)) --keep;
        next[static_cast<size_t>(byte)] = keep == end.size() ? to : states[keep];
      }
      for (int first = 0; first < 256;) {
        int last = first;
        while (last + 1 < 256 &&
               next[static_cast<size_t>(last) + 1] == next[static_cast<size_t>(first)])
          ++last;
        if (next[static_cast<size_t>(first)] >= 0)
          builder_.Byte(states[k], static_cast<uint8_t>(first), static_cast<uint8_t>(last),
                        next[static_cast<size_t>(first)]);
        first = last + 1;
      }
    }
  }

  const AnswerFormat& format_;
  std::shared_ptr<AnswerGrammar> answer_ = std::make_shared<AnswerGrammar>();
  GrammarBuilder builder_;
  JsonRules rules_;
  std::deque<SchemaCompiler> compilers_;  // they own schemas that rules are known by
  Json parsed_;
  std::string field_;  // what is being compiled
  int32_t body_ = -1;
};

}  // namespace

std::shared_ptr<const AnswerGrammar> CompileAnswerGrammar(const AnswerFormat& format) {
  return AnswerCompiler(format).Run();
}

}  // namespace planish
