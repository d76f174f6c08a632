// SPDX-License-Identifier: Apache-2.0
// Everything one sequence carries between steps: its length and one MixerState for each block that has one. Snapshot and
// Restore are exact; Truncate works only where no block is recurrent.
#pragma once

#include <memory>
#include <vector>

#include "model/mixer.h"

namespace planish {

class SequenceState {
 public:
  SequenceState() = default;
  explicit SequenceState(std::vector<std::unique_ptr<MixerState>> states)
      : states_(std::move(states)) {}

  size_t length() const { return length_; }
  void Advance(size_t tokens) { length_ += tokens; }
  MixerState* block(size_t index) const { return states_[index].get(); }

  SequenceState Snapshot() const;
  // Drops the tokens after `length`. False, and nothing changed, when a recurrent block makes that impossible.
  bool Truncate(size_t length);
  void SetSyntheticLength(size_t length);  // for measurements: MixerState says what it means
  size_t bytes() const;

 private:
  size_t length_ = 0;
  std::vector<std::unique_ptr<MixerState>> states_;  // one per block, null where stateless
};

}  // namespace planish
