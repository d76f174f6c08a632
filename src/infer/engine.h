// SPDX-License-Identifier: Apache-2.0
// Continuous batching over slots: every step takes one decode row of each running sequence and prefill slices of waiting
// prompts through Model::Step, and the head only on rows that sample. Knows ids only, never text. A row's result does not
// depend on its neighbours, so a request gives the same tokens alone and in any batch, from a warm cache and a cold one,
// preempted and not. Used by one thread.
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "infer/engine_stats.h"
#include "infer/pace.h"
#include "infer/prefix_cache.h"
#include "infer/request.h"
#include "model/model.h"

namespace planish {

struct ForkPoint;
struct Sequence;

struct EngineOptions {
  size_t slots = 1;
  size_t step_tokens = 512;   // rows of a step, decode rows first
  size_t context = 0;         // positions a sequence may have; 0: the model's
  size_t cache_bytes = 0;     // of states kept for later prompts (PrefixCache); 0: none
  size_t context_memory = 0;  // bytes of running sequences' states; 0: no limit
  size_t answer_room = 1024;  // tokens of an answer that a request finds memory for when it starts
  double max_itl_ms = 0;      // see Pace
  double background_rest_s =
      0;  // background work waits so long: who asks again at once need not wait for its step
  bool packs_cache = false;  // PrefixCache::PackSsm: half the memory, no longer exact
  // Where the cache keeps states beyond evictions and restarts (StateFolder); empty: nowhere.
  std::string cache_dir;
  uint64_t cache_dir_bytes = uint64_t{20} << 30;
  std::string fingerprint;  // StateFingerprint of the model, with a cache_dir
};

// The type in which a cache with `packs_cache` keeps SSM states if it is not the model's: for StateFingerprint.
std::optional<DType> CacheSsmType(const Model& model, bool packs);

class Engine {
 public:
  explicit Engine(const Model* model, EngineOptions options = {});
  ~Engine();

  using Id = uint64_t;
  using DoneCallback = std::function<void(const RequestResult&)>;
  // Error(kUsage) if the prompt is empty, has ids outside the vocabulary or does not fit the context, or if a sampling
  // parameter is out of its range; Error(kNoMemory) if its states alone exceed the context memory. max_new_tokens is lowered
  // to what is left of both.
  Id Submit(Request request, DoneCallback done);
  // Requests of one prompt (and equal snapshot_at), which is computed once: n choices. Each has its own sampling, hooks and
  // callbacks, and gives what it gives alone.
  std::vector<Id> SubmitGroup(std::vector<Request> requests, std::vector<DoneCallback> done);
  void Cancel(Id id);
  // One step over all running sequences. False when there is nothing to do. Where all that run are paused it computes
  // nothing, which last_step() shows.
  bool Step();
  void RunUntilIdle() {
    while (Step()) {
    }
  }
  // With a cache_dir: writes one state that is not there yet, and all of them; for idle moments and before the end. A server
  // that never calls them finds only evicted ones again. False when there was nothing to write.
  bool SaveOne() { return cache_ != nullptr && cache_->SaveOne(); }
  void SaveAll() {
    while (SaveOne()) {
    }
  }
  // Convenience: one request to its end. What its callbacks threw is thrown again.
  RequestResult Run(Request request);

  size_t context() const { return context_; }
  size_t state_bytes() const;  // of all running sequences, shared pages counted in full
  const StepInfo& last_step() const { return last_step_; }
  const Pace& pace() const { return pace_; }
  EngineStats stats() const;
  std::vector<SlotInfo> slots() const;  // running ones, then those that wait, in order of arrival
  // Whether it is worth finding Request::snapshot_at.
  bool uses_cuts() const { return cache_ != nullptr && size_.is_recurrent(); }
  const PrefixCache* cache() const { return cache_.get(); }  // null: none

 private:
  struct StepPlan;
  struct Drawn;
  using Sequences = std::list<std::unique_ptr<Sequence>>;

  // engine.cc
  std::unique_ptr<Sequence> MakeSequence(Request request, DoneCallback done);
  Id Enqueue(std::unique_ptr<Sequence> sequence);
  void CancelAsked();
  void Retire();
  StepPlan Plan();
  template <typename Function>
  bool Guard(Sequence* sequence, const Function& call);
  void Fail(Sequence* sequence);
  void Finish(Sequence* sequence, FinishReason reason, std::string error = {});
  // engine_admission.cc
  void Admit();
  Sequences::iterator NextWaiting();
  void Start(Sequence* sequence);
  void Resume(Sequence* sequence);
  void LeaveAtFork(Sequence* sequence);
  size_t Reserved(const Sequence& sequence) const;
  bool HasRoom(const Sequence& sequence) const;
  void PreemptUntilItFits();
  void Preempt(Sequences::iterator sequence);
  void DropBackground();
  void KeepAtCut(Sequence* sequence);
  void KeepEnd(Sequence* sequence);
  // engine_sampling.cc
  void Apply(const StepPlan& plan, const float* hidden);
  void PromptLogprobs(Sequence* sequence, const float* hidden, size_t first, size_t count);
  bool TakeForced(Sequence* sequence);
  static void TakeMask(const Sequence& sequence, Drawn* drawn);
  static void Draw(const Sequence& sequence, std::span<float> logits, Drawn* drawn);
  void Accept(Sequence* sequence, Drawn* drawn);
  void Append(Sequence* sequence, int32_t id, bool forced, TokenEvent event);

  const Model* model_;
  EngineOptions options_;
  size_t context_;
  StateSize size_;
  bool cuts_matter_, kinds_matter_;  // for the bits of results: StateOrigin
  Workspace workspace_;
  Pace pace_;
  StepInfo last_step_;
  EngineTotals totals_;
  std::unique_ptr<PrefixCache> cache_;  // null: none
  Sequences waiting_, running_;         // waiting_: in order of arrival
  Id next_id_ = 1;
};

}  // namespace planish
