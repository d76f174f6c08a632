// SPDX-License-Identifier: Apache-2.0
#include "data/permutation.h"

#include <bit>

#include "base/error.h"
#include "base/random.h"

namespace planish {
namespace {

uint64_t Scramble(uint64_t x) {
  for (int i = 0; i < 2; ++i) {
    x ^= x >> 32;
    x *= 0xD6E8FEB86659FD93u;
  }
  return x ^ (x >> 32);
}

}  // namespace

Permutation::Permutation(uint64_t seed, uint64_t stream, uint64_t epoch, uint64_t n) : n_(n) {
  PLANISH_CHECK(n > 0);
  const int bits = std::bit_width(n - 1);
  low_bits_ = (bits + 1) / 2;
  high_bits_ = bits / 2;
  for (int round = 0; round < kRounds; ++round) {
    const auto words = Philox(seed, stream, epoch * kRounds + static_cast<uint64_t>(round));
    keys_[static_cast<size_t>(round)] = uint64_t{words[0]} << 32 | words[1];
  }
}

uint64_t Permutation::operator()(uint64_t index) const {
  PLANISH_DCHECK(index < n_);
  const uint64_t low_mask = (uint64_t{1} << low_bits_) - 1;
  const uint64_t high_mask = (uint64_t{1} << high_bits_) - 1;
  do {
    uint64_t low = index & low_mask, high = index >> low_bits_;
    for (int round = 0; round < kRounds; round += 2) {
      low ^= Scramble(high ^ keys_[static_cast<size_t>(round)]) & low_mask;
      high ^= Scramble(low ^ keys_[static_cast<size_t>(round) + 1]) & high_mask;
    }
    index = high << low_bits_ | low;
  } while (index >= n_);
  return index;
}

}  // namespace planish
