// SPDX-License-Identifier: Apache-2.0
// Text in, text out: what the terminal and the server share above the engine. Renders and encodes a chat, resolves the
// thinking toggle, splits the answer from the reasoning, streams both.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "infer/budget.h"
#include "infer/engine.h"
#include "model/pretrained.h"

namespace planish {

struct Prompt {
  std::vector<int32_t> ids;
  ReasoningSplitter::Mode mode =
      ReasoningSplitter::Mode::kOff;  // where the reasoning stands at its end
};

enum class Thinking { kDefault, kOn, kOff };

struct ChatPromptOptions {
  Thinking thinking = Thinking::kDefault;
  bool add_generation_prompt = true;
  // The last message, of the assistant, stays open: the prompt ends with its text. Excludes add_generation_prompt.
  bool continues_final = false;
  Json tools;   // null or a list
  Json kwargs;  // null or an object of further template variables
};
// Messages to ids through the model's chat template. `thinking` is applied in the way the template understands; Error(kUsage)
// if it is asked for and the model has none. Special tokens are matched in the template's own text only.
Prompt EncodeChat(const Pretrained& opened, const Json& messages,
                  const ChatPromptOptions& options = {});
// The same as text.
std::string RenderChat(const Pretrained& opened, const Json& messages,
                       const ChatPromptOptions& options = {});
// Plain text, with BOS if the tokenizer says so. The text of special tokens stays text unless `parse_special`.
Prompt EncodeText(const Pretrained& opened, std::string_view text, bool parse_special = false);

struct GenerateOptions {
  size_t max_new_tokens = 0;  // 0: what is left of the context
  SamplingParams sampling;
  bool ignore_end = false;
  int64_t thinking_budget = -1;
  std::vector<size_t> snapshot_at;  // as in Request
  bool keeps_end = false;
  std::function<bool()> is_cancelled;
  // Called with each piece of text as it is decided; either part may be empty.
  std::function<void(const ReasoningSplitter::Piece&)> on_piece;
  std::function<void(ThinkingBudget*)> on_start;  // hands out the budget hook, for "answer now"
};

struct Generated {
  std::vector<int32_t> ids;
  std::string text;  // all, tags included, end token excluded
  std::string reasoning;
  std::string answer;
  size_t reasoning_tokens = 0;
  ThinkingBudget::StoppedBy stopped_by = ThinkingBudget::StoppedBy::kNone;
  std::vector<double> logprobs;  // of ids; NaN where forced
  RequestResult result;
};
Generated Generate(const Pretrained& opened, Engine* engine, const Prompt& prompt,
                   const GenerateOptions& options);

// The model's own sampling defaults; temperature 1 and top_p 1 where it has none.
SamplingParams DefaultSampling(const GenerationDefaults& defaults);

}  // namespace planish
