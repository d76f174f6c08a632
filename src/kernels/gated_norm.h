// SPDX-License-Identifier: Apache-2.0
// The gated grouped RMS norm of Mamba-2 (norm.h) in training, over rows of float or bf16, and its gradient. With
// u = y silu(z), r = sqrt(mean u^2 + eps) over each of G groups of m = d_in/G channels, v = u / r, n = w v:
//   dw = sum_t dn v,   dv = dn w,   du = (dv - v mean(dv v)) / r,   dy = du silu(z),   dz = du y silu'(z).
// Sums over a group are float in lanes; dw is summed in blocks of rows fixed by T, then block by block.
#pragma once

#include <cstddef>

#include "tensor/dtype.h"

namespace planish {

struct GatedNorm {
  size_t d_in, groups;  // groups divides d_in
  const float* w;       // [d_in]
  float eps;
};

// [T, d_in] rows of `type` (kF32 or kBF16), `stride` elements apart.
struct NormRows {
  const void* data;
  size_t stride;
};

// n: [T, d_in] of `type`, contiguous; must not overlap the others.
void GatedNormForward(const GatedNorm& norm, DType type, const NormRows& y, const NormRows& z,
                      size_t T, void* n);

// dn: [T, d_in] floats, becomes dy; n: [T, d_in] of `type`, the forward values again, assigned; dz: of `type`, assigned, rows
// dz_stride apart; dw: [d_in], added to. May throw Error(kNoMemory).
void GatedNormBackward(const GatedNorm& norm, DType type, const NormRows& y, const NormRows& z,
                       size_t T, float* dn, void* n, void* dz, size_t dz_stride, float* dw);

}  // namespace planish
