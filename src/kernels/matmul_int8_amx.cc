// SPDX-License-Identifier: Apache-2.0
// The int8 product on AMX: a group of 32 inputs is one tile product of 16 tokens x 16 rows, whose integer sums go through L1 to
// the float sums in registers. Codes are widened to signed bytes without their zero. Few tokens are streamed by VNNI.
#include "kernels/matmul_int8_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "kernels/amx.h"

#pragma GCC push_options
#pragma GCC diagnostic ignored \
    "-Wuninitialized"  // GCC 12: undefined vectors inside its own intrinsics
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,f16c,fma,amx-tile,amx-int8")
namespace planish {
namespace amx {
namespace {

constexpr size_t kStreamTokens = 8;

struct Ops {
  static constexpr size_t kVectors = 1;
  using Codes = __m512i;
  using Floats = __m512;
  using Table = __m512i;

  static Table LoadTable(const int8_t* table) {
    if (table == nullptr) return _mm512_setzero_si512();
    return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
  }
  static __m512i Load(const uint8_t* p) { return _mm512_loadu_si512(p); }
  template <class Kind>
  static Codes Low(__m512i both, Table table) {
    const __m512i codes = _mm512_and_si512(both, _mm512_set1_epi8(15));
    if (Kind::kTable) return _mm512_shuffle_epi8(table, codes);
    return Kind::kMin ? codes : _mm512_sub_epi8(codes, _mm512_set1_epi8(8));
  }
  template <class Kind>
  static Codes High(__m512i both, Table table) {
    return Low<Kind>(_mm512_srli_epi16(both, 4), table);
  }
  static Codes Whole(__m512i codes) { return _mm512_xor_si512(codes, _mm512_set1_epi8(-128)); }
  static void StoreBytes(uint8_t* p, Codes codes) { _mm512_store_si512(p, codes); }
  static void Store(float* p, Floats v) { _mm512_store_ps(p, v); }
  static Floats LoadHalf(const uint8_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
};

#include "kernels/matmul_int8-inl.h"

// Integer sums of one entry (a group, or half of one): [token][row].
struct alignas(64) TileSums {
  int32_t sums[16 * 16];
};

// Two entries may be on the way at a time, each in tiles of its own.
template <class Kind, int kTurn>
inline void IssueEntry(const uint8_t* wide, const int8_t* codes, size_t entry, TileSums* out) {
  const size_t g = entry / Kind::kScales;
  wide += g * kWideBytes<Kind>;
  codes += g * 16 * 32;
  if constexpr (Kind::kScales == 2) {
    const size_t half = entry % 2;
    _tile_loadd(6, codes + 16 * half, 32);
    _tile_loadd(7, wide + 256 * half, 64);
    if constexpr (kTurn == 0) {
      _tile_zero(0);
      _tile_dpbssd(0, 6, 7);
      _tile_stored(0, out->sums, 64);
    } else {
      _tile_zero(1);
      _tile_dpbssd(1, 6, 7);
      _tile_stored(1, out->sums, 64);
    }
  } else if constexpr (kTurn == 0) {
    _tile_zero(0);
    _tile_loadd(2, codes, 32);
    _tile_loadd(4, wide, 64);
    _tile_dpbssd(0, 2, 4);
    _tile_stored(0, out->sums, 64);
  } else {
    _tile_zero(1);
    _tile_loadd(3, codes, 32);
    _tile_loadd(5, wide, 64);
    _tile_dpbssd(1, 3, 5);
    _tile_stored(1, out->sums, 64);
  }
}

// acc[token] += the entry's sums, scaled.
template <class Kind, size_t M>
inline void AddEntry(const TileSums& tile, const uint8_t* wide, const Int8Panel& x, size_t entry,
                     __m512* acc) {
  const size_t g = entry / Kind::kScales, s = entry % Kind::kScales;
  const auto* floats = reinterpret_cast<const float*>(wide + g * kWideBytes<Kind> + 512);
  const __m512 scale = _mm512_load_ps(floats + 16 * s);
  const float* scales = x.scales + 16 * g;
#pragma GCC unroll 16
  for (size_t m = 0; m < M; ++m) {
    const __m512 sum = _mm512_cvtepi32_ps(_mm512_load_si512(tile.sums + 16 * m));
    acc[m] = _mm512_fmadd_ps(sum, _mm512_mul_ps(scale, _mm512_set1_ps(scales[m])), acc[m]);
  }
  if constexpr (Kind::kMin) {
    const __m512 min = _mm512_load_ps(floats + 16);
    const float* sums = x.scaled_sums + 16 * g;
#pragma GCC unroll 16
    for (size_t m = 0; m < M; ++m) acc[m] = _mm512_fnmadd_ps(min, _mm512_set1_ps(sums[m]), acc[m]);
  }
}

// Entries on the way from the tiles to the float sums. Stored tiles cannot be forwarded to loads before they are in L1, so the
// distance in between must be more than what the core has in flight.
constexpr size_t kRing = 8, kDistance = 6;

// sums [16 tokens][16 rows] += one widened row block times a panel, of which the first M tokens matter.
template <class Kind, size_t M>
void MultiplyBlock(const uint8_t* wide, size_t groups, const Int8Panel& x, float* sums) {
  TileSums ring[kRing];
  __m512 acc[M];
#pragma GCC unroll 16
  for (size_t m = 0; m < M; ++m) acc[m] = _mm512_load_ps(sums + 16 * m);
  const size_t entries = groups * Kind::kScales;
  asm volatile("" ::: "memory");  // tile loads do not tell the compiler what they read
  for (size_t e = 0; e < entries + kDistance; e += 2) {
    if (e < entries) IssueEntry<Kind, 0>(wide, x.codes, e, &ring[e % kRing]);
    if (e + 1 < entries) IssueEntry<Kind, 1>(wide, x.codes, e + 1, &ring[(e + 1) % kRing]);
    if (e < kDistance) continue;
    const size_t done = e - kDistance;
    AddEntry<Kind, M>(ring[done % kRing], wide, x, done, acc);
    if (done + 1 < entries) AddEntry<Kind, M>(ring[(done + 1) % kRing], wide, x, done + 1, acc);
  }
#pragma GCC unroll 16
  for (size_t m = 0; m < M; ++m) _mm512_store_ps(sums + 16 * m, acc[m]);
}

void Tile(const Int8Weight& w, size_t begin, size_t end, const Int8Rows& x, size_t first,
          size_t last, uint8_t* workspace, float* y) noexcept {
  const AmxTiles scope(AmxShape::kGroups);
  WithKind(w.format, [&](auto kind) {
    using Kind = decltype(kind);
    TileBlocks<Kind>(
        w, begin, end, x, first, last, workspace, y,
        [](const uint8_t* wide, size_t stride, size_t blocks, size_t groups, const Int8Panel& panel,
           size_t tokens, float* sums, size_t sum_stride) {
          for (size_t b = 0; b < blocks; ++b) {
            if (tokens <= 8)
              MultiplyBlock<Kind, 8>(wide + b * stride, groups, panel, sums + b * sum_stride);
            else
              MultiplyBlock<Kind, 16>(wide + b * stride, groups, panel, sums + b * sum_stride);
          }
        });
  });
}

void Stream(const Int8Weight& w, size_t begin, size_t end, const Int8Panel& x, float* y) noexcept {
  kInt8Vnni.stream(w, begin, end, x, y);
}

}  // namespace
}  // namespace amx

const Int8Kernels kInt8Amx = {amx::kStreamTokens, 16, amx::Stream, amx::Tile};

}  // namespace planish
#pragma GCC pop_options
#endif
