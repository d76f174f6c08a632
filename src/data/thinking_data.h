// SPDX-License-Identifier: Apache-2.0
// Rewriting SFT conversations so that a model learns the thinking toggle and the thinking budget.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "data/dialogue.h"
#include "text/tokenizer.h"

namespace planish {

// The same prompt in both modes: {with reasoning and "enable_thinking": true, without and false}. `off_answer`, when given,
// replaces the last answer of the second (the paper takes it from a model that does not reason). False if the last
// assistant message has no reasoning.
bool MakeThinkingPair(const Dialogue& dialogue, const Json* off_answer, Json* on, Json* off);
// The messages before the last assistant message, as text: what tells prompts apart. Empty without an assistant message.
std::string PromptKey(const Dialogue& dialogue);
// The last assistant message without its reasoning; null if there is none.
Json FinalAnswer(const Dialogue& dialogue);

// Truncated traces, so that a close forced by a thinking budget still gives a well-formed answer: the reasoning of the
// last assistant message is cut after n tokens, n uniform in [min_tokens, max_tokens], the original answer follows, and
// "train_reasoning": false keeps the loss on the answer.
struct TruncateThinking {
  uint64_t min_tokens = 1000, max_tokens = 2000;
  // Cut at the last newline among the n tokens, or at the next one within max_tokens, if min_tokens remain before it, as
  // the server closes softly; else, and when false, behind token n, with a full stop where no sentence ends.
  bool at_newline = true;
  double fraction = 0.05;  // of the lines, chosen by (seed, line)
  uint64_t seed = 1234;

  enum class Result { kNotChosen, kNoReasoning, kTooShort, kTruncated };
  // `out` is the line to write; unless kTruncated, it is the line as it was.
  Result Apply(const Tokenizer& tokenizer, uint64_t line, const Dialogue& dialogue,
               Json* out) const;
};

}  // namespace planish
