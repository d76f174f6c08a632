// SPDX-License-Identifier: Apache-2.0
// Counter-based random numbers (Philox4x32-10, Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11): the
// value is a pure function of (seed, stream, position), so results do not depend on batch neighbours or threads.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace planish {

std::array<uint32_t, 4> Philox(uint64_t key, uint64_t counter_high, uint64_t counter_low);

// Uniform in [0, 1) with 53 bits, from one Philox call.
double UniformAt(uint64_t seed, uint64_t stream, uint64_t position);

// out[i] = a normal number of mean 0 and variance 1 that is a pure function of (seed, stream, row, i), the same on every
// machine; rows below 2^32. For initialising weights: some ten times faster than Random::Normal. Each Philox call gives
// four 32-bit words, two words give two normals by Box and Muller's formula in float (error below 1e-6 relative to the
// double formula; the largest magnitude is sqrt(64 ln 2) = 6.66).
void FillNormal(uint64_t seed, uint64_t stream, uint64_t row, std::span<float> out);

// A sequential view for tests and initialisation: position counts up.
class Random {
 public:
  explicit Random(uint64_t seed, uint64_t stream = 0) : seed_(seed), stream_(stream) {}
  uint32_t Bits();
  double Uniform() { return UniformAt(seed_, stream_, position_++); }
  double Normal();             // mean 0, variance 1 (Box-Muller)
  uint64_t Below(uint64_t n);  // uniform in [0, n), n > 0

 private:
  uint64_t seed_, stream_, position_ = 0;
};

}  // namespace planish
