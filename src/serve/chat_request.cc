// SPDX-License-Identifier: Apache-2.0
#include "serve/chat_request.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"

namespace planish {
namespace {

constexpr size_t kMessages = 4096;
constexpr size_t kTools = 128;
constexpr const char* kRoles[] = {"system", "developer", "user", "assistant", "tool"};

bool IsFunctionName(const std::string& name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
  });
}

std::string JoinParts(const Json& content, const std::string& path) {
  std::string text;
  for (size_t i = 0; i < content.AsArray().size(); ++i) {
    const Json& part = content.AsArray()[i];
    const std::string place = fmt::format("{}[{}]", path, i);
    if (i > 0) text += '\n';
    if (part.is_string()) {
      text += part.AsString();
      continue;
    }
    const Json* type = part.Find("type");
    if (type == nullptr || !type->is_string())
      throw InvalidValue(place, "{}.type is missing, expected \"text\"", place);
    if (*type != Json("text"))
      throw Unsupported(place, "{} is of type {}: this model reads text only", place,
                        Quoted(type->AsString()));
    const Json* value = part.Find("text");
    if (value == nullptr || !value->is_string())
      throw InvalidValue(place, "{}.text is no string", place);
    text += value->AsString();
  }
  return text;
}

// Clients send arguments as text; templates print them as JSON.
void OpenArguments(Json* calls) {
  for (Json& call : calls->AsArray()) {
    if (!call.is_object()) continue;
    Json* function = nullptr;
    for (auto& [key, value] : call.AsObject()) {
      if (key == "function" && value.is_object()) function = &value;
    }
    const Json* arguments = function == nullptr ? nullptr : function->Find("arguments");
    if (arguments == nullptr || !arguments->is_string()) continue;
    try {
      Json parsed = ParseJson(arguments->AsString(), "arguments");
      if (parsed.is_object()) function->Set("arguments", std::move(parsed));
    } catch (const Error&) {  // what a model once wrote: stays text
    }
  }
}

Json ReadToolChoice(Fields* fields, const Json& tools) {
  const Json* choice = fields->Find("tool_choice");
  if (choice == nullptr) return {};
  if (choice->is_string()) {
    const std::string& word = choice->AsString();
    if (word != "none" && word != "auto" && word != "required")
      throw InvalidValue("tool_choice",
                         "tool_choice is {}, expected none, auto, required or a function",
                         Quoted(word));
    if (word == "required" && !tools.is_array())
      throw InvalidValue("tool_choice", "tool_choice is required, but there are no tools");
    return *choice;
  }
  const Json* function = choice->Find("function");
  const Json* name = function != nullptr ? function->Find("name") : choice->Find("name");
  if (name == nullptr || !name->is_string())
    throw InvalidValue("tool_choice", "tool_choice names no function");
  if (ToolParameters(tools, name->AsString()) == nullptr) {
    bool is_known = false;
    if (tools.is_array()) {
      for (const Json& tool : tools.AsArray()) {
        const Json* inner = tool.Find("function");
        const Json* known = inner != nullptr ? inner->Find("name") : tool.Find("name");
        is_known |= known != nullptr && *known == *name;
      }
    }
    if (!is_known)
      throw InvalidValue("tool_choice", "tool_choice names {}, which is none of the tools",
                         Quoted(name->AsString()));
  }
  Json wanted = Json::MakeObject(), inner = Json::MakeObject();
  inner.Set("name", *name);
  wanted.Set("type", "function");
  wanted.Set("function", std::move(inner));
  return wanted;
}

// llama.cpp's field: none leaves the reasoning in the content.
bool ReadReasoningFormat(Fields* fields, bool default_in_content) {
  const auto format = fields->Text("reasoning_format");
  if (!format || *format == "auto") return default_in_content;
  if (*format != "none" && *format != "deepseek")
    throw InvalidValue("reasoning_format",
                       "reasoning_format is {}, expected none, deepseek or auto", Quoted(*format));
  return *format == "none";
}

}  // namespace

