// SPDX-License-Identifier: Apache-2.0
// What the files of the engine share.
#pragma once

#include <fmt/format.h>

#include <string>

#include "infer/engine.h"
#include "infer/sequence.h"

namespace planish {

// What one step computes: rows of several sequences, one run each, decode rows first.
struct Engine::StepPlan {
  std::vector<int32_t> ids;
  std::vector<StepRun> runs;
  std::vector<Sequence*> sequences;  // of each run
  size_t decode_rows = 0;
};

inline double SecondsSince(Sequence::Clock::time_point start) {
  return std::chrono::duration<double>(Sequence::Clock::now() - start).count();
}

inline constexpr char kRequestSalt = 'r';
// The state of a preempted sequence is for itself alone: its tokens were in part decode steps. Salts of requests are kept
// apart by another first character (RequestSalt).
inline std::string PreemptedSalt(const Sequence& sequence) {
  return fmt::format("p{}", sequence.id);
}
inline std::string RequestSalt(const Request& request) {
  return fmt::format("{}{}", kRequestSalt, request.cache_salt);
}

// Calls what belongs to a request; what it throws ends the request. True if it is still running.
template <typename Function>
bool Engine::Guard(Sequence* sequence, const Function& call) {
  try {
    call();
  } catch (...) {
    Fail(sequence);
  }
  return !sequence->is_done;
}

}  // namespace planish
