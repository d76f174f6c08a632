// SPDX-License-Identifier: Apache-2.0
// One block of a format as its grid of values: x = step q + offset (or step table[q]) with own step and offset for each group
// of 16 or 32 values. For quantisers that choose scales and codes in two steps: by least squares as QuantizeRow does for the
// 256-value formats, or column by column with the errors of earlier columns fed on (GPTQ).
#pragma once

#include "tensor/dtype.h"
#include "tensor/scale_search.h"

namespace planish {

struct BlockGrid {
  DType dtype = DType::kF32;
  CodeRange range;
  int values = 0, group = 0;             // of the block; of each group
  float step[16] = {}, offset[16] = {};  // [values / group]
  // As the block stores them: F16 values, and small integers where the format has scales of scales.
  float d = 0, dmin = 0;
  int scale[16] = {}, min[16] = {};

  int Code(int i, float x) const noexcept {
    const float s = step[i / group];
    return NearestCode(range, s != 0.0f ? (x - offset[i / group]) / s : 0.0f);
  }
  float Value(int i, int code) const noexcept {
    const int q = range.table != nullptr ? range.table[code] : range.low + code;
    return step[i / group] * static_cast<float>(q) + offset[i / group];
  }
};

// Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 IQ4_NL, Q2_K to Q6_K, IQ4_XS.
bool HasBlockGrid(DType dtype);
// Scales for the least sum of importance (x - value)^2. x: the block's values; importance: as many weights >= 0, or null for
// equal ones. NaN counts as zero, magnitudes above F16's largest as that.
BlockGrid FitBlock(DType dtype, const float* x, const float* importance);
// A block of Q8_0, Q4_0, Q5_0 or IQ4_NL with the F16 value nearest to `step`: for scales that several blocks share.
BlockGrid GridWithStep(DType dtype, float step);
// codes: [grid.values]; out: one block.
void PackBlock(const BlockGrid& grid, const int* codes, uint8_t* out);

// A row with fitted scales and nearest codes; `importance`: [n] or null.
void QuantizeRowFitted(DType dtype, const float* in, const float* importance, void* out, size_t n);

}  // namespace planish
