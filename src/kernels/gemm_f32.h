// SPDX-License-Identifier: Apache-2.0
// Matrix products of training in float, on the thread team: what GemmBf16 is for Precision::kBf16, this is for kF32. Fused
// multiply-adds, where the CPU has them, over ascending k within blocks of 256, the sums of the blocks added in turn: an
// element's bits depend on its row of A, its row of B and C before, not on M, N, strides, storage order or the number of
// threads (per instruction-set level).
#pragma once

#include <cstddef>

#include "kernels/bf16_panels.h"

namespace planish {

// C[m, n] = sum_k A[m, k] B[n, k], or C += that if `accumulate`. A is [M, K] and B is [N, K] in floats (dtype kF32), each
// stored so or as its transpose; C: [M, N], rows c_stride apart, overlaps nothing. K = 0: zeros, or nothing. The products of
// a layer as in gemm_bf16.h.
void GemmF32(const PanelSource& a, const PanelSource& b, size_t M, size_t N, size_t K,
             bool accumulate, float* c, size_t c_stride);

}  // namespace planish
