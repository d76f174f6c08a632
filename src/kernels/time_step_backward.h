// SPDX-License-Identifier: Apache-2.0
// Gradient of PrepareDt (ssm_scan.h), dt = clamp(softplus(raw + bias), lo, hi):
//   draw[t,h] = ddt[t,h] sigma(raw[t,h] + bias[h]) where lo < dt < hi, else 0;   dbias[h] = sum_t draw[t,h].
#pragma once

#include <cstddef>

#include "tensor/dtype.h"

namespace planish {

struct TimeStepGradient {
  const float* raw;  // [T, H], rows raw_stride apart
  size_t raw_stride;
  const float* bias;  // [H]
  const float* dt;    // [T, H] contiguous, as PrepareDt left them
  float lo, hi;
  const float* ddt;  // [T, H] contiguous
  DType type;        // of draw: kF32 or kBF16
  void* draw;        // [T, H], assigned, rows draw_stride apart
  size_t draw_stride;
};

// dbias: [H], added to: float sums over blocks of rows fixed by T, then in double block by block. May throw Error(kNoMemory).
void PrepareDtBackward(const TimeStepGradient& gradient, size_t T, size_t H, float* dbias);

}  // namespace planish
