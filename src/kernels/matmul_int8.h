// SPDX-License-Identifier: Apache-2.0
// y = x w^T for packed 4- and 8-bit weights (packed_weight.h) and activations quantised to int8 in groups of 32 (int8_rows.h):
// integer dot products of each group, float sums over the groups in ascending order. The formula and the order of its
// operations are fixed (matmul_int8_kernels.h), so a row's bits depend on the row and the weight only: not on T, not on who
// shares the call, not on threads, and not even on the instruction set. A row with a value that is not finite gives NaN.
#pragma once

#include <cstddef>
#include <span>

#include "tensor/weight.h"

namespace planish {

// ys[i] [T, ws[i]->out()] = x [T, K] ws[i]^T, K = in() of every weight, all of them with a fresh packed view. One parallel region
// over tiles of all weights (and one for quantising when T is large); small calls stay on the calling thread.
void MatMulInt8(std::span<const Weight* const> ws, const float* x, size_t T,
                std::span<float* const> ys);

}  // namespace planish
