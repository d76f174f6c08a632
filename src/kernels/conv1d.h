// SPDX-License-Identifier: Apache-2.0
// Depthwise causal convolution over time with bias and SiLU, time-major as the input projection
// writes it:
//   out[t,c] = silu(bias[c] + sum_{k<W} w[k,c] * in[t-W+1+k, c]),  in = history rows followed by x
//   rows.
// Tap W-1 multiplies the current token (HF conv1d.weight [C,1,W], transposed here to [W,C]). The
// history holds inputs BEFORE the activation. Taps are added in ascending k, so a row's bits depend
// on its W inputs alone, however the tokens are cut into calls.
#pragma once

#include <cstddef>
#include <span>

#include "tensor/dtype.h"

namespace planish {

struct ConvDims {
  size_t channels;  // C
  size_t width;     // W >= 1
};

// One run of consecutive tokens of one sequence.
struct ConvJob {
  DType type = DType::kF32;  // of x and out: kF32 or kBF16 (rounded to nearest even)
  const void* x = nullptr;   // [T, C], rows x_stride apart
  size_t x_stride = 0;
  // The W-1 inputs before x: [W-1, C] floats, oldest first; or, if null, the `before` rows that lie in front of x (those of the
  // same sequence, of which at most W-1 are read), zeros before them (document start).
  const float* history = nullptr;  // only of kF32
  size_t before = 0;
  size_t T = 0;
  void* out = nullptr;  // [T, C], rows out_stride apart; must not overlap x or history
  size_t out_stride = 0;
};

// w: [W, C]; bias: [C] or null. Parallel over jobs, rows and channels.
void CausalConv1d(const ConvDims& dims, const float* w, const float* bias,
                  std::span<const ConvJob> jobs);
void CausalConv1d(const float* x, size_t x_stride, const float* history, const float* w,
                  const float* bias, size_t T, size_t C, size_t W, float* out, size_t out_stride);

// [C, W] as checkpoints store it to [W, C] as the kernel reads it.
void TransposeConvWeight(const float* w, size_t C, size_t W, float* out) noexcept;

}  // namespace planish
