// SPDX-License-Identifier: Apache-2.0
// Products of FP8 operands (train.md 6): C[m, n] (+)= sum over blocks b of 128 k of sa[m, b] sb[n, b] sum_{k in b} A[m, k] B[n, k],
// where A and B are code values (QuantizeFp8), exact in bf16, so that every product is exact in float; sums are float. The same
// numerics as an FP8 unit with float sums, by the bf16 units of gemm_bf16.h; bits as there: an element depends on its row of A
// and its row of B only, per instruction-set level.
#pragma once

#include <cstddef>

#include "kernels/bf16_panels.h"
#include "kernels/fp8_quantize.h"

namespace planish {

struct Fp8Operand {
  // [R, K] code values (kBF16), stored so or as the transpose.
  PanelSource values;
  // Scale of row r and block b of 128 k: scales[r / row_tile * row_step + b * block_step].
  const float* scales = nullptr;
  size_t row_tile = 1, row_step = 0, block_step = 0;

  // What QuantizeFp8 wrote for a matrix [R, C] of these tiles, summed over its columns (kRows, kBlocks, kTensor)...
  static Fp8Operand AsStored(const uint16_t* values, const float* scales, size_t C, Fp8Tiles tiles);
  // ... or over its rows (kColumns, kBlocks, kTensor): the operand is [C, R].
  static Fp8Operand Transposed(const uint16_t* values, const float* scales, size_t C,
                               Fp8Tiles tiles);
  float Scale(size_t r, size_t block) const {
    return scales[r / row_tile * row_step + block * block_step];
  }
};

// a: [M, K], b: [N, K]; C: [M, N], rows c_stride apart, overlaps nothing. K = 0: zeros, or nothing.
void GemmFp8(const Fp8Operand& a, const Fp8Operand& b, size_t M, size_t N, size_t K,
             bool accumulate, float* c, size_t c_stride);

}  // namespace planish
