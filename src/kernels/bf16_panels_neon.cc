// SPDX-License-Identifier: Apache-2.0
// Packers of bf16 panels and their product by bfmmla (Armv8.6), which adds the products of 2 rows x 4 k with 2 rows x 4 k to
// a 2 x 2 block of sums. Its sums are rounded to odd and subnormals are zeros. This file runs only where Has(Isa::kI8mm).
#include "kernels/bf16_panels_level.h"

#if defined(__aarch64__)
#include <arm_neon.h>

#include <algorithm>
#include <cstring>

#pragma GCC push_options
#pragma GCC target("arch=armv8.2-a+bf16")

namespace planish {
namespace {

constexpr size_t kDwords = kPanelDepth / 2;  // of a row of a tile
static_assert(kDwords ==
              kPanelRows);  // a tile is square in dwords: its transpose is the other kind

// Eight elements of a storage row as bf16 bits, the first `valid` of them.
template <bool kIsF32>
inline uint16x8_t Load8(const std::byte* p, size_t valid) {
  constexpr size_t kBytes = kIsF32 ? 4 : 2;
  std::byte part[8 * kBytes];
  if (valid < 8) {
    std::memset(part, 0, sizeof part);
    std::memcpy(part, p, valid * kBytes);
    p = part;
  }
  if constexpr (kIsF32) {
    const float32x4_t low = vreinterpretq_f32_u8(vld1q_u8(reinterpret_cast<const uint8_t*>(p)));
    const float32x4_t high =
        vreinterpretq_f32_u8(vld1q_u8(reinterpret_cast<const uint8_t*>(p) + 16));
    return vreinterpretq_u16_bf16(vcvtq_high_bf16_f32(vcvtq_low_bf16_f32(low), high));
  } else {
    return vreinterpretq_u16_u8(vld1q_u8(reinterpret_cast<const uint8_t*>(p)));
  }
}

constexpr size_t Beyond(size_t valid, size_t i) {
  return valid > i ? std::min<size_t>(valid - i, 8) : 0;
}

// Lines of a tile as storage gives them: line r is row r, its 32 k.
template <bool kIsF32>
void ReadRows(const std::byte* from, size_t stride, size_t rows, size_t depth, uint16_t* lines) {
  for (size_t r = 0; r < kPanelRows; ++r)
    for (size_t k = 0; k < kPanelDepth; k += 8)
      vst1q_u16(lines + r * kPanelDepth + k,
                r < rows && k < depth
                    ? Load8<kIsF32>(from + r * stride + k * (kIsF32 ? 4 : 2), Beyond(depth, k))
                    : vdupq_n_u16(0));
}

// The same from transposed storage: line i is the pair k = 2 i, 2 i + 1 of the 16 rows.
template <bool kIsF32>
void ReadPairs(const std::byte* from, size_t stride, size_t rows, size_t depth, uint16_t* lines) {
  for (size_t i = 0; i < kDwords; ++i)
    for (size_t r = 0; r < kPanelRows; r += 8) {
      uint16x8_t words[2];
      for (size_t j = 0; j < 2; ++j)
        words[j] =
            r < rows && 2 * i + j < depth
                ? Load8<kIsF32>(from + (2 * i + j) * stride + r * (kIsF32 ? 4 : 2), Beyond(rows, r))
                : vdupq_n_u16(0);
      vst1q_u16(lines + i * kPanelDepth + 2 * r, vzip1q_u16(words[0], words[1]));
      vst1q_u16(lines + i * kPanelDepth + 2 * r + 8, vzip2q_u16(words[0], words[1]));
    }
}

// out = lines with rows and columns of dwords exchanged.
void TransposeTile(const uint16_t* lines, uint16_t* out) {
  for (size_t i = 0; i < kDwords; i += 4) {
    for (size_t j = 0; j < kDwords; j += 4) {
      uint32x4_t v[4];
      for (size_t r = 0; r < 4; ++r)
        v[r] = vreinterpretq_u32_u16(vld1q_u16(lines + (i + r) * kPanelDepth + 2 * j));
      const uint64x2_t a = vreinterpretq_u64_u32(vtrn1q_u32(v[0], v[1]));  // columns 0 and 2
      const uint64x2_t b = vreinterpretq_u64_u32(vtrn2q_u32(v[0], v[1]));  // columns 1 and 3
      const uint64x2_t c = vreinterpretq_u64_u32(vtrn1q_u32(v[2], v[3]));
      const uint64x2_t d = vreinterpretq_u64_u32(vtrn2q_u32(v[2], v[3]));
      const uint64x2_t columns[4] = {vtrn1q_u64(a, c), vtrn1q_u64(b, d), vtrn2q_u64(a, c),
                                     vtrn2q_u64(b, d)};
      for (size_t r = 0; r < 4; ++r)
        vst1q_u16(out + (j + r) * kPanelDepth + 2 * i, vreinterpretq_u16_u64(columns[r]));
    }
  }
}

template <bool kIsF32, bool kFromPairs, bool kTranspose>
void Pack(const PanelSource& x, size_t R, size_t K, uint16_t* out) {
  const size_t stride = x.stride * (kIsF32 ? 4 : 2);
  alignas(64) uint16_t lines[kTileElems];
  for (size_t r = 0; r < R; r += kPanelRows) {
    const size_t rows = std::min(kPanelRows, R - r);
    for (size_t k = 0; k < K; k += kPanelDepth, out += kTileElems) {
      const size_t depth = std::min(kPanelDepth, K - k);
      const auto* from = static_cast<const std::byte*>(x.At(r, k).data);
      uint16_t* read = kTranspose ? lines : out;
      if constexpr (kFromPairs)
        ReadPairs<kIsF32>(from, stride, rows, depth, read);
      else
        ReadRows<kIsF32>(from, stride, rows, depth, read);
      if constexpr (kTranspose) TransposeTile(lines, out);
    }
  }
}

template <bool kIsLeft>
void PackAny(const PanelSource& x, size_t R, size_t K, uint16_t* out) noexcept {
  if (x.dtype == DType::kF32) {
    if (x.is_transposed)
      Pack<true, true, kIsLeft>(x, R, K, out);
    else
      Pack<true, false, !kIsLeft>(x, R, K, out);
  } else {
    if (x.is_transposed)
      Pack<false, true, kIsLeft>(x, R, K, out);
    else
      Pack<false, false, !kIsLeft>(x, R, K, out);
  }
}

// ---- the product

// A right panel holds pairs of k, bfmmla wants fours of two rows: they are zipped once for all rows of the left side, so many
// tiles at a time (8 KiB, in the first-level cache).
constexpr size_t kChunkTiles = 8;
constexpr size_t kFours = kPanelDepth / 4;    // of a tile
constexpr size_t kRowPairs = kPanelRows / 2;  // of a panel
constexpr size_t kRows = 4;  // register tile: 4 rows of A x 16 rows of B, 16 vectors of sums
constexpr size_t kFourElems = kPanelRows * 4;

// out: [tiles][kFours][kRowPairs][2 rows][4 k].
void ZipRight(const uint16_t* right, size_t tiles, uint16_t* out) {
  for (size_t four = 0; four < tiles * kFours; ++four, right += 4 * kPanelRows) {
    for (size_t n = 0; n < kPanelRows; n += 4, out += 16) {
      const uint32x4_t low = vreinterpretq_u32_u16(vld1q_u16(right + 2 * n));
      const uint32x4_t high = vreinterpretq_u32_u16(vld1q_u16(right + 2 * kPanelRows + 2 * n));
      vst1q_u16(out, vreinterpretq_u16_u32(vzip1q_u32(low, high)));
      vst1q_u16(out + 8, vreinterpretq_u16_u32(vzip2q_u32(low, high)));
    }
  }
}

inline bfloat16x8_t AsBF16(uint64x2_t v) { return vreinterpretq_bf16_u64(v); }

// c[4 rows][16] (+)= 4 rows of a left panel times a zipped right panel; `from` is read unless is_zero.
void MultiplyTile(const uint16_t* left, const uint16_t* zipped, size_t tiles, bool is_zero,
                  const float* from, size_t from_stride, float* c, size_t c_stride) {
  float32x4_t acc[kRows / 2][kRowPairs];  // [row][row of the other side] 00 01 10 11
#pragma GCC unroll 2
  for (size_t m = 0; m < kRows / 2; ++m) {
#pragma GCC unroll 4
    for (size_t n = 0; n < kRowPairs; n += 2) {
      float64x2_t first = vdupq_n_f64(0), second = first;
      if (!is_zero) {
        first = vreinterpretq_f64_f32(vld1q_f32(from + 2 * m * from_stride + 2 * n));
        second = vreinterpretq_f64_f32(vld1q_f32(from + (2 * m + 1) * from_stride + 2 * n));
      }
      acc[m][n] = vreinterpretq_f32_f64(vzip1q_f64(first, second));
      acc[m][n + 1] = vreinterpretq_f32_f64(vzip2q_f64(first, second));
    }
  }
  for (size_t tile = 0; tile < tiles; ++tile, left += kTileElems) {
    for (size_t k = 0; k < kPanelDepth; k += 8) {
      bfloat16x8_t a[2][kRows / 2];  // [four][pair of rows]
#pragma GCC unroll 2
      for (size_t m = 0; m < kRows / 2; ++m) {
        const uint64x2_t first = vreinterpretq_u64_u16(vld1q_u16(left + 2 * m * kPanelDepth + k));
        const uint64x2_t second =
            vreinterpretq_u64_u16(vld1q_u16(left + (2 * m + 1) * kPanelDepth + k));
        a[0][m] = AsBF16(vzip1q_u64(first, second));
        a[1][m] = AsBF16(vzip2q_u64(first, second));
      }
#pragma GCC unroll 2
      for (size_t four = 0; four < 2; ++four, zipped += kFourElems) {
#pragma GCC unroll 8
        for (size_t n = 0; n < kRowPairs; ++n) {
          const bfloat16x8_t b = vreinterpretq_bf16_u16(vld1q_u16(zipped + 8 * n));
#pragma GCC unroll 2
          for (size_t m = 0; m < kRows / 2; ++m) acc[m][n] = vbfmmlaq_f32(acc[m][n], a[four][m], b);
        }
      }
    }
  }
#pragma GCC unroll 2
  for (size_t m = 0; m < kRows / 2; ++m) {
#pragma GCC unroll 4
    for (size_t n = 0; n < kRowPairs; n += 2) {
      const float64x2_t low = vreinterpretq_f64_f32(acc[m][n]);
      const float64x2_t high = vreinterpretq_f64_f32(acc[m][n + 1]);
      vst1q_f32(c + 2 * m * c_stride + 2 * n, vreinterpretq_f32_f64(vzip1q_f64(low, high)));
      vst1q_f32(c + (2 * m + 1) * c_stride + 2 * n, vreinterpretq_f32_f64(vzip2q_f64(low, high)));
    }
  }
}

// Columns [n, n + valid) of C for one right panel, of which `zipped` holds some tiles; from: null for zeros.
void MultiplyPanel(const PanelProduct& p, const uint16_t* left, const uint16_t* zipped,
                   size_t tiles, const float* from, size_t from_stride, size_t n, size_t valid) {
  for (size_t m = 0; m < p.M; m += kRows) {
    const uint16_t* a = left + m / kPanelRows * p.LeftPanel() + m % kPanelRows * kPanelDepth;
    const size_t rows = std::min(kRows, p.M - m);
    float* c = p.c + m * p.c_stride + n;
    const float* f = from == nullptr ? nullptr : from + m * from_stride + n;
    if (rows == kRows && valid == kPanelRows) {
      MultiplyTile(a, zipped, tiles, from == nullptr, f, from_stride, c, p.c_stride);
      continue;
    }
    float block[kRows * kPanelRows] = {};  // rows past the end are those of the panel: zeros
    if (f != nullptr)
      for (size_t r = 0; r < rows; ++r)
        std::copy_n(f + r * from_stride, valid, block + r * kPanelRows);
    MultiplyTile(a, zipped, tiles, /*is_zero=*/false, block, kPanelRows, block, kPanelRows);
    for (size_t r = 0; r < rows; ++r)
      std::copy_n(block + r * kPanelRows, valid, c + r * p.c_stride);
  }
}

void Multiply(const PanelProduct& p) noexcept {
  alignas(64) uint16_t zipped[kChunkTiles * kTileElems];
  const size_t tiles = TileCount(p.K);
  for (size_t n = 0; n < p.N; n += kPanelRows) {
    const uint16_t* right = p.right + n / kPanelRows * p.RightPanel();
    const size_t valid = std::min(kPanelRows, p.N - n);
    const float* from = p.from;
    size_t from_stride = p.from_stride, tile = 0;
    do {  // once even if K is 0
      const size_t count = std::min(kChunkTiles, tiles - tile);
      ZipRight(right + tile * kTileElems, count, zipped);
      MultiplyPanel(p, p.left + tile * kTileElems, zipped, count, from, from_stride, n, valid);
      from = p.c;
      from_stride = p.c_stride;
      tile += count;
    } while (tile < tiles);
  }
}

}  // namespace

const Bf16Level* Bf16LevelNeon() {
  static constexpr Bf16Level kLevel = {PackAny<true>, PackAny<false>, Multiply};
  return &kLevel;
}

}  // namespace planish
#pragma GCC pop_options

#else

namespace planish {
const Bf16Level* Bf16LevelNeon() { return nullptr; }
}  // namespace planish
#endif
