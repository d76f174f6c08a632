// SPDX-License-Identifier: Apache-2.0
// The part of peak_loops in intrinsics: dot-product units and AMX tiles.
#pragma once

#include "kernels/peak_loops.h"

namespace planish::internal {

bool HasDotUnit(ArithmeticUnit unit);
double RunDotUnit(ArithmeticUnit unit, size_t rounds) noexcept;
// Loads blocks of 1 KiB as tiles, `ahead` bytes prefetched (0: none). Only with AMX; bytes a multiple of 4 KiB.
void ReadTiles(const std::byte* source, size_t bytes, size_t ahead) noexcept;

}  // namespace planish::internal
