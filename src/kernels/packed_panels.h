// SPDX-License-Identifier: Apache-2.0
// Right panels of bf16_panels.h from the packed layout of quantised weights: a group of 32 inputs of 16 rows is one tile, and
// rows lie in the lanes of both, so decoding needs no transposition.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/packed_weight.h"

namespace planish {

// out: one tile (kTileElems) for each of `count` groups, one after the other at `groups`; values are those of the packed format in
// float, rounded to bf16. Only where HasBf16Units() on x86-64; false, and nothing written, elsewhere.
bool DecodePackedPanel(const PackedFormat& format, const uint8_t* groups, size_t count,
                       uint16_t* out) noexcept;

}  // namespace planish
