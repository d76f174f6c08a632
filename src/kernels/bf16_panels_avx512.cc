// SPDX-License-Identifier: Apache-2.0
// Packers of bf16 panels and their product by vdpbf16ps (performance.md K4). A tile is read either as 16 rows of 32 k (from
// [R, K] storage: a left tile as it stands) or as 16 pairs of k (from [K, R] storage: a right tile); the other kind is its
// transpose in dwords. This file runs only where Has(Isa::kBf16).
#include "kernels/bf16_panels_level.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>

#include "kernels/transpose_avx512-inl.h"

// GCC 12 takes the undefined pass-through operands inside its own intrinsics for a mistake of ours.
#pragma GCC diagnostic ignored "-Wuninitialized"

#define PLANISH_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))

namespace planish {
namespace {

__mmask16 FirstLanes(size_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xFFFFu : (1u << count) - 1u);
}

// 32 elements of a storage row as bf16, the first `valid` of them.
template <bool kIsF32>
PLANISH_BF16 inline __m512i LoadRow(const std::byte* p, size_t valid) {
  if constexpr (kIsF32) {
    const __m512 low = _mm512_maskz_loadu_ps(FirstLanes(valid), p);
    const __m512 high = _mm512_maskz_loadu_ps(FirstLanes(valid > 16 ? valid - 16 : 0), p + 64);
    return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
  } else {
    const uint32_t mask = valid >= 32 ? 0xFFFFFFFFu : (1u << valid) - 1u;
    return _mm512_maskz_loadu_epi16(mask, p);
  }
}

// 16 elements of two storage rows, as the two words of each dword.
template <bool kIsF32>
PLANISH_BF16 inline __m512i LoadPair(const std::byte* first, const std::byte* second, size_t valid,
                                     __m512i interleave) {
  const __mmask16 mask = FirstLanes(valid);
  __m512i words;  // all of the first row, then all of the second
  if constexpr (kIsF32) {
    const __m512 low = _mm512_maskz_loadu_ps(mask, first);
    const __m512 high =
        second == nullptr ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask, second);
    words = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
  } else {
    const __m256i low = _mm256_maskz_loadu_epi16(mask, first);
    const __m256i high =
        second == nullptr ? _mm256_setzero_si256() : _mm256_maskz_loadu_epi16(mask, second);
    words = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
  }
  return _mm512_permutexvar_epi16(interleave, words);
}

PLANISH_BF16 inline __m512i InterleaveHalves() {
  const __m512i dwords = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return _mm512_or_si512(dwords,
                         _mm512_slli_epi32(_mm512_add_epi32(dwords, _mm512_set1_epi32(16)), 16));
}

// The tile of rows [r0, r0 + rows) and k [k0, k0 + depth).
template <bool kIsF32, bool kFromPairs, bool kTranspose>
PLANISH_BF16 inline void PackTile(const PanelSource& x, size_t r0, size_t rows, size_t k0,
                                  size_t depth, __m512i interleave, uint16_t* out) {
  constexpr size_t kAhead = 512;  // bytes
  const size_t stride = x.stride * (kIsF32 ? 4 : 2);
  const auto* from = static_cast<const std::byte*>(x.At(r0, k0).data);
  __m512i v[16];
#pragma GCC unroll 16
  for (size_t i = 0; i < 16; ++i) {
    if constexpr (kFromPairs) {
      const std::byte* first = from + 2 * i * stride;
      _mm_prefetch(first + kPanelDepth * stride, _MM_HINT_T0);
      _mm_prefetch(first + (kPanelDepth + 1) * stride, _MM_HINT_T0);
      v[i] = 2 * i < depth ? LoadPair<kIsF32>(first, 2 * i + 1 < depth ? first + stride : nullptr,
                                              rows, interleave)
                           : _mm512_setzero_si512();
    } else {
      _mm_prefetch(from + i * stride + kAhead, _MM_HINT_T0);
      v[i] = i < rows ? LoadRow<kIsF32>(from + i * stride, depth) : _mm512_setzero_si512();
    }
  }
  if constexpr (kTranspose) Transpose16(v);
#pragma GCC unroll 16
  for (size_t i = 0; i < 16; ++i) _mm512_store_si512(out + i * kPanelDepth, v[i]);
}

