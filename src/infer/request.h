// SPDX-License-Identifier: Apache-2.0
// What an engine is asked and what it answers: ids only, never text. Callbacks and hooks are called on the engine's thread;
// one that throws ends its own request with kError.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "infer/hook.h"
#include "infer/sampler.h"

namespace planish {

enum class FinishReason { kStop, kLength, kCancelled, kError };
const char* Name(FinishReason reason);

using TopLogprobs = std::vector<std::pair<int32_t, double>>;  // the largest first

struct TokenEvent {
  int32_t id = 0;
  double logprob =
      0;  // of the raw distribution (before bias, penalties, mask, temperature); NaN if forced
  bool forced = false;
  bool is_end = false;  // an end-of-sequence id: it is part of the ids, not of the text
  TopLogprobs top;      // the request's top_logprobs largest
};

struct Request {
  std::vector<int32_t> prompt;  // at least one id
  size_t max_new_tokens = 0;
  SamplingParams sampling;
  std::vector<int32_t> end_ids;  // end-of-sequence ids
  bool ignore_end = false;       // go on after them
  size_t top_logprobs = 0;
  std::vector<std::shared_ptr<TokenHook>> hooks;

  // log p of prompt id t given ids 0..t-1, for t >= max(1, prompt_logprobs_from); what lies before may come from the cache.
  bool prompt_logprobs = false;
  size_t prompt_logprobs_from = 1;
  size_t prompt_top_logprobs = 0;  // of the same positions

  int priority = 0;  // lower first; a level is gained by every 30 s of waiting
  bool is_background =
      false;  // runs while there is nothing else to do, cancelled as soon as there is

  // Prompt lengths at which a later prompt may leave this one (infer/conversation.h): cuts for the arithmetic, so they must be a
  // function of the prompt alone, and places where a hybrid's state is kept. Ignored by models whose states can be cut back.
  std::vector<size_t> snapshot_at;
  bool cache_prompt = true;  // look for computed prefixes, and keep what is computed
  bool keeps_end = false;    // a hybrid's state after the answer is of use: later prompts repeat it
  bool takes_answers =
      true;  // resume from answers too: in fast arithmetic equal to a cold run only within rounding
  std::string cache_salt;  // only requests of the same salt share prefixes

  std::function<void(const TokenEvent&)> on_token;
  // After each slice of the prompt: tokens done, of how many, and how many of them came from the cache.
  std::function<void(size_t done, size_t total, size_t cached)> on_progress;
  // Asked before every step; may be null. A paused sequence keeps its place and state, and takes no rows.
  std::function<bool()> is_cancelled, is_paused;
};

struct RequestResult {
  std::vector<int32_t> ids;  // new ids, forced ones and the end included
  FinishReason finish = FinishReason::kStop;
  std::string error;                     // for kError
  std::exception_ptr exception;          // what a callback, a hook or a failed step threw
  std::vector<double> prompt_logprobs;   // of prompt ids from prompt_logprobs_from on
  std::vector<TopLogprobs> prompt_tops;  // of the same, when asked for
  size_t matched_tokens = 0;             // prompt tokens that stood in the cache
  size_t resumed_tokens = 0;             // of these, what did not have to be computed
  double queue_s = 0;                    // from submission to the first admission
  double prompt_s = 0;                   // from there to the first sampled token
  double decode_s = 0;                   // from there to the end
};

}  // namespace planish
