// SPDX-License-Identifier: Apache-2.0
// Rotary position embedding, half-split ("NeoX") layout: with f_i = theta^(-2i/hd) and angle a =
// position * f_i,
//   x'[i] = x[i] cos a - x[i+r/2] sin a,   x'[i+r/2] = x[i+r/2] cos a + x[i] sin a,   i in [0,
//   r/2), r = rotary width.
// Su et al., arXiv 2104.09864; frequencies and their scaling as HF transformers,
// modeling_rope_utils. As there, the frequency and the angle are rounded to float; cosine and sine
// of that angle are then correct to float precision.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace planish {

struct RopeScaling {
  enum class Kind { kNone, kLinear, kLlama3 };
  Kind kind = Kind::kNone;
  double factor = 1.0;                  // kLinear, kLlama3
  double low_freq_factor = 1.0;         // kLlama3
  double high_freq_factor = 4.0;        // kLlama3
  size_t original_max_position = 8192;  // kLlama3
};

// rotary_dim/2 frequencies in float arithmetic. rotary_dim is even; usually it is the head width.
std::vector<float> RopeInverseFrequencies(size_t rotary_dim, double theta,
                                          const RopeScaling& scaling);

// [T, 2, r/2]: the cosines, then the sines of every token's angles. Serves all heads, q and k, and every layer of a step.
std::vector<float> RopeTable(std::span<const float> inv_freq, const int32_t* positions, size_t T);

// Keeps the last table: the layers of a step ask for the same one.
class RopeTableCache {
 public:
  // Valid until the next call.
  std::span<const float> Get(std::span<const float> inv_freq, std::span<const int32_t> positions);

 private:
  std::vector<float> inv_freq_, table_;
  std::vector<int32_t> positions_;
};

// Rotates in place the first r <= head_dim channels of every head of x: [T, heads, head_dim], tokens `stride` floats
// apart, by the rows of a RopeTable of these T tokens, half = r/2. On the calling thread. A row's bits depend on that row
// and its position alone.
void ApplyRope(float* x, size_t stride, size_t T, size_t heads, size_t head_dim, const float* table,
               size_t half) noexcept;

// The gradient through ApplyRope, in place: the rotation by the negative angles.
void ApplyRopeBackward(float* dx, size_t stride, size_t T, size_t heads, size_t head_dim,
                       const float* table, size_t half) noexcept;

}  // namespace planish
