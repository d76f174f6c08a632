// SPDX-License-Identifier: Apache-2.0
// Deficit round robin in exact integers: draw n takes the member d with the largest w_d (n + 1) - W count_d, the first of
// equals, where W = sum w. After W draws every member was drawn exactly w_d times and all deficits are zero again: when d
// would be drawn once more than w_d times within the period, its deficit is at most 0, but the largest is positive (they
// sum to W). So one period, computed once, answers every question about draw 10^18 as quickly as about draw 0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace planish {

// The weights as whole parts without common divisor: exact where the decimals of the weights have a common denominator
// that keeps the sum of parts at most 2^20 (fewer with more than 64 members); else rounded to that many parts by largest
// remainder, each member at least one (so the sum may pass that number by one a member). Weights: finite and positive.
std::vector<uint64_t> PartsOf(const std::vector<double>& weights);

class RoundRobin {
 public:
  explicit RoundRobin(
      std::vector<uint64_t> parts);  // each at least 1; some 10 bytes are kept for each

  struct Draw {
    uint32_t member;
    uint64_t nth;  // earlier draws of the same member
  };
  Draw At(uint64_t n) const;
  uint64_t CountBefore(uint32_t member, uint64_t n) const;   // draws of member among 0..n-1
  uint64_t PositionOf(uint32_t member, uint64_t nth) const;  // the inverse of At; saturates

  const std::vector<uint64_t>& parts() const { return parts_; }
  uint64_t period() const { return chosen_.size(); }

 private:
  std::vector<uint64_t> parts_;                   // [members], W = sum
  std::vector<uint32_t> chosen_;                  // [W] member drawn
  std::vector<std::vector<uint32_t>> positions_;  // [members][parts] rising
};

}  // namespace planish
