// SPDX-License-Identifier: Apache-2.0
#include "model/sequence_state.h"

namespace planish {

SequenceState SequenceState::Snapshot() const {
  SequenceState copy;
  copy.length_ = length_;
  for (const auto& state : states_)
    copy.states_.push_back(state != nullptr ? state->Snapshot() : nullptr);
  return copy;
}

bool SequenceState::Truncate(size_t length) {
  PLANISH_CHECK(length <= length_);
  if (length == length_) return true;
  for (const auto& state : states_) {
    if (state != nullptr && !state->CanTruncate()) return false;
  }
  for (const auto& state : states_) {
    if (state != nullptr) state->Truncate(length);
  }
  length_ = length;
  return true;
}

void SequenceState::SetSyntheticLength(size_t length) {
  for (const auto& state : states_) {
    if (state != nullptr) state->SetSyntheticLength(length);
  }
  length_ = length;
}

size_t SequenceState::bytes() const {
  size_t total = 0;
  for (const auto& state : states_) total += state != nullptr ? state->bytes() : 0;
  return total;
}

}  // namespace planish
