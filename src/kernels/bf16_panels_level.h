// SPDX-License-Identifier: Apache-2.0
// The implementations behind bf16_panels.h, one table per instruction-set level. A new level is a file with its table and a
// line in CurrentBf16Level of bf16_panels.cc.
#pragma once

#include "kernels/bf16_panels.h"

namespace planish {

struct Bf16Level {
  void (*pack_left)(const PanelSource& a, size_t R, size_t K, uint16_t* out) noexcept;
  void (*pack_right)(const PanelSource& b, size_t R, size_t K, uint16_t* out) noexcept;
  void (*multiply)(const PanelProduct& product) noexcept;
};

// Null where the program was built for another architecture. The AMX table shares the packers of the AVX-512 one.
const Bf16Level* Bf16LevelAvx512();  // avx512bf16: vdpbf16ps
const Bf16Level* Bf16LevelAmx();     // amx-bf16: tdpbf16ps
const Bf16Level* Bf16LevelNeon();    // Armv8.6 bf16: bfmmla

// Of the level in use.
const Bf16Level& CurrentBf16Level();

}  // namespace planish
