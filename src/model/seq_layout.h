// SPDX-License-Identifier: Apache-2.0
// Where packed sequences start. Tokens of a batch are flat [T, D]; attention, conv window, SSM state and positions never
// cross a start, and every chunk and tile grid begins anew there, so a packed row equals a separate run bit for bit.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "base/error.h"

namespace planish {

class SeqLayout {
 public:
  // One sequence of `tokens` rows.
  explicit SeqLayout(size_t tokens) : bounds_{0, tokens} {}
  // Sequences of the given lengths, each at least 1, one after another.
  static SeqLayout Packed(const std::vector<size_t>& lengths) {
    SeqLayout layout(0);
    layout.bounds_ = {0};
    for (const size_t length : lengths) {
      PLANISH_CHECK(length > 0);
      layout.bounds_.push_back(layout.bounds_.back() + length);
    }
    return layout;
  }
  size_t tokens() const { return bounds_.back(); }         // T
  size_t sequences() const { return bounds_.size() - 1; }  // S
  size_t begin(size_t sequence) const { return bounds_[sequence]; }
  size_t length(size_t sequence) const { return bounds_[sequence + 1] - bounds_[sequence]; }

 private:
  std::vector<size_t> bounds_;
};

}  // namespace planish