Json ReadMessages(const Json* messages) {
  if (messages == nullptr) throw InvalidValue("messages", "messages is missing, expected a list");
  if (!messages->is_array())
    throw InvalidValue("messages", "messages is {}, expected a list", messages->type_name());
  if (messages->AsArray().empty()) throw InvalidValue("messages", "messages is empty");
  if (messages->AsArray().size() > kMessages)
    throw InvalidValue("messages", "messages has {} entries, at most {} are taken",
                       messages->AsArray().size(), kMessages);
  Json read = *messages;
  for (size_t i = 0; i < read.AsArray().size(); ++i) {
    Json& message = read.AsArray()[i];
    const std::string place = fmt::format("messages[{}]", i);
    if (!message.is_object())
      throw InvalidValue(place, "{} is {}, expected an object", place, message.type_name());
    const Json* role = message.Find("role");
    const bool is_known =
        role != nullptr && role->is_string() &&
        std::find(std::begin(kRoles), std::end(kRoles), role->AsString()) != std::end(kRoles);
    if (!is_known)
      throw InvalidValue(place + ".role",
                         "{}.role is {}, expected system, developer, user, assistant or tool",
                         place, role == nullptr ? "missing" : Quoted(DumpJson(*role), 60));
    const Json* content = message.Find("content");
    if (content == nullptr || content->is_null()) {
      if (*role != Json("assistant"))
        throw InvalidValue(place + ".content", "{}.content is missing", place);
      message.Set("content", "");
    } else if (content->is_array()) {
      message.Set("content", JoinParts(*content, place + ".content"));
    } else if (!content->is_string()) {
      throw InvalidValue(place + ".content",
                         "{}.content is {}, expected a string or a list of parts", place,
                         content->type_name());
    }
    for (auto& [key, value] : message.AsObject()) {
      if (key == "tool_calls" && value.is_array()) OpenArguments(&value);
    }
    if (const Json* calls = message.Find("tool_calls"); calls != nullptr && calls->is_null())
      message.Remove("tool_calls");
  }
  try {
    return NormalizeMessages(std::move(read));
  } catch (const Error& error) {
    throw ApiError(400, "invalid_value", error.what(), "messages");
  }
}

Json ReadTools(const Json* tools) {
  if (tools == nullptr) return {};
  if (!tools->is_array())
    throw InvalidValue("tools", "tools is {}, expected a list", tools->type_name());
  if (tools->AsArray().empty()) return {};
  if (tools->AsArray().size() > kTools)
    throw InvalidValue("tools", "tools has {} entries, at most {} are taken",
                       tools->AsArray().size(), kTools);
  for (size_t i = 0; i < tools->AsArray().size(); ++i) {
    const Json& tool = tools->AsArray()[i];
    const std::string place = fmt::format("tools[{}]", i);
    const Json* type = tool.Find("type");
    const Json* function = tool.Find("function");
    if (type == nullptr || *type != Json("function") || function == nullptr ||
        !function->is_object())
      throw InvalidValue(place, "{} is no {{\"type\": \"function\", \"function\": {{...}}}}",
                         place);
    const Json* name = function->Find("name");
    if (name == nullptr || !name->is_string() || !IsFunctionName(name->AsString()))
      throw InvalidValue(
          place + ".function.name",
          "{}.function.name is missing or has characters other than a-z A-Z 0-9 _ - .", place);
    const Json* parameters = function->Find("parameters");
    if (parameters != nullptr && !parameters->is_null() && !parameters->is_object())
      throw InvalidValue(place + ".function.parameters", "{}.function.parameters is no object",
                         place);
  }
  return *tools;
}

ChatInputs ReadChatInputs(Fields* fields) {
  ChatInputs chat;
  chat.messages = ReadMessages(fields->Find("messages"));
  chat.tools = ReadTools(fields->Find("tools"));
  chat.tool_choice = ReadToolChoice(fields, chat.tools);
  chat.parallel_tool_calls = fields->Bool("parallel_tool_calls").value_or(true);
  if (const Json* format = fields->Find("response_format")) chat.response_format = *format;
  if (const Json* format = fields->Find("structured_outputs")) chat.structured_outputs = *format;
  if (auto kwargs = fields->Object("chat_template_kwargs")) chat.kwargs = kwargs->json();
  chat.continues_final = fields->Bool("continue_final_message").value_or(false);
  chat.add_generation_prompt =
      fields->Bool("add_generation_prompt").value_or(!chat.continues_final);
  if (chat.continues_final && chat.add_generation_prompt)
    throw InvalidValue("continue_final_message",
                       "continue_final_message excludes add_generation_prompt");
  return chat;
}

void CheckModel(const ServeState& state, Fields* fields) {
  const auto model = fields->Text("model", 256);
  if (state.settings.strict_model && model && *model != state.model_name)
    throw ApiError(404, "model_not_found",
                   fmt::format("there is no model {}, only {}", Quoted(*model), state.model_name),
                   "model");
}

void NoteUnknown(const ServeState& state, const Fields& fields, GenerationPlan* plan) {
  plan->ignored = fields.Unknown();
  if (state.settings.strict_params && !plan->ignored.empty())
    throw Unsupported(plan->ignored[0], "unknown field {} (--strict-params)",
                      Quoted(plan->ignored[0]));
  // They stand in a header line.
  for (std::string& name : plan->ignored)
    std::erase_if(name, [](char c) {
      return static_cast<unsigned char>(c) <= 0x20 || static_cast<unsigned char>(c) >= 0x7F ||
             c == ',';
    });
}

void CheckLength(const ServeState& state, size_t prompt_tokens, bool generates) {
  const size_t context = state.engine->context();
  if (prompt_tokens + (generates ? 1 : 0) <= context) return;
  throw ApiError(
      400, "context_length_exceeded",
      fmt::format("the prompt has {} tokens{}, but the context is {} tokens", prompt_tokens,
                  generates ? " and an answer needs at least one" : "", context));
}

