// SPDX-License-Identifier: Apache-2.0
#include "base/phases.h"

#include <iterator>
#include <utility>

#include "base/error.h"
#include "base/parallel.h"

namespace planish {

namespace internal {
constinit thread_local PhaseClock* phase_clock = nullptr;
}

const char* Name(Phase phase) {
  static constexpr const char* kNames[] = {"embed",        "norm",       "matmul_attention",
                                           "matmul_mamba", "matmul_ffn", "matmul_linear",
                                           "head",         "attention",  "conv",
                                           "scan",         "activation", "other"};
  static_assert(std::size(kNames) == kPhaseCount);
  return kNames[static_cast<size_t>(phase)];
}

double PhaseReport::total_s() const {
  double total = 0;
  for (const Entry& entry : phases) total += entry.seconds;
  return total;
}

uint64_t PhaseReport::parallel_regions() const {
  uint64_t total = 0;
  for (const Entry& entry : phases) total += entry.parallel_regions;
  return total;
}

PhaseClock::PhaseClock()
    : last_(std::chrono::steady_clock::now()), regions_(ParallelRegionCount()) {
  PLANISH_CHECK(internal::phase_clock == nullptr);
  internal::phase_clock = this;
}

PhaseClock::~PhaseClock() { internal::phase_clock = nullptr; }

PhaseReport PhaseClock::Report() {
  Switch(running_);
  return report_;
}

Phase PhaseClock::Switch(Phase next) {
  const auto now = std::chrono::steady_clock::now();
  const uint64_t regions = ParallelRegionCount();
  PhaseReport::Entry& entry = report_.phases[static_cast<size_t>(running_)];
  entry.seconds += std::chrono::duration<double>(now - last_).count();
  entry.parallel_regions += regions - regions_;
  last_ = now;
  regions_ = regions;
  return std::exchange(running_, next);
}

void PhaseScope::Enter(Phase phase) {
  outer_ = clock_->Switch(phase);
  ++clock_->report_.phases[static_cast<size_t>(phase)].calls;
}

}  // namespace planish
