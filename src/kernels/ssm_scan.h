// SPDX-License-Identifier: Apache-2.0
// The recurrent form of the Mamba-2 state-space layer (see ssd.h for the formula): token by token with the state in
// registers. Its bits do not depend on how tokens are cut into calls or on threads. Also the time step that feeds it.
#pragma once

#include <cstddef>

#include "kernels/ssd.h"

namespace planish {

struct SsmInput {
  const float* x;  // [T, H*P], after convolution
  size_t x_stride;
  const float* B;  // [T, G*N]
  size_t b_stride;
  const float* C;  // [T, G*N]
  size_t c_stride;
  const float* dt;  // [T, H], after PrepareDt; >= 0
  size_t dt_stride;
  const float* A;  // [H], negative: -exp(A_log)
  const float* D;  // [H]
};

// T consecutive tokens of one sequence. state: [H, N, P], in and out; y: [T, H*P], rows y_stride apart, must not overlap the
// input. Parallel over heads.
void SsmScan(const SsmDims& dims, const SsmInput& input, size_t T, float* state, float* y,
             size_t y_stride);

// dt[t,h] = clamp(softplus(dt_raw[t,h] + dt_bias[h]), lo, hi); dt: [T, H] contiguous; hi may be
// +infinity. dt_raw: rows `stride` apart. A NaN stays NaN. Parallel over rows.
void PrepareDt(const float* dt_raw, size_t stride, const float* dt_bias, size_t T, size_t H,
               float lo, float hi, float* dt) noexcept;

}  // namespace planish
