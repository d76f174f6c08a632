// SPDX-License-Identifier: Apache-2.0
// The fields that chat completions, completions and responses share: how to sample, when to stop, what to report.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "infer/generate.h"
#include "serve/fields.h"

namespace planish {

inline constexpr size_t kChoicesPerPrompt = 8;
inline constexpr size_t kStopStrings = 16;
inline constexpr size_t kTopLogprobs = 20;

struct GenerationFields {
  std::optional<size_t> max_tokens;  // absent: what is left of the context
  SamplingParams sampling;
  size_t n = 1;
  std::vector<std::string> stop;
  bool stop_in_reasoning = false;
  bool ignore_eos = false;
  bool stream = false, include_usage = false, include_progress = false;
  bool return_token_ids = false;
  int priority = 0;
  bool cache_prompt = true;
  std::string cache_salt;
  std::string user;  // for the log
};

// `max_name`: the endpoint's own field for max_tokens, "" for none but max_tokens. ApiError 400 names the field.
GenerationFields ReadGenerationFields(Fields* fields, const Pretrained& opened,
                                      std::string_view max_name);

// How one request thinks (serve.md 6.3). Every spelling of the budget means the same; two values that differ are refused.
struct ThinkingFields {
  Thinking toggle = Thinking::kDefault;
  int64_t budget = -1;
  int64_t grace = -1, answer_reserve = -1;
  size_t min_tokens = 0;
  std::string close_message;
};

struct ThinkingDefaults {
  Thinking toggle = Thinking::kDefault;
  int64_t budget = -1, budget_max = -1;  // -1: none
  int64_t grace = -1;
  int64_t effort[4] = {256, 1024, 4096, -1};  // minimal, low, medium, high
};

// `kwargs`: chat_template_kwargs; what is understood here is taken out of it, the rest goes to the template. `messages` may
// hold a command of its own, which goes before the server's default.
ThinkingFields ReadThinkingFields(Fields* fields, const ThinkingSupport& support,
                                  const ThinkingDefaults& defaults, const Json& messages,
                                  Json* kwargs);

}  // namespace planish
