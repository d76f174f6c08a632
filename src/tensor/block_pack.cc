// SPDX-License-Identifier: Apache-2.0
// Scales and codes to the bytes of a block: the inverse of blocks_32.cc and blocks_k.cc, which document the layouts.
#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "tensor/block_formats.h"
#include "tensor/block_grid.h"

namespace planish {
namespace {

using block_formats::StoreF16;

uint8_t Byte(int value) { return static_cast<uint8_t>(value); }

void PackNibbles(const int* codes, uint8_t* out) {
  for (int j = 0; j < 16; ++j) out[j] = Byte((codes[j] & 15) | (codes[j + 16] & 15) << 4);
}

void PackFifthBits(const int* codes, uint8_t* out) {
  uint32_t bits = 0;
  for (int j = 0; j < 32; ++j) bits |= static_cast<uint32_t>(codes[j] >> 4 & 1) << j;
  std::memcpy(out, &bits, sizeof(bits));
}

void Pack32(const BlockGrid& grid, const int* codes, uint8_t* out) {
  StoreF16(grid.d, out);
  out += 2;
  const bool has_min = grid.dtype == DType::kQ4_1 || grid.dtype == DType::kQ5_1;
  if (has_min) {
    StoreF16(grid.dmin, out);
    out += 2;
  }
  if (grid.dtype == DType::kQ8_0) {
    for (int j = 0; j < 32; ++j) out[j] = Byte(codes[j] + grid.range.low);
    return;
  }
  if (grid.dtype == DType::kQ5_0 || grid.dtype == DType::kQ5_1) {
    PackFifthBits(codes, out);
    out += 4;
  }
  PackNibbles(codes, out);
}

// 2-bit codes of Q2_K and Q3_K: of each 128 values, those at 32 k + l are bits 2k, 2k + 1 of byte l.
void PackPairs(const int* codes, uint8_t* out) {
  std::memset(out, 0, 64);
  for (int i = 0; i < 256; ++i)
    out[i / 128 * 32 + i % 32] |= Byte((codes[i] & 3) << (i % 128 / 32 * 2));
}

void PackQ2_K(const BlockGrid& grid, const int* codes, uint8_t* out) {
  for (int g = 0; g < 16; ++g) out[g] = Byte(grid.scale[g] | grid.min[g] << 4);
  PackPairs(codes, out + 16);
  StoreF16(grid.d, out + 80);
  StoreF16(grid.dmin, out + 82);
}

void PackQ3_K(const BlockGrid& grid, const int* codes, uint8_t* out) {
  std::memset(out, 0, 32);
  for (int i = 0; i < 256; ++i) out[i % 32] |= Byte((codes[i] >> 2 & 1) << (i / 32));
  PackPairs(codes, out + 32);
  uint8_t* scales = out + 96;
  std::memset(scales, 0, 12);
  for (int g = 0; g < 16; ++g) {
    const int scale = grid.scale[g] + 32;
    scales[g % 8] |= Byte((scale & 15) << (g / 8 * 4));
    scales[8 + g % 4] |= Byte((scale >> 4) << (g / 4 * 2));
  }
  StoreF16(grid.d, out + 108);
}

void PackQ4_KOrQ5_K(const BlockGrid& grid, const int* codes, uint8_t* out) {
  StoreF16(grid.d, out);
  StoreF16(grid.dmin, out + 2);
  uint8_t* packed = out + 4;
  for (int g = 0; g < 4; ++g) {
    packed[g] = Byte(grid.scale[g] | (grid.scale[g + 4] >> 4) << 6);
    packed[g + 4] = Byte(grid.min[g] | (grid.min[g + 4] >> 4) << 6);
    packed[g + 8] = Byte((grid.scale[g + 4] & 15) | (grid.min[g + 4] & 15) << 4);
  }
  out += 16;
  if (grid.dtype == DType::kQ5_K) {
    std::memset(out, 0, 32);
    for (int i = 0; i < 256; ++i) out[i % 32] |= Byte((codes[i] >> 4) << (i / 32));
    out += 32;
  }
  for (int i = 0; i < 256; i += 64) {
    for (int l = 0; l < 32; ++l)
      out[i / 2 + l] = Byte((codes[i + l] & 15) | (codes[i + 32 + l] & 15) << 4);
  }
}

void PackQ6_K(const BlockGrid& grid, const int* codes, uint8_t* out) {
  std::memset(out, 0, 192);
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128, k = i % 128 / 32, l = i % 32;
    out[half * 64 + (k % 2) * 32 + l] |= Byte((codes[i] & 15) << (k < 2 ? 0 : 4));
    out[128 + half * 32 + l] |= Byte((codes[i] >> 4) << (2 * k));
  }
  for (int g = 0; g < 16; ++g) out[192 + g] = Byte(grid.scale[g]);
  StoreF16(grid.d, out + 208);
}

void PackIQ4_XS(const BlockGrid& grid, const int* codes, uint8_t* out) {
  StoreF16(grid.d, out);
  std::memset(out + 2, 0, 6);
  for (int g = 0; g < 8; ++g) {
    const int scale = grid.scale[g] + 32;
    out[2 + g / 4] |= Byte((scale >> 4) << (g % 4 * 2));
    out[4 + g / 2] |= Byte((scale & 15) << (g % 2 * 4));
    PackNibbles(codes + g * 32, out + 8 + g * 16);
  }
}

}  // namespace

void PackBlock(const BlockGrid& grid, const int* codes, uint8_t* out) {
  switch (grid.dtype) {
    case DType::kQ2_K:
      return PackQ2_K(grid, codes, out);
    case DType::kQ3_K:
      return PackQ3_K(grid, codes, out);
    case DType::kQ4_K:
    case DType::kQ5_K:
      return PackQ4_KOrQ5_K(grid, codes, out);
    case DType::kQ6_K:
      return PackQ6_K(grid, codes, out);
    case DType::kIQ4_XS:
      return PackIQ4_XS(grid, codes, out);
    default:
      PLANISH_CHECK(grid.values == 32, "{}", Name(grid.dtype));
      return Pack32(grid, codes, out);
  }
}

}  // namespace planish
