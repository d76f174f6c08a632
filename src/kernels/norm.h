// SPDX-License-Identifier: Apache-2.0
// RMSNorm: y[t,d] = x[t,d] * r[t] * w[d],  r[t] = 1 / sqrt(mean_d x[t,d]^2 + eps)  (Zhang &
// Sennrich, arXiv 1910.07467). Gated grouped form of Mamba-2 (HF transformers, nemotron_h,
// MambaRMSNormGated with norm_before_gate=False): u = y * silu(z), then the mean runs inside each
// of G groups of d_in/G channels. Sums of squares are float in lanes, then across lanes, in an
// order fixed by the width alone; a row's bits depend on nothing but that row.
#pragma once

#include <cstddef>

namespace planish {

// x, y: [T, D] contiguous (y may be x); w: [D]. Per-head norm of q or k (Qwen3): T*H rows of D =
// head width.
void RmsNorm(const float* x, const float* w, size_t T, size_t D, float eps, float* y) noexcept;

// y: [T, d_in] rows y_stride floats apart; z: likewise with z_stride; w: [d_in]; out: [T, d_in]
// contiguous. `out` may be `y` when y_stride == d_in, or `z` when z_stride == d_in. groups divides
// d_in.
void GatedGroupRmsNorm(const float* y, size_t y_stride, const float* z, size_t z_stride,
                       const float* w, size_t T, size_t d_in, size_t groups, float eps,
                       float* out) noexcept;

}  // namespace planish
