// SPDX-License-Identifier: Apache-2.0
// What an engine is doing and has done, for metrics and status pages.
#pragma once

#include <cstddef>
#include <cstdint>

#include "infer/pace.h"
#include "infer/prefix_cache.h"

namespace planish {

// Since the engine was made.
struct EngineTotals {
  uint64_t steps = 0;
  uint64_t prompt_tokens = 0;     // of admitted requests
  uint64_t cached_tokens = 0;     // of these: resumed instead of computed
  uint64_t computed_tokens = 0;   // rows of all steps
  uint64_t generated_tokens = 0;  // forced ones included
  uint64_t finished = 0, cancelled = 0, failed = 0;
  uint64_t preemptions = 0;
  double queue_wait_s = 0;  // running mean of the time from submission to admission
};

struct EngineStats {
  EngineTotals totals;
  size_t running = 0;         // in slots, background work excluded
  size_t waiting = 0;         // preempted ones included, background work excluded
  size_t waiting_tokens = 0;  // of their prompts
  size_t background = 0;      // running or waiting
  size_t slots = 0;
  size_t state_bytes = 0;     // of running sequences, shared pages counted in full
  size_t context_memory = 0;  // limit on that; 0: none
  size_t reserved_bytes = 0;  // that running sequences may grow to without preemption
  double decode_ms = 0;       // Pace
  double prefill_token_ms = 0;
  StepInfo last_step;
  PrefixCache::Stats cache;   // zeros without one
  StateFolder::Stats folder;  // likewise
};

struct SlotInfo {
  enum class Phase { kWaiting, kPreempted, kPrefill, kDecode };
  uint64_t id = 0;
  Phase phase = Phase::kWaiting;
  bool is_paused = false, is_background = false;
  int priority = 0;
  size_t prompt_tokens = 0, prompt_done = 0, cached_tokens = 0;
  size_t generated = 0, max_new_tokens = 0;
  size_t state_bytes = 0;
  double age_s = 0;  // since submission
};
const char* Name(SlotInfo::Phase phase);

}  // namespace planish
