// SPDX-License-Identifier: Apache-2.0
// The packed layout of 4- and 8-bit weights for integer dot products, the same for every instruction set ("x16k4",
// docs/formats.md): rows in blocks of 16 (the last padded with zeros), each block a run of groups of 32 inputs; a group is
//   16 scales f16 [row]; 16 minima f16 [row] only if the format has them; then the codes:
//   4 bits, 256 bytes: load t = 0..3 of 64 bytes, byte 4 r + j = code(row r, k = 4 t + j) | code(row r, k = 16 + 4 t + j) << 4;
//   8 bits, 512 bytes: load t = 0..7 of 64 bytes, byte 4 r + j = code(row r, k = 4 t + j).
// Formats whose scale covers 16 inputs (Q6_K) have two sets of 16 scales, for k < 16 and k >= 16.
// value = scale * (code - zero) - minimum, or scale * table[code] for look-up formats. One 64-byte load holds 4 inputs of
// 16 rows, so a dot product instruction adds 4 products to each row's own lane: no sums across lanes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/weight.h"

namespace planish {

inline constexpr size_t kPackedRows = 16;
inline constexpr size_t kPackedGroup = 32;
inline constexpr const char* kPackedLayout = "x16k4";

// How one block type is stored in the layout.
struct PackedFormat {
  bool is_4bit = false;  // else 8 bits
  bool has_min = false;
  size_t scales_per_group = 1;  // 1 or 2 (a scale for 32 or 16 inputs)
  int zero = 0;  // taken from the code: 8, or 0 if has_min, for 4 bits; 128 for 8 bits
  const int8_t* table =
      nullptr;  // [16] values of the codes of look-up types (IQ4, MXFP4), else null
  size_t header_bytes() const { return (scales_per_group + (has_min ? 1 : 0)) * kPackedRows * 2; }
  size_t group_bytes() const {
    return header_bytes() + kPackedRows * kPackedGroup / (is_4bit ? 2 : 1);
  }
};

// The format of a block type; false if it has none (floats, FP8, 2 and 3 bits).
bool PackedFormatOf(DType dtype, PackedFormat* format);

inline size_t PackedGroups(size_t in) { return (in + kPackedGroup - 1) / kPackedGroup; }
inline size_t PackedBlocks(size_t out) { return (out + kPackedRows - 1) / kPackedRows; }

// Makes the packed view of a weight under kPackedLayout, on the thread team, unless it is there and fresh. False, and nothing
// made, if its type has no format or a scale does not fit f16 (such weights stay with the exact product): scales that are f16
// in the file are copied; products d * scale of the K types are rounded, and must not be off by more than 2^-10 of half the
// largest that their block could hold; MXFP4's powers of two must be exact. The canonical data stays; give mapped pages back with
// Weight::Evict when they are no longer read. May throw Error(kNoMemory).
bool PackWeight(Weight* weight);

}  // namespace planish
