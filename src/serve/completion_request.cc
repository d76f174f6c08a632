// SPDX-License-Identifier: Apache-2.0
// The body of /v1/completions: prompts as text or ids, one or many.
#include "serve/chat_request.h"

namespace planish {
namespace {

constexpr size_t kPrompts = 256;
constexpr size_t kDefaultTokens = 16;

bool IsIdList(const Json& value) {
  return value.is_array() && !value.AsArray().empty() && value.AsArray()[0].is_number();
}

GenerationPlan::PromptPlan ReadPrompt(const Pretrained& opened, const Json& value,
                                      const std::string& place) {
  GenerationPlan::PromptPlan prompt;
  if (value.is_string()) {
    prompt.text = value.AsString();
    prompt.prompt = EncodeText(opened, prompt.text, /*parse_special=*/true);
    // A client that rendered the chat template has its BOS in the text: it is not doubled.
    std::vector<int32_t>& ids = prompt.prompt.ids;
    const std::vector<int32_t>& bos = opened.tokenizer->PrefixIds();
    const auto n = static_cast<ptrdiff_t>(bos.size());
    if (ids.size() >= 2 * bos.size() && std::equal(bos.begin(), bos.end(), ids.begin() + n))
      ids.erase(ids.begin(), ids.begin() + n);
    if (prompt.prompt.ids.empty())
      throw InvalidValue(place, "{} is empty, expected at least one token", place);
    return prompt;
  }
  if (!value.is_array() || value.AsArray().empty())
    throw InvalidValue(place, "{} is {}, expected text or a list of token ids", place,
                       value.is_array() ? "an empty list" : value.type_name());
  const auto vocab_size = static_cast<int64_t>(opened.config.vocab_size);
  prompt.prompt.ids.reserve(value.AsArray().size());
  for (const Json& id : value.AsArray()) {
    if (!id.is_integer() || id.AsInt() < 0 || id.AsInt() >= vocab_size)
      throw InvalidValue(place, "{} has a token id that is none, expected 0 to {}", place,
                         vocab_size - 1);
    prompt.prompt.ids.push_back(static_cast<int32_t>(id.AsInt()));
  }
  return prompt;
}

}  // namespace

GenerationPlan ReadCompletionRequest(ServeState* state, const Json& body) {
  Fields fields(body);
  const Pretrained& opened = state->engine->opened();
  GenerationPlan plan;
  plan.endpoint = "/v1/completions";
  plan.is_raw = true;
  CheckModel(*state, &fields);
  plan.fields = ReadGenerationFields(&fields, opened, "");
  plan.fields.max_tokens = plan.fields.max_tokens.value_or(kDefaultTokens);
  plan.echo = fields.Bool("echo").value_or(false);
  if (*plan.fields.max_tokens == 0 && !plan.echo)
    throw InvalidValue("max_tokens", "max_tokens is 0, which only echo can use");
  if (const auto logprobs = fields.Int("logprobs", 0, kTopLogprobs)) {
    plan.wants_logprobs = true;
    plan.top_logprobs = static_cast<size_t>(*logprobs);
  }
  if (plan.fields.stream && plan.echo && plan.wants_logprobs)
    throw Unsupported("stream", "echo with logprobs cannot be streamed");
  if (const auto best_of = fields.Int("best_of", 1, kChoicesPerPrompt);
      best_of && static_cast<size_t>(*best_of) != plan.fields.n)
    throw Unsupported("best_of", "best_of is {}, only the value of n is supported", *best_of);
  if (const auto suffix = fields.Text("suffix"); suffix && !suffix->empty())
    throw Unsupported("suffix", "suffix is not supported: this model does not fill in the middle");
  AnswerFormat format;
  if (const Json* found = fields.Find("response_format")) format.response_format = *found;
  if (const Json* found = fields.Find("structured_outputs")) format.structured_outputs = *found;
  BindAnswer(state, std::move(format), &plan);
  const Json* prompt = fields.Find("prompt");
  if (prompt == nullptr) throw InvalidValue("prompt", "prompt is missing");
  if (prompt->is_string() || IsIdList(*prompt)) {
    plan.prompts.push_back(ReadPrompt(opened, *prompt, "prompt"));
  } else {
    if (!prompt->is_array() || prompt->AsArray().empty())
      throw InvalidValue("prompt", "prompt is {}, expected text, token ids or a list of these",
                         prompt->is_array() ? "an empty list" : prompt->type_name());
    if (prompt->AsArray().size() > kPrompts)
      throw InvalidValue("prompt", "prompt has {} entries, at most {} are taken",
                         prompt->AsArray().size(), kPrompts);
    for (size_t i = 0; i < prompt->AsArray().size(); ++i)
      plan.prompts.push_back(
          ReadPrompt(opened, prompt->AsArray()[i], fmt::format("prompt[{}]", i)));
  }
  for (const auto& each : plan.prompts)
    CheckLength(*state, each.prompt.ids.size(), *plan.fields.max_tokens > 0);
  NoteUnknown(*state, fields, &plan);
  return plan;
}

}  // namespace planish
