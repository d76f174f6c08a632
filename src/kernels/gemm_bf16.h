// SPDX-License-Identifier: Apache-2.0
// Matrix products of training with bf16 operands and float sums, on the thread team: forward Y = X W^T, backward dX = dY W and
// dW += dY^T X. Operands are floats (rounded to bf16 when packed) or bf16, each as stored or transposed: the packers transpose,
// no second copy is kept. An element's bits depend on its row of A and of B only, not on the number of threads or on the
// other rows (per instruction-set level; see bf16_panels.h for rounding, subnormals and NaN).
#pragma once

#include <cstddef>
#include <functional>

#include "kernels/bf16_panels.h"

namespace planish {

// C[m, n] = sum_k A[m, k] B[n, k], or C += that if `accumulate`. A is [M, K] and B is [N, K], each stored so or as its transpose
// (PanelSource::is_transposed); C: [M, N] floats, rows c_stride apart, overlaps nothing. K = 0: zeros, or nothing.
//   Y = X W^T:  A = X [T, in],  B = W [out, in].
//   dX = dY W:  A = dY [T, out],  B = W stored as [K = out, N = in], transposed.
//   dW = dY^T X:  A = dY stored as [K = T, M = out], B = X stored as [K = T, N = in], both transposed.
void GemmBf16(const PanelSource& a, const PanelSource& b, size_t M, size_t N, size_t K,
              bool accumulate, float* c, size_t c_stride);

// A finished part of a product: C[row, row + rows) x [column, column + columns).
struct ProductBlock {
  size_t row, rows, column, columns;
  const float* values;  // [rows, columns], rows `stride` apart; valid during the call
  size_t stride;
};
// Takes the parts of a product while they are in a cache, each once, several threads at a time.
using ProductSink = std::function<void(const ProductBlock&)>;
// The product without accumulation, to `sink` instead of memory; the same bits. K = 0: zeros.
void GemmBf16ToSink(const PanelSource& a, const PanelSource& b, size_t M, size_t N, size_t K,
                    const ProductSink& sink);

}  // namespace planish
