// SPDX-License-Identifier: Apache-2.0
// The activations of feed-forward blocks in training, forward and backward in one pass over the rows each. `type` (kF32 or
// kBF16) is in what rows are kept and handed to the next product; the forward rounds its inputs to it first, so that forward
// and backward see the same numbers whether they were kept or computed again.
//   relu2:   act = max(up, 0)^2,          dup = 2 max(up, 0) dact
//   SwiGLU:  act = silu(gate) up,         dgate = dact up s (1 + gate (1 - s)),  dup = dact silu(gate),  s = sigmoid(gate)
// All arrays have n elements of the type said; outputs may not overlap inputs unless they are the same array of the same type.
#pragma once

#include <cstddef>

#include "tensor/dtype.h"

namespace planish {

// kept_up [n] of `type`, or null where it is not wanted; act: [n] of `type`.
void ReluSquaredForward(const float* up, size_t n, DType type, void* kept_up, void* act) noexcept;
// act, dup: [n] of `type`; act is computed again for the gradient of the next weight.
void ReluSquaredBackward(const void* kept_up, const float* dact, size_t n, DType type, void* act,
                         void* dup) noexcept;

void SiluMulForward(const float* gate, const float* up, size_t n, DType type, void* kept_gate,
                    void* kept_up, void* act) noexcept;
void SiluMulBackward(const void* kept_gate, const void* kept_up, const float* dact, size_t n,
                     DType type, void* act, void* dgate, void* dup) noexcept;

}  // namespace planish
