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

// Writes floats (F32 F16 BF16 F8_E4M3 F8_E5M2) and all block types. Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 MXFP4: bytes equal to ggml's
// reference quantiser (rounding half away from zero where that does). The others: scales by our own search for the least
// squared error (block_grid.h). Error(kUsage) for a type that cannot be written.
bool CanQuantize(DType dtype);
// The type for rows that do not fill the blocks of `dtype`: the 32-value type of at least as many bits that llama.cpp takes
// then, too, else F16. `dtype` itself if they do.
DType WritableType(DType dtype, size_t columns);
void QuantizeRow(DType dtype, const float* in, void* out, size_t n);

}  // namespace planish
