// SPDX-License-Identifier: Apache-2.0
// Small products inside training attention, of bf16 panels (bf16_panels.h) that lie in the nearest caches: C (+)= A B^T in whole
// blocks of 32 x 32, a range of k of what was packed. On the calling thread; only if Has(Isa::kBf16).
#pragma once

#include <cstddef>
#include <cstdint>

namespace planish {

struct FlashProduct {
  const uint16_t* left;  // panels of A [M, k] at the first tile of the range
  size_t left_panel;     // elements from panel to panel
  const uint16_t* right;
  size_t right_panel;
  size_t M, N;        // multiples of 32: panels of zeros where a matrix has fewer rows
  size_t tiles;       // of 32 k
  const float* from;  // [M, N] added; null: none. A stride of 0 repeats one row
  size_t from_stride;
  float* c;  // [M, N]; may be `from`
  size_t c_stride;
};

// flash_product_amx.cc, in a PanelScope; only if Has(Isa::kAmx).
void FlashMultiplyAmx(const FlashProduct& product) noexcept;

}  // namespace planish
