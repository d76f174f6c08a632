// SPDX-License-Identifier: Apache-2.0
// A seeded permutation of 0..n-1 computed one index at a time, so that nothing is stored and any place of the stream is
// reached at once: a Feistel network over the bits of n, walked on until the value falls below n (at most two steps on
// average). The network alternates which half it changes, so the halves need not be equally wide.
#pragma once

#include <array>
#include <cstdint>

namespace planish {

class Permutation {
 public:
  // A pure function of its arguments; `stream` tells apart what shares a seed, `epoch` the repetitions.
  Permutation(uint64_t seed, uint64_t stream, uint64_t epoch, uint64_t n);
  uint64_t operator()(uint64_t index) const;  // index < n
  uint64_t size() const { return n_; }

 private:
  static constexpr int kRounds = 8;
  std::array<uint64_t, kRounds> keys_;
  uint64_t n_;
  int low_bits_, high_bits_;
};

}  // namespace planish
