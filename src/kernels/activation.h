// SPDX-License-Identifier: Apache-2.0
// Element-wise activations. silu(a) = a / (1 + exp(-a)); relu2(a) = max(a, 0)^2;
// softplus(a) = a for a > 20, else log(1 + exp(a))  (the threshold of PyTorch and of the Mamba-2
// Triton kernels). NaN in gives NaN out. Output may be an input; otherwise they must not overlap.
#pragma once

#include <cstddef>

namespace planish {

void ReluSquared(float* x, size_t n) noexcept;             // x = relu2(x)
void Silu(const float* x, size_t n, float* out) noexcept;  // out = silu(x)
void SiluMul(const float* gate, const float* up, float* out,
             size_t n) noexcept;  // out = silu(gate) * up
void Softplus(const float* x, size_t n, float* out) noexcept;

// SwiGLU over rows of a fused projection: gate[t] = gate_up[t, 0..F), up[t] = gate_up[t, F..2F);
// out: [T, F].
void SiluMulRows(const float* gate_up, size_t T, size_t F, float* out) noexcept;

}  // namespace planish
