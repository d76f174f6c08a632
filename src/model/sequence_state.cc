// SPDX-License-Identifier: Apache-2.0
#include "model/sequence_state.h"

namespace planish {

SequenceState SequenceState::Snapshot() const {
  SequenceState copy;
  copy.length_ = length_;
  for (const auto& state : states_) copy.states_.push_back(state != nullptr ? state->Snapshot() : nullptr);
  return copy;
}

bool SequenceState::Truncate(size_t length) {
  PLANISH_CHECK(length <= length_);
  if (length == length_) return true;
  // KV truncation always works, so asking a copy first keeps a refusal without effect; KV pages are shared, not copied.
  SequenceState shortened = Snapshot();
  for (const auto& state : shortened.states_) {
    if (state != nullptr && !state->Truncate(length)) return false;
  }
  shortened.length_ = length;
  *this = std::move(shortened);
  return true;
}

size_t SequenceState::bytes() const {
  size_t total = 0;
  for (const auto& state : states_) total += state != nullptr ? state->bytes() : 0;
  return total;
}

}  // namespace planish
