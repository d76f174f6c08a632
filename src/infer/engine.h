// SPDX-License-Identifier: Apache-2.0
// Continuous batching over slots: every step takes one decode row of each running sequence and prefill slices of waiting
// prompts through Model::Step, and the head only on rows that sample. Knows ids only, never text. A row's result does not
// depend on its neighbours, so a request gives the same tokens alone and in any batch. Used by one thread.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "infer/hook.h"
#include "infer/sampler.h"
#include "model/model.h"

namespace planish {

enum class FinishReason { kStop, kLength, kCancelled, kError };
const char* Name(FinishReason reason);

struct TokenEvent {
  int32_t id = 0;
  double logprob =
      0;  // of the raw distribution (before bias, penalties, mask, temperature); NaN if forced
  bool forced = false;
  bool is_end = false;  // an end-of-sequence id: it is part of the ids, not of the text
  std::vector<std::pair<int32_t, double>> top;  // the request's top_logprobs largest
};

// A state to start from, and where it stands; made by snapshots of earlier requests.
struct StateSnapshot {
  std::vector<int32_t> ids;  // the tokens it has consumed
  SequenceState state;
};

struct Request {
  std::vector<int32_t> prompt;  // at least one id
  size_t max_new_tokens = 0;
  SamplingParams sampling;
  std::vector<int32_t> end_ids;  // end-of-sequence ids
  bool ignore_end = false;       // go on after them
  size_t top_logprobs = 0;
  bool prompt_logprobs = false;  // log p of prompt id t+1 given ids 0..t, reported with the result
  std::vector<std::shared_ptr<TokenHook>> hooks;
  std::shared_ptr<const StateSnapshot> resume;  // its ids must be a proper prefix of the prompt
  std::vector<size_t> snapshot_at;              // prompt lengths at which to keep a snapshot
  std::function<void(const TokenEvent&)> on_token;
  std::function<bool()> is_cancelled;  // asked before every step; may be null
};

struct RequestResult {
  std::vector<int32_t> ids;  // new ids, forced ones and the end included
  FinishReason finish = FinishReason::kStop;
  std::string error;                    // for kError
  std::vector<double> prompt_logprobs;  // [prompt - 1] when asked for
  std::vector<std::shared_ptr<const StateSnapshot>> snapshots;
  size_t resumed_tokens = 0;  // prompt tokens that did not have to be computed
  double prompt_s = 0;        // from admission to the first sampled token
  double decode_s = 0;        // from there to the end
};

struct EngineOptions {
  size_t slots = 1;
  size_t step_tokens = 512;  // rows of a step, decode rows first
  size_t context = 0;        // positions a sequence may have; 0: the model's
};

class Engine {
 public:
  explicit Engine(const Model* model, EngineOptions options = {});
  ~Engine();

  using Id = uint64_t;
  using DoneCallback = std::function<void(const RequestResult&)>;
  // Error(kUsage) if the prompt is empty, has ids outside the vocabulary or does not fit the context, or if a sampling
  // parameter is out of its range. max_new_tokens is lowered to what is left of the context.
  Id Submit(Request request, DoneCallback done);
  void Cancel(Id id);
  // One step over all running sequences. False when there is nothing to do.
  bool Step();
  void RunUntilIdle() {
    while (Step()) {
    }
  }
  // Convenience: one request to its end.
  RequestResult Run(Request request);
  size_t context() const { return context_; }
  size_t state_bytes() const;  // of all running sequences

 private:
  struct Sequence;
  struct StepPlan;
  void Admit();
  StepPlan Plan();
  void Apply(const StepPlan& rows, const float* hidden);
  void PromptLogprobs(Sequence* sequence, const float* hidden, size_t first, size_t count);
  void Sample(Sequence* sequence, std::span<float> logits);
  void Append(Sequence* sequence, int32_t id, bool forced, TokenEvent event);
  void Finish(Sequence* sequence, FinishReason reason, std::string error = {});

  const Model* model_;
  EngineOptions options_;
  size_t context_;
  Workspace workspace_;
  std::list<std::unique_ptr<Sequence>> waiting_, running_;
  Id next_id_ = 1;
};

}  // namespace planish
