// SPDX-License-Identifier: Apache-2.0
// The int8 product on AMX: a group of 32 inputs is one tile product of up to 16 tokens x 16 rows, whose integer sums go through
// L1 to the float sums in registers. A block of rows is walked once for each panel of tokens, as it lies in memory; its codes
// are widened to signed bytes, without their zero, a few groups ahead of the product. Few tokens are streamed by VNNI.
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
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,gfni,f16c,fma,amx-tile,amx-int8")
namespace planish {
namespace amx {
namespace {

// Hot, in cycles a group of 16 rows: streams of 4 / 8 tokens 46 / 91, tiles of 4 / 8 / 12 / 16 tokens 53 / 65 / 79 / 91.
constexpr size_t kStreamTokens = 5;
constexpr size_t kTileTokens = 6;

// For GF2P8AFFINEQB: the four bits from `shift` on as a byte; `is_signed`: less 8, which is the upper bit inverted (by kSign)
// and repeated.
constexpr uint64_t NibbleMatrix(int shift, bool is_signed) {
  uint64_t matrix = 0;
  for (int bit = 0; bit < (is_signed ? 8 : 4); ++bit)
    matrix |= uint64_t{1} << (shift + (bit < 3 ? bit : 3)) << (8 * (7 - bit));
  return matrix;
}
constexpr int kSign = 0xF8;

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
    if constexpr (Kind::kTable)
      return _mm512_shuffle_epi8(table, _mm512_and_si512(both, _mm512_set1_epi8(15)));
    else
      return Nibble<Kind, 0>(both);
  }
  template <class Kind>
  static Codes High(__m512i both, Table table) {
    if constexpr (Kind::kTable)
      return Low<Kind>(_mm512_srli_epi16(both, 4), table);
    else
      return Nibble<Kind, 4>(both);
  }
  template <class Kind, int kShift>
  static Codes Nibble(__m512i both) {
    const __m512i matrix =
        _mm512_set1_epi64(static_cast<int64_t>(NibbleMatrix(kShift, !Kind::kMin)));
    return _mm512_gf2p8affine_epi64_epi8(both, matrix, Kind::kMin ? 0 : kSign);
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

// Two entries may be on the way at a time, each in tiles of its own (whose numbers the assembler wants as literals).
template <class Kind, int kTurn>
inline void IssueEntry(const uint8_t* wide, const int8_t* codes, TileSums* out) {
  if constexpr (Kind::kScales == 2) {  // the turn is the half
    _tile_loadd(6, codes + 16 * kTurn, 32);
    _tile_loadd(7, wide + 256 * kTurn, 64);
  }
  if constexpr (kTurn == 0) {
    _tile_zero(0);
    if constexpr (Kind::kScales == 2) {
      _tile_dpbssd(0, 6, 7);
    } else {
      _tile_loadd(2, codes, 32);
      _tile_loadd(4, wide, 64);
      _tile_dpbssd(0, 2, 4);
    }
    _tile_stored(0, out->sums, 64);
  } else {
    _tile_zero(1);
    if constexpr (Kind::kScales == 2) {
      _tile_dpbssd(1, 6, 7);
    } else {
      _tile_loadd(3, codes, 32);
      _tile_loadd(5, wide, 64);
      _tile_dpbssd(1, 3, 5);
    }
    _tile_stored(1, out->sums, 64);
  }
}

// acc[token] += the sums of group g, or of its half s, scaled.
template <class Kind, size_t M>
inline void AddEntry(const TileSums& tile, const uint8_t* wide, const Int8Panel& x, size_t g,
                     size_t s, __m512* acc) {
  const auto* floats = reinterpret_cast<const float*>(wide + 512);
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

// Entries on the way from the tiles to the float sums, and groups from the widening to the tiles. What is stored cannot be
// forwarded to tile loads, nor stored tiles to vector loads, before it is in L1, so the distances in between must be more than
// what the core has in flight.
constexpr size_t kSumRing = 8, kSumDistance = 6;
constexpr size_t kWideRing = 16, kWideDistance = 4;
constexpr size_t kPrefetchBytes = 2048;

// sums [M tokens][16 rows] = the row block at p times a panel, of which the first M tokens matter.
template <class Kind, size_t M>
void MultiplyBlock(const uint8_t* p, size_t groups, const typename Ops::Table& table,
                   const Int8Panel& x, float* sums) {
  constexpr size_t S = Kind::kScales, kGroupsOfTurn = 2 / S;
  alignas(64) uint8_t wide[kWideRing * kWideBytes<Kind>];
  TileSums ring[kSumRing];
  __m512 acc[M];
#pragma GCC unroll 16
  for (size_t m = 0; m < M; ++m) acc[m] = _mm512_setzero_ps();
  const auto wide_of = [&](size_t g) { return wide + g % kWideRing * kWideBytes<Kind>; };
  const auto widen = [&](size_t g) {
    if (g >= groups) return;
    const uint8_t* group = p + g * Kind::kGroupBytes;
    Widen<Kind>(group, 1, group + kPrefetchBytes, table, wide_of(g));
  };
  for (size_t g = 0; g < kWideDistance; ++g) widen(g);
  const size_t entries = groups * S;
  for (size_t e = 0; e < entries + kSumDistance; e += 2) {
    for (size_t i = 0; i < kGroupsOfTurn; ++i) widen(e / S + i + kWideDistance);
    asm volatile("" ::: "memory");  // tile loads do not tell the compiler what they read
    if (e < entries)
      IssueEntry<Kind, 0>(wide_of(e / S), x.codes + e / S * 16 * 32, &ring[e % kSumRing]);
    if (e + 1 < entries)
      IssueEntry<Kind, 1>(wide_of((e + 1) / S), x.codes + (e + 1) / S * 16 * 32,
                          &ring[(e + 1) % kSumRing]);
    asm volatile("" ::: "memory");
    if (e < kSumDistance) continue;
    const size_t done = e - kSumDistance;
    for (size_t d = done; d < std::min(done + 2, entries); ++d)
      AddEntry<Kind, M>(ring[d % kSumRing], wide_of(d / S), x, d / S, d % S, acc);
  }
#pragma GCC unroll 16
  for (size_t m = 0; m < M; ++m) _mm512_store_ps(sums + 16 * m, acc[m]);
}

template <class Kind, size_t M>
void MultiplyBlocks(const Int8Weight& w, size_t begin, size_t end, const Int8Rows& x, size_t first,
                    size_t last, AmxShape shape, float* y) {
  const AmxTiles scope(shape);
  const typename Ops::Table table = Ops::LoadTable(w.format.table);
  alignas(64) float sums[M * kPackedRows];
  for (size_t b = begin; b < end; ++b) {
    for (size_t panel = first; panel < last; ++panel) {
      MultiplyBlock<Kind, M>(w.data + b * w.block_bytes(), w.groups, table, x.panel(panel), sums);
      StoreSums(w, b, sums, std::min(M, x.tokens() - panel * 16), y + panel * 16 * w.out);
    }
  }
}

void Tile(const Int8Weight& w, size_t begin, size_t end, const Int8Rows& x, size_t first,
          size_t last, uint8_t*, float* y) noexcept {
  const size_t tokens = std::min<size_t>(16, x.tokens() - first * 16);
  WithKind(w.format, [&](auto kind) {
    using Kind = decltype(kind);
    if (tokens <= 8)
      MultiplyBlocks<Kind, 8>(w, begin, end, x, first, last, AmxShape::kGroupsOf8, y);
    else if (tokens <= 12)
      MultiplyBlocks<Kind, 12>(w, begin, end, x, first, last, AmxShape::kGroupsOf12, y);
    else
      MultiplyBlocks<Kind, 16>(w, begin, end, x, first, last, AmxShape::kGroupsOf16, y);
  });
}

void Stream(const Int8Weight& w, size_t begin, size_t end, const Int8Panel& x, float* y) noexcept {
  kInt8Vnni.stream(w, begin, end, x, y);
}

}  // namespace
}  // namespace amx

const Int8Kernels kInt8Amx = {amx::kStreamTokens, amx::kTileTokens, 16, amx::Stream, amx::Tile};

}  // namespace planish
#pragma GCC pop_options
#endif
