// SPDX-License-Identifier: Apache-2.0
// Operands of FP8 products (train.md 6): values divided by a scale and rounded to E4M3 or E5M2. The scale of a tile is
//   s = amax / largest (448 or 57344) in float, 1 if amax is 0; optionally rounded up to a power of two;
//   code = round to nearest even of clamp(x / s); the value it stands for is code * s.
// Tiles: weights 128 x 128; activations and gradients 1 x 128 along the dimension that the product sums over, so row-wise
// ([1, 128]) for one product and column-wise ([128, 1]) for another, both from the same source; or the whole tensor. Tiles at
// the edge are cut. NaN stays NaN (and spoils its tile at most); an infinity makes its tile's scale infinite, so itself NaN.
// The codes are written as bf16, which holds every FP8 value exactly: that is what the products read.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/bf16_panels.h"

namespace planish {

inline constexpr size_t kFp8Block = 128;

enum class Fp8Format : uint8_t { kE4M3, kE5M2 };

enum class Fp8Tiles : uint8_t {
  kRows,     // 1 x 128
  kColumns,  // 128 x 1
  kBlocks,   // 128 x 128
  kTensor,   // one
};

// What quantisation did to the values of one class of tensors.
struct Fp8Statistics {
  double amax = 0;         // greatest magnitude, NaN aside
  uint64_t count = 0;      // values
  uint64_t saturated = 0;  // would have rounded beyond the largest code, or were not finite
  uint64_t underflow = 0;  // not 0, became 0
  void Add(const Fp8Statistics& other);
};

struct Fp8Rounding {
  Fp8Format format = Fp8Format::kE4M3;
  Fp8Tiles tiles = Fp8Tiles::kRows;
  bool power_of_two = false;
};

// Rows and columns of the scales of an [R, C] matrix: as many as there are tiles that way.
size_t Fp8ScaleRows(Fp8Tiles tiles, size_t R);
size_t Fp8ScaleColumns(Fp8Tiles tiles, size_t C);

// x: [R, C] as stored, floats or bf16, not transposed. values: [R, C] contiguous, code values as bf16. scales: [ScaleRows,
// ScaleColumns]. On the thread team; statistics (may be null) are added to.
void QuantizeFp8(const PanelSource& x, size_t R, size_t C, const Fp8Rounding& rounding,
                 uint16_t* values, float* scales, Fp8Statistics* statistics);

// The code that a value written by QuantizeFp8 stands for.
uint8_t Fp8Code(uint16_t value, Fp8Format format);

}  // namespace planish
