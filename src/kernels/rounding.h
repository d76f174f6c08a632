// SPDX-License-Identifier: Apache-2.0
// Rows of floats into the types in which training keeps them, and back. bf16 is rounded to nearest even; NaN stays NaN.
#pragma once

#include <cstddef>

#include "tensor/dtype.h"

namespace planish {

// out[i] = in[i] in `type` (kF32 or kBF16), n elements. On the thread team when that pays.
void RoundRows(const float* in, size_t n, DType type, void* out) noexcept;
// The same for [T, columns] of rows that lie in_stride and out_stride elements apart.
void RoundColumns(const float* in, size_t in_stride, size_t T, size_t columns, DType type,
                  void* out, size_t out_stride) noexcept;
// out[i] = in[i] as float.
void WidenRows(const void* in, DType type, size_t n, float* out) noexcept;

}  // namespace planish