void BindAnswer(ServeState* state, AnswerFormat format, GenerationPlan* plan) {
  try {
    plan->answer = CompileAnswerGrammar(format);
  } catch (const GrammarError& error) {
    throw ApiError(400, "invalid_schema", error.what(), error.pointer());
  }
  if (plan->answer == nullptr) return;
  state->Vocabulary();  // made here, not on the engine's thread
  if (plan->answer->reads_tools) plan->tools = std::move(format.tools);
  for (const std::string& tool : plan->answer->unbound)
    LogInfo("a tool's arguments are not bound: {}", Quoted(tool, 200));
}

void PlanChat(ServeState* state, const ChatInputs& chat, const ThinkingFields& thinking,
              GenerationPlan* plan) {
  const Pretrained& opened = state->engine->opened();
  if (opened.chat_template == nullptr || opened.tokenizer == nullptr)
    throw Unsupported("messages", "this model has no chat template: use /v1/completions");
  plan->thinking = thinking;
  BindAnswer(state,
             {.response_format = chat.response_format,
              .structured_outputs = chat.structured_outputs,
              .tools = chat.tools,
              .tool_choice = chat.tool_choice,
              .parallel_tool_calls = chat.parallel_tool_calls,
              .tool_format = state->tool_format()},
             plan);
  const ChatPromptOptions options{.thinking = thinking.toggle,
                                  .add_generation_prompt = chat.add_generation_prompt,
                                  .continues_final = chat.continues_final,
                                  .tools = chat.tools,
                                  .kwargs = chat.kwargs};
  const auto encode = [&opened, options](const Json& messages, bool add_generation_prompt) {
    ChatPromptOptions other = options;
    other.add_generation_prompt = add_generation_prompt;
    other.continues_final = false;
    return EncodeChat(opened, messages, other).ids;
  };
  GenerationPlan::PromptPlan prompt;
  const bool opens_answer = !chat.continues_final && chat.add_generation_prompt;
  const std::string settings = fmt::format("{} {} {}", static_cast<int>(options.thinking),
                                           DumpJson(options.tools), DumpJson(options.kwargs));
  const bool has_cuts = state->engine->uses_cuts();
  try {
    prompt.prompt = EncodeChat(opened, chat.messages, options);
    CheckLength(*state, prompt.prompt.ids.size(), true);
    if (opens_answer && has_cuts)  // without the cache too: cuts decide about bits
      prompt.snapshot_at = state->cuts.Find(chat.messages, prompt.prompt.ids, encode, settings);
  } catch (const Error& error) {
    if (error.code() == ExitCode::kUsage)
      throw ApiError(400, "invalid_value", error.what(), "messages");
    throw ApiError(400, "template_error", error.what(), "messages");
  }
  plan->prompts.push_back(std::move(prompt));
  if (!state->settings.warm_next_turn || !opens_answer) return;
  plan->next_turn = [state, encode, settings, has_cuts,
                     messages = chat.messages](const std::string& content) {
    Json answered = messages, answer = Json::MakeObject();
    answer.Set("role", "assistant");
    answer.Set("content", content);
    answered.Append(std::move(answer));
    GenerationPlan::NextTurn next;
    try {
      next.prompt = NextTurnPrefix(answered, encode);
      if (has_cuts && !next.prompt.empty())
        next.snapshot_at = state->cuts.Find(answered, next.prompt, encode, settings);
    } catch (const Error&) {  // a template that refuses the answer has no next turn
      next.prompt.clear();
    }
    return next;
  };
}

GenerationPlan ReadChatRequest(ServeState* state, const Json& body) {
  Fields fields(body);
  GenerationPlan plan;
  plan.endpoint = "/v1/chat/completions";
  CheckModel(*state, &fields);
  const Pretrained& opened = state->engine->opened();
  plan.fields = ReadGenerationFields(&fields, opened, "max_completion_tokens");
  ChatInputs chat = ReadChatInputs(&fields);
  plan.wants_logprobs = fields.Bool("logprobs").value_or(false);
  const auto top = fields.Int("top_logprobs", 0, kTopLogprobs);
  if (top && *top > 0 && !plan.wants_logprobs)
    throw InvalidValue("top_logprobs", "top_logprobs needs logprobs: true");
  plan.top_logprobs = static_cast<size_t>(top.value_or(0));
  ThinkingFields thinking = ReadThinkingFields(&fields, opened.thinking, state->settings.thinking,
                                               chat.messages, &chat.kwargs);
  plan.reasoning_in_content = ReadReasoningFormat(&fields, state->settings.reasoning_in_content);
  // What such a client does with its tokens is its own affair: the content is not empty anyway, and the two-call way to a
  // budget wants the first call cut off in the reasoning.
  if (plan.reasoning_in_content && fields.Find("answer_reserve") == nullptr)
    thinking.answer_reserve = 0;
  NoteUnknown(*state, fields, &plan);
  PlanChat(state, chat, thinking, &plan);
  return plan;
}

}  // namespace planish
