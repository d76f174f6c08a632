// SPDX-License-Identifier: Apache-2.0
// Conversion of rows between float and any stored type: the definition of every block format
// (ggml's layouts), written for clarity; the fast paths are in kernels/matmul. Values are
// bit-identical to the `gguf` Python package.
#pragma once

#include <cstddef>

#include "tensor/dtype.h"

namespace planish {

// out[0, n) = the values of `n` elements at `in`; n a multiple of the block size. FP8 values come
// without their scale.
void DequantizeRow(DType dtype, const void* in, float* out, size_t n);

// Writes F32 F16 BF16 F8_E4M3 F8_E5M2 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 MXFP4; bytes equal to ggml's
// reference quantiser (rounding half away from zero where that does). Error(kUsage) for a type that
// cannot be written yet.
bool CanQuantize(DType dtype);
void QuantizeRow(DType dtype, const float* in, void* out, size_t n);

}  // namespace planish
