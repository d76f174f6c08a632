// SPDX-License-Identifier: Apache-2.0
// Where the time of a step goes, by kind of kernel. Off unless the calling thread started it: then a scope costs one
// predictable branch. Times are exclusive: an inner scope stops the clock of the outer one, so the phases add up to the
// whole, and what stands in no scope is kOther.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace planish {

enum class Phase {
  kEmbed,
  kNorm,             // with the residual add
  kMatMulAttention,  // q|k|v and o
  kMatMulMamba,      // in_proj and out_proj
  kMatMulFfn,        // up, gate and down
  kMatMulLinear,     // of linear blocks
  kHead,             // hidden states to logits
  kAttention,        // RoPE, KV write, scores and values
  kConv,
  kScan,  // dt, decay and state update
  kActivation,
  kOther,
};
inline constexpr size_t kPhaseCount = static_cast<size_t>(Phase::kOther) + 1;
const char* Name(Phase phase);  // "embed", "matmul_ffn", ...

struct PhaseReport {
  struct Entry {
    double seconds = 0;
    uint64_t calls = 0;  // scopes entered
    uint64_t parallel_regions = 0;
  };
  std::array<Entry, kPhaseCount> phases;
  double total_s() const;
  uint64_t parallel_regions() const;
};

// Times the scopes of the thread that made it, as long as it exists; at most one a thread.
class PhaseClock {
 public:
  PhaseClock();
  ~PhaseClock();
  PhaseClock(const PhaseClock&) = delete;
  PhaseClock& operator=(const PhaseClock&) = delete;

  PhaseReport Report();  // up to now

 private:
  friend class PhaseScope;
  Phase Switch(Phase next);  // returns the phase that was running
  std::chrono::steady_clock::time_point last_;
  uint64_t regions_;
  Phase running_ = Phase::kOther;
  PhaseReport report_;
};

namespace internal {
extern constinit thread_local PhaseClock* phase_clock;
}

class PhaseScope {
 public:
  explicit PhaseScope(Phase phase) : clock_(internal::phase_clock) {
    if (clock_ != nullptr) [[unlikely]]
      Enter(phase);
  }
  ~PhaseScope() {
    if (clock_ != nullptr) [[unlikely]]
      clock_->Switch(outer_);
  }
  PhaseScope(const PhaseScope&) = delete;
  PhaseScope& operator=(const PhaseScope&) = delete;

 private:
  void Enter(Phase phase);
  PhaseClock* clock_;
  Phase outer_ = Phase::kOther;
};

}  // namespace planish
