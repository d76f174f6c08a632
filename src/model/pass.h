// SPDX-License-Identifier: Apache-2.0
// What one pass of packed documents through the blocks carries: the layout, scratch, the arithmetic of its matrix products, and
// how much it keeps for the way back. In training parameters and activations are float; a precision says to what the operands
// of products are rounded and in what type rows are kept.
#pragma once

#include <cstdint>

#include "model/seq_layout.h"
#include "model/workspace.h"
#include "tensor/dtype.h"

namespace planish {

// kF32: exact. kBf16: operands of products rounded to bf16, float sums; norms, softmax, decays, states and gradients of
// parameters stay float. kFp8: as kBf16, but the linear layers multiply E4M3 codes with block scales (Nemotron Nano 2).
enum class Precision : uint8_t { kF32, kBf16, kFp8 };

struct Fp8Options;

struct Pass {
  const SeqLayout& layout;
  Workspace* workspace = nullptr;
  Precision precision = Precision::kF32;
  // Saved structs leave out what is cheap to compute again (conv and scan outputs, probabilities).
  bool selective = true;
  const Fp8Options* fp8 = nullptr;  // of kFp8; null: the defaults

  size_t tokens() const { return layout.tokens(); }
  // Type of kept rows and of operands handed from one product to the next.
  DType row_type() const { return precision == Precision::kF32 ? DType::kF32 : DType::kBF16; }
};

}  // namespace planish
