// SPDX-License-Identifier: Apache-2.0
// Pages of keys and values: 64 positions of one layer and sequence, in f32, bf16, f16 or q8_0. A page holds its kv heads one
// after the other, each one stream: keys [P, 64] (lanes of a vector are positions, so that scores need no sums across
// lanes), their scales, values [64, P], their scales. q8_0: int8 codes, of keys as [P/4, 64, 4] (four channels of a position
// are one 32-bit group of a dot-product instruction); scales are f16 [P/32, 64], one per position and 32 channels, value =
// scale * code, scale = largest magnitude / 127. Last groups of channels may be partial; their key codes are padded by zeros.
#pragma once

#include <cstddef>
#include <span>

#include "tensor/dtype.h"

namespace planish {

inline constexpr size_t kKvPagePositions = 64;

constexpr size_t KvPageCount(size_t positions) {
  return (positions + kKvPagePositions - 1) / kKvPagePositions;
}

// Sizes and offsets in bytes. Everything begins at a multiple of 64 bytes of the page.
struct KvLayout {
  DType type = DType::kF32;  // kF32, kBF16, kF16 or kQ8_0
  size_t kv_heads = 0;
  size_t head_dim = 0;

  constexpr size_t ElementBytes() const {
    return type == DType::kF32 ? 4 : type == DType::kQ8_0 ? 1 : 2;
  }
  constexpr size_t ScaleGroups() const { return type == DType::kQ8_0 ? (head_dim + 31) / 32 : 0; }
  constexpr size_t KeyBytes() const {
    const size_t channels = type == DType::kQ8_0 ? (head_dim + 3) / 4 * 4 : head_dim;
    return kKvPagePositions * channels * ElementBytes();
  }
  constexpr size_t ScaleBytes() const { return kKvPagePositions * 2 * ScaleGroups(); }
  constexpr size_t ValueBytes() const { return kKvPagePositions * head_dim * ElementBytes(); }
  constexpr size_t HeadBytes() const { return KeyBytes() + ValueBytes() + 2 * ScaleBytes(); }
  constexpr size_t PageBytes() const { return kv_heads * HeadBytes(); }
  // Within a head:
  constexpr size_t KeyScales() const { return KeyBytes(); }
  constexpr size_t Values() const { return KeyBytes() + ScaleBytes(); }
  constexpr size_t ValueScales() const { return Values() + ValueBytes(); }
};

// Rounds k, v: [T, kv_heads * head_dim] (rows k_stride, v_stride floats apart) to the page's type at its positions
// [offset, offset + T), T <= 64 - offset. A position's bytes depend on its own values alone. Not finite values become NaN
// of their group in q8_0.
void WriteKvPage(const KvLayout& layout, const float* k, size_t k_stride, const float* v,
                 size_t v_stride, size_t T, size_t offset, std::byte* page) noexcept;

// The same for consecutive positions first_position... across pages: page i holds positions [64 i, 64 i + 64).
void WriteKv(const KvLayout& layout, const float* k, size_t k_stride, const float* v,
             size_t v_stride, size_t T, size_t first_position,
             std::span<std::byte* const> pages) noexcept;

}  // namespace planish
