// SPDX-License-Identifier: Apache-2.0
// What an evaluation asks of a model, wherever it runs: the seam between tasks and the engine in this process (or a server by
// URL). Texts in, texts out; nothing here knows token ids.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"

namespace planish {

// How much the model may think: 0 off, -1 as long as it likes, else at most so many tokens.
struct ThinkingSetting {
  int64_t budget = 0;
  bool is_off() const { return budget == 0; }
  bool has_budget() const { return budget > 0; }
  bool operator==(const ThinkingSetting&) const = default;
};
std::string Name(const ThinkingSetting& setting);  // "off", "on", "64"

struct TextRequest {
  enum class Kind {
    kGenerateUntil,  // write on, up to a stop string, the end or the limit
    kLoglikelihood,  // log-probability of `continuation` behind the context
  };
  Kind kind = Kind::kGenerateUntil;
  // The context: a chat through the model's template, or plain text where `messages` is null.
  Json messages, tools;
  std::string prompt;
  std::string continuation;
  std::vector<std::string>
      stop;  // cut from the answer and searched there only, never in the reasoning
  size_t answer_tokens = 256;  // behind the reasoning, which does not count
  double temperature = 0, top_p = 1;
  uint64_t seed = 0, choice = 0;  // the draw is a function of both and the position
};

// How the reasoning ended: not begun; closed by the model; closed for it at the budget, or where the answer's tokens begin; not at
// all before the text ended.
enum class ReasoningEnd { kNone, kNatural, kBudget, kReserve, kUnclosed };
const char* Name(ReasoningEnd end);

struct TextReply {
  std::string text;               // everything, tags included
  std::string reasoning, answer;  // `answer` is empty while the reasoning is open
  size_t prompt_tokens = 0, tokens = 0, reasoning_tokens = 0;
  ReasoningEnd end = ReasoningEnd::kNone;
  bool is_cut = false;       // the answer met its limit
  bool is_too_long = false;  // the prompt leaves no room for an answer: nothing was generated
  double logprob = 0;        // kLoglikelihood: natural, summed over the continuation
  std::string error;         // the model failed on this request, e.g. logits that are not finite
};

class TextGenerator {
 public:
  virtual ~TextGenerator() = default;
  virtual bool has_thinking() const = 0;
  // Answers all requests in any order and calls `done` with the index of each. Error(kUsage) for what the model cannot do.
  using Done = std::function<void(size_t index, TextReply reply)>;
  virtual void Run(std::span<const TextRequest> requests, const ThinkingSetting& thinking,
                   const Done& done) = 0;
  // Name, arithmetic, machine: what a result has to say about the model.
  virtual Json Describe() const = 0;
};

}  // namespace planish
