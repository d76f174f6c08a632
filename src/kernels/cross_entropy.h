// SPDX-License-Identifier: Apache-2.0
// Cross entropy of rows of logits and its gradient (train.md 1): for a row x [V] with target t
//   lse = m + log(sum_v exp(x_v - m)),  m = max x;   loss = lse - x_t;   p_v = exp(x_v - lse);
//   of weight * (loss + z_coef * lse^2):  dx_v = weight * ((1 + 2 z_coef lse) p_v - [v = t]).
// Exponentials are float, sums float over 1024 at a time and double over those. A logit more than 86 below the greatest counts
// as minus infinity. A row with NaN or +infinity, or with nothing but -infinity, has loss and lse NaN and a gradient of NaN.
#pragma once

#include <cstddef>
#include <cstdint>

namespace planish {

struct CrossEntropyRows {
  float* logits = nullptr;  // [R, V], rows `stride` floats apart; overwritten
  size_t stride = 0;
  const int32_t* targets = nullptr;  // [R], each in [0, V)
  const float* weights =
      nullptr;  // [R] or null: all 1. Rows of weight 0 get a gradient of 0 whatever they hold
  float z_coef = 0;
  size_t R = 0, V = 0;
  double* losses = nullptr;  // [R]: without weight and z term
  double* lse = nullptr;     // [R] or null
};

// What is left in `logits`.
enum class CrossEntropyGradient {
  kNone,  // undefined
  kF32,   // the gradient
  kBf16,  // the gradient rounded to bf16, as uint16_t in the first half of each row (stride 2 * stride)
};

// On the thread team, by rows: a row's bits depend on the row only (per instruction-set level).
void CrossEntropy(const CrossEntropyRows& rows, CrossEntropyGradient gradient) noexcept;

}  // namespace planish