template <bool kIsF32, bool kFromPairs, bool kTranspose>
PLANISH_BF16 void Pack(const PanelSource& x, size_t R, size_t K, uint16_t* out) {
  const __m512i interleave = InterleaveHalves();
  // Storage rows are walked through from end to end: those of a transposed matrix hold a row of tiles each.
  const size_t panels = PanelCount(R), tiles = TileCount(K);
  for (size_t i = 0; i < panels * tiles; ++i) {
    const size_t r0 = (kFromPairs ? i % panels : i / tiles) * kPanelRows;
    const size_t k0 = (kFromPairs ? i / panels : i % tiles) * kPanelDepth;
    PackTile<kIsF32, kFromPairs, kTranspose>(x, r0, std::min(kPanelRows, R - r0), k0,
                                             std::min(kPanelDepth, K - k0), interleave,
                                             out + r0 * tiles * kPanelDepth + k0 * kPanelRows);
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

// Register tile: 8 rows x 2 vectors of sums; vdpbf16ps has a latency of 5-6 cycles at one or two a cycle.
constexpr size_t kRows = 8;

// Rows [m, m + rows) of C, kVectors vectors of columns from n on.
template <size_t kVectors>
PLANISH_BF16 void MultiplyBlock(const PanelProduct& p, size_t m, size_t rows, size_t n) {
  const size_t tiles = TileCount(p.K);
  const uint16_t* right = p.right + n / kPanelRows * p.RightPanel();
  const uint16_t* left = p.left + m / kPanelRows * p.LeftPanel() + m % kPanelRows * kPanelDepth;
  __mmask16 mask[kVectors];
  for (size_t v = 0; v < kVectors; ++v)
    mask[v] = FirstLanes(std::min(kPanelRows, p.N - n - v * kPanelRows));
  __m512 acc[kRows][kVectors];
#pragma GCC unroll 8
  for (size_t r = 0; r < kRows; ++r)
#pragma GCC unroll 2
    for (size_t v = 0; v < kVectors; ++v)
      acc[r][v] = p.from == nullptr || r >= rows
                      ? _mm512_setzero_ps()
                      : _mm512_maskz_loadu_ps(
                            mask[v], p.from + (m + r) * p.from_stride + n + v * kPanelRows);
  for (size_t tile = 0; tile < tiles; ++tile) {
    for (size_t pair = 0; pair < kPanelDepth / 2; ++pair) {
      __m512bh b[kVectors];
#pragma GCC unroll 2
      for (size_t v = 0; v < kVectors; ++v)
        b[v] = reinterpret_cast<__m512bh>(_mm512_load_si512(
            right + v * p.RightPanel() + tile * kTileElems + pair * 2 * kPanelRows));
#pragma GCC unroll 8
      for (size_t r = 0; r < kRows; ++r) {
        int dword;  // rows past the end are zeros or belong to the panel: harmless
        __builtin_memcpy(&dword, left + tile * kTileElems + r * kPanelDepth + 2 * pair, 4);
        const __m512bh a = reinterpret_cast<__m512bh>(_mm512_set1_epi32(dword));
#pragma GCC unroll 2
        for (size_t v = 0; v < kVectors; ++v) acc[r][v] = _mm512_dpbf16_ps(acc[r][v], a, b[v]);
      }
    }
  }
#pragma GCC unroll 8
  for (size_t r = 0; r < kRows; ++r)
#pragma GCC unroll 2
    for (size_t v = 0; v < kVectors; ++v)
      if (r < rows)
        _mm512_mask_storeu_ps(p.c + (m + r) * p.c_stride + n + v * kPanelRows, mask[v], acc[r][v]);
}

PLANISH_BF16 void Multiply(const PanelProduct& p) noexcept {
  size_t n = 0;
  for (; n + kPanelRows < p.N; n += 2 * kPanelRows)
    for (size_t m = 0; m < p.M; m += kRows) MultiplyBlock<2>(p, m, std::min(kRows, p.M - m), n);
  if (n < p.N)
    for (size_t m = 0; m < p.M; m += kRows) MultiplyBlock<1>(p, m, std::min(kRows, p.M - m), n);
}

}  // namespace

const Bf16Level* Bf16LevelAvx512() {
  static constexpr Bf16Level kLevel = {PackAny<true>, PackAny<false>, Multiply};
  return &kLevel;
}

}  // namespace planish

#else

namespace planish {
const Bf16Level* Bf16LevelAvx512() { return nullptr; }
}  // namespace planish
#endif
