// SPDX-License-Identifier: Apache-2.0
// A chat completion's body to what the engine is asked: messages through the template, thinking, tools, format of the answer.
#pragma once

#include "serve/generation.h"

namespace planish {

// What /v1/chat/completions and /v1/responses have in common once their own spelling is read.
struct ChatInputs {
  Json messages;
  Json tools;        // null or OpenAI's list
  Json tool_choice;  // null, "none", "auto", "required" or {"type":"function","function":{"name"}}
  bool parallel_tool_calls = true;
  Json response_format, structured_outputs;  // null: free text
  Json kwargs;                               // chat_template_kwargs
  bool add_generation_prompt = true, continues_final = false;
};

// ApiError 400 with the field's name, 404 for another model under --strict-model.
GenerationPlan ReadChatRequest(ServeState* state, const Json& body);
GenerationPlan ReadCompletionRequest(ServeState* state, const Json& body);
GenerationPlan ReadResponsesRequest(ServeState* state, const Json& body);

// Pieces of the above, for /v1/responses and /apply-template.
ChatInputs ReadChatInputs(Fields* fields);
// Renders and encodes, sets the tools and the grammar.
void PlanChat(ServeState* state, const ChatInputs& chat, const ThinkingFields& thinking,
              GenerationPlan* plan);
// Compiles what the answer must look like. ApiError 400 invalid_schema.
void BindAnswer(ServeState* state, AnswerFormat format, GenerationPlan* plan);
void CheckModel(const ServeState& state, Fields* fields);
void NoteUnknown(const ServeState& state, const Fields& fields, GenerationPlan* plan);
// 400 context_length_exceeded if a prompt and one token do not fit.
void CheckLength(const ServeState& state, size_t prompt_tokens, bool generates);

// Messages as the template wants them: parts joined, null content empty, arguments of calls as objects. ApiError 400.
Json ReadMessages(const Json* messages);
Json ReadTools(const Json* tools);

}  // namespace planish
