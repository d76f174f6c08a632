// SPDX-License-Identifier: Apache-2.0
// Training attention with bf16 operands and float sums on x86: products by AMX or vdpbf16ps, the rest by AVX-512.
// Scores are kept transposed, [keys, 32 queries]: softmax then works on vectors of queries, and rounded probabilities
// p and score gradients ds are rows of a left operand as they are (for dv = p dout, dk = ds q) and, zipped in pairs of keys,
// rows of a right one (for out = v p and dq = k ds, both kept as [channels, queries]). Nothing is transposed but the results.
// Zipping inside 128-bit lanes permutes the queries of such a result: see PlaceOf. Only if Has(Isa::kBf16).
#include "kernels/flash_tile.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "kernels/bf16_panels.h"
#include "kernels/flash_product.h"
#include "kernels/isa.h"
#include "kernels/scratch.h"
#include "kernels/transpose_avx512-inl.h"

// GCC 12 warns of its own headers: the undefined source of an unmasked operation.
#pragma GCC diagnostic ignored "-Wuninitialized"

#define PLANISH_FLASH __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))
#define PLANISH_FLASH_INLINE PLANISH_FLASH __attribute__((always_inline)) inline

namespace planish {
namespace {

constexpr size_t kBlock = 128;       // keys of a block
constexpr size_t kQueryBlock = 256;  // queries of a block of backward
constexpr size_t kColumns = 32;      // queries whose softmax is done at a time, and keys of a strip
constexpr float kLowest = -1e30f;  // maximum of no scores; finite, so that differences are numbers
// Probabilities may exceed one by 2^8 before the sums are brought to a new maximum: bf16 rounds them alike, and most blocks
// then leave the sums alone.
constexpr float kSlack = 8;

constexpr size_t RoundUp(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

// Subnormal numbers run in microcode; the products take them for zero anyway.
class FlushSubnormals {
 public:
  FlushSubnormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  ~FlushSubnormals() { _mm_setcsr(before_); }

 private:
  unsigned before_;
};

// Sizes in elements that both directions use.
struct Sizes {
  size_t group;  // heads of a kv head
  size_t P;      // channels
  size_t rows;   // channels rounded up to whole blocks of products
  size_t tiles;  // of P
  size_t depth;  // elements of a panel of 16 rows x P
  explicit Sizes(const FlashShape& shape)
      : group(shape.heads / shape.kv_heads),
        P(shape.head_dim),
        rows(RoundUp(P, 32)),
        tiles(TileCount(P)),
        depth(tiles * kTileElems) {}
  // Elements of panels [rows, n].
  size_t Channels(size_t n) const { return rows / kPanelRows * TileCount(n) * kTileElems; }
};

void Multiply(bool has_amx, const FlashProduct& x) {
  if (has_amx) return FlashMultiplyAmx(x);
  MultiplyPanels({.left = x.left,
                  .right = x.right,
                  .M = x.M,
                  .N = x.N,
                  .K = x.tiles * kPanelDepth,
                  .from = x.from,
                  .from_stride = x.from_stride,
                  .c = x.c,
                  .c_stride = x.c_stride,
                  .left_panel = x.left_panel,
                  .right_panel = x.right_panel});
}

// Hands out the parts of a scratch buffer; of none, only counts.
class Parts {
 public:
  explicit Parts(float* memory) : memory_(memory) {}
  float* Floats(size_t n) {
    float* part = memory_ == nullptr ? nullptr : memory_ + used_;
    used_ += RoundUpToLine(n);
    return part;
  }
  uint16_t* Bf16(size_t n) { return reinterpret_cast<uint16_t*>(Floats((n + 1) / 2)); }
  size_t used() const { return used_; }

 private:
  float* memory_;
  size_t used_ = 0;
};

struct ForwardPlaces {
  uint16_t *q, *k, *v, *p;
  float *scores, *sums, *maximum, *total;
  size_t floats;
  ForwardPlaces(const FlashShape& shape, float* memory) {
    Parts parts(memory);
    const Sizes size(shape);
    const size_t columns = size.group * FlashForwardRows(shape);
    q = parts.Bf16(columns / kPanelRows * size.depth);  // right [columns, P]
    k = parts.Bf16(kBlock / kPanelRows * size.depth);   // left [kBlock, P]
    v = parts.Bf16(size.Channels(kBlock));              // left [P, kBlock]
    p = parts.Bf16(kColumns * kBlock);                  // right [kColumns, kBlock]
    scores = parts.Floats(kBlock * kColumns);           // [kBlock, kColumns]
    sums = parts.Floats(columns * size.rows);           // [columns / kColumns][channels, kColumns]
    maximum = parts.Floats(columns);
    total = parts.Floats(columns);
    floats = parts.used();
  }
};

struct BackwardPlaces {
  uint16_t *k, *v, *k_channels, *q, *dout, *q_channels, *dout_channels, *p, *ds, *ds_pairs;
  float *scores, *products, *dq, *dk, *dv;
  size_t floats;
  BackwardPlaces(const FlashShape& shape, float* memory) {
    Parts parts(memory);
    const Sizes size(shape);
    const size_t stripe = FlashStripe(shape), query_block = std::min(stripe, kQueryBlock);
    k = parts.Bf16(stripe / kPanelRows * size.depth);     // left [stripe, P]
    v = parts.Bf16(stripe / kPanelRows * size.depth);     // left [stripe, P]
    k_channels = parts.Bf16(size.Channels(stripe));       // [blocks] left [P, kBlock]
    q = parts.Bf16(stripe / kPanelRows * size.depth);     // right [stripe, P]
    dout = parts.Bf16(stripe / kPanelRows * size.depth);  // right [stripe, P]
    q_channels = parts.Bf16(size.Channels(stripe));       // [query blocks] right [P, block]
    dout_channels = parts.Bf16(size.Channels(stripe));    // [query blocks] right [P, block]
    p = parts.Bf16(kBlock * query_block);                 // left [keys, queries]
    ds = parts.Bf16(kBlock * query_block);                // left [keys, queries]
    ds_pairs = parts.Bf16(kColumns * kBlock);             // right [kColumns, keys]
    scores = parts.Floats(2 * kColumns * kColumns);       // two of [keys, kColumns]
    products = parts.Floats(2 * kColumns * kColumns);     // likewise, less delta
    dq = parts.Floats(stripe * size.rows);                // [parts][channels, kColumns]
    dk = parts.Floats(stripe * size.rows);                // [stripe, channels]
    dv = parts.Floats(stripe * size.rows);                // [stripe, channels]
    floats = parts.used();
  }
};

// One head of `x` from `row` on, of rows with `heads` heads.
PanelSource Source(const FlashMatrix& x, size_t row, size_t heads, size_t head, size_t P,
                   bool is_transposed) {
  PanelSource source = PanelSource{x.data, heads * P, x.dtype}.At(row, head * P);
  source.is_transposed = is_transposed;
  return source;
}

// Asks for rows of memory while something else is computed: rows of one head lie too far apart for the hardware to foresee.
void Fetch(const void* data, size_t stride_bytes, size_t row_bytes, size_t rows) {
  const auto* row = static_cast<const std::byte*>(data);
  for (size_t r = 0; r < rows; ++r, row += stride_bytes)
    for (size_t i = 0; i < row_bytes; i += 64) __builtin_prefetch(row + i, 0, 2);
}

// Parts of three sets of rows, one part a step.
struct RowsAhead {
  struct Rows {
    const void* data = nullptr;  // null: none
    size_t stride_bytes = 0, row_bytes = 0;
  };
  Rows sets[3];
  size_t rows = 0, rows_per_step = 0, done = 0;
  void Step() {
    const size_t count = std::min(rows_per_step, rows - done);
    for (const Rows& set : sets) {
      if (set.data == nullptr) continue;
      Fetch(static_cast<const std::byte*>(set.data) + done * set.stride_bytes, set.stride_bytes,
            set.row_bytes, count);
    }
    done += count;
  }
};

// Channels [P, n] of n rows from `row` on, with zeros to a whole block of rows.
void PackChannels(void (*pack)(const PanelSource&, size_t, size_t, uint16_t*) noexcept,
                  const FlashMatrix& x, size_t row, size_t heads, size_t head, const Sizes& size,
                  size_t n, uint16_t* out) {
  pack(Source(x, row, heads, head, size.P, true), size.P, n, out);
  const size_t used = PackedElems(size.P, n);
  std::memset(out + used, 0, (size.Channels(n) - used) * 2);
}

// 2^x for x <= 0 (a little above is fine) to 2.7e-6 relative, by a polynomial of degree 4 in x - floor(x) (minimax). -inf gives
// zero; NaN stays.
PLANISH_FLASH_INLINE __m512 Exp2(__m512 x) {
  const __m512 r = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  __m512 y = _mm512_set1_ps(0.013534167781472206f);
  y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(0.052011460065841675f));
  y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(0.2414427548646927f));
  y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(0.6930038332939148f));
  y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(1.0000026226043701f));
  return _mm512_scalef_ps(y, x);
}

PLANISH_FLASH_INLINE __m512i Round(__m512 low, __m512 high) {
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
}

// Rows of 32 queries of two neighbouring keys become rows of pairs in two panels.
PLANISH_FLASH_INLINE void StorePairs(__m512i a, __m512i b, uint16_t* first, uint16_t* second) {
  _mm512_store_si512(first, _mm512_unpacklo_epi16(a, b));
  _mm512_store_si512(second, _mm512_unpackhi_epi16(a, b));
}
// The query (of 32) whose pairs StorePairs puts in column n of panel s.
constexpr size_t PlaceOf(size_t s, size_t n) { return n / 4 * 8 + s * 4 + n % 4; }

// Lanes of queries q .. q + 31 that see key number r after q.
inline uint32_t Sees(size_t r) { return r < 32 ? ~uint32_t{0} << r : 0; }

// Of `rows` rows of scores. kIsDiagonal: row r is r keys after query 0.
template <bool kIsDiagonal>
PLANISH_FLASH_INLINE void Largest(const float* scores, size_t rows, __m512 (&largest)[2]) {
  for (size_t r = 0; r < rows; ++r) {
    for (size_t i = 0; i < 2; ++i) {
      const __m512 s = _mm512_load_ps(scores + r * kColumns + 16 * i);
      const auto mask = static_cast<__mmask16>(Sees(r) >> (16 * i));
      largest[i] = kIsDiagonal ? _mm512_mask_max_ps(largest[i], mask, s, largest[i])
                               : _mm512_max_ps(s, largest[i]);
    }
  }
}

// p = 2^(factor * score - shift) of `rows` rows, a multiple of 32, to the panels at `first` and `second`.
template <bool kIsDiagonal>
PLANISH_FLASH_INLINE void Exponentials(const float* scores, size_t rows, __m512 factor,
                                       const __m512 (&shift)[2], __m512 (&total)[2],
                                       uint16_t* first, uint16_t* second) {
  for (size_t r = 0; r < rows; r += 2, first += 32, second += 32) {
    __m512 p[2][2];
#pragma GCC unroll 2
    for (size_t key = 0; key < 2; ++key) {
#pragma GCC unroll 2
      for (size_t i = 0; i < 2; ++i) {
        const __m512 s = _mm512_load_ps(scores + (r + key) * kColumns + 16 * i);
        p[key][i] = Exp2(_mm512_fmsub_ps(s, factor, shift[i]));
        if constexpr (kIsDiagonal) {
          const auto mask = static_cast<__mmask16>(Sees(r + key) >> (16 * i));
          p[key][i] = _mm512_maskz_mov_ps(mask, p[key][i]);
        }
      }
    }
#pragma GCC unroll 2
    for (size_t i = 0; i < 2; ++i)
      total[i] = _mm512_add_ps(total[i], _mm512_add_ps(p[0][i], p[1][i]));
    StorePairs(Round(p[0][0], p[0][1]), Round(p[1][0], p[1][1]), first, second);
  }
}

// 32 queries with `keys` keys (a multiple of 32): scores become probabilities in p, two right panels; maximum
// (of scores), total and sums [channels, kColumns] are brought up to date. is_diagonal: the last 32 keys are the queries' own.
PLANISH_FLASH void UpdateSoftmax(const float* scores, size_t keys, bool is_diagonal, float scale,
                                 size_t channels, float* maximum, float* total, float* sums,
                                 uint16_t* p) {
  const size_t seen_by_all = is_diagonal ? keys - 32 : keys;
  const float factor = scale * std::numbers::log2e_v<float>;
  __m512 before[2], largest[2], shift[2], sum[2];
  for (size_t i = 0; i < 2; ++i) {
    before[i] = largest[i] = _mm512_load_ps(maximum + 16 * i);
    sum[i] = _mm512_load_ps(total + 16 * i);
  }
  Largest<false>(scores, seen_by_all, largest);
  if (is_diagonal) Largest<true>(scores + seen_by_all * kColumns, 32, largest);
  const __m512 slack = _mm512_set1_ps(kSlack / factor);
  __mmask16 grows[2];
  for (size_t i = 0; i < 2; ++i) {
    // Not "less or equal": a NaN has to show.
    grows[i] = _mm512_cmp_ps_mask(largest[i], _mm512_add_ps(before[i], slack), _CMP_NLE_UQ);
    largest[i] = _mm512_mask_mov_ps(before[i], grows[i], largest[i]);
    shift[i] = _mm512_mul_ps(largest[i], _mm512_set1_ps(factor));
  }
  if ((grows[0] | grows[1]) != 0) {
    __m512 change[2];  // exactly one where the maximum stays
    for (size_t i = 0; i < 2; ++i) {
      const __m512 fall =
          _mm512_mul_ps(_mm512_sub_ps(before[i], largest[i]), _mm512_set1_ps(factor));
      change[i] = _mm512_mask_mov_ps(_mm512_set1_ps(1), grows[i], Exp2(fall));
      sum[i] = _mm512_mul_ps(sum[i], change[i]);
      _mm512_store_ps(maximum + 16 * i, largest[i]);
    }
    // In the order of the sums' columns.
    alignas(64) int place[2][16];
    for (size_t s = 0; s < 2; ++s)
      for (size_t n = 0; n < 16; ++n) place[s][n] = static_cast<int>(PlaceOf(s, n));
    __m512 column[2];
    for (size_t s = 0; s < 2; ++s)
      column[s] = _mm512_permutex2var_ps(change[0], _mm512_load_si512(place[s]), change[1]);
    for (size_t c = 0; c < channels; ++c) {
      for (size_t s = 0; s < 2; ++s) {
        float* to = sums + c * kColumns + 16 * s;
        _mm512_store_ps(to, _mm512_mul_ps(_mm512_load_ps(to), column[s]));
      }
    }
  }
  const __m512 factors = _mm512_set1_ps(factor);
  uint16_t* second = p + keys / kPanelDepth * kTileElems;
  Exponentials<false>(scores, seen_by_all, factors, shift, sum, p, second);
  if (is_diagonal) {
    const size_t offset = seen_by_all / kPanelDepth * kTileElems;
    Exponentials<true>(scores + seen_by_all * kColumns, 32, factors, shift, sum, p + offset,
                       second + offset);
  }
  for (size_t i = 0; i < 2; ++i) _mm512_store_ps(total + 16 * i, sum[i]);
}

// to[query][c] (+)= factors[query] * sums[c][column of the query], for `queries` of 32 queries and P channels. Rows of sums are
// `stride` floats apart, rows of `to` to_stride.
PLANISH_FLASH void WriteQueries(const float* sums, size_t stride, size_t queries, size_t P,
                                const float* factors, bool add, float* to, size_t to_stride) {
  for (size_t s = 0; s < 2; ++s) {
    for (size_t c = 0; c < P; c += 16) {
      __m512i v[16];
#pragma GCC unroll 16
      for (size_t i = 0; i < 16; ++i) v[i] = _mm512_load_si512(sums + (c + i) * stride + 16 * s);
      Transpose16(v);
      const auto mask = static_cast<__mmask16>(P - c >= 16 ? 0xFFFF : (1u << (P - c)) - 1);
#pragma GCC unroll 16
      for (size_t n = 0; n < 16; ++n) {
        const size_t query = PlaceOf(s, n);
        if (query >= queries) continue;
        float* row = to + query * to_stride + c;
        const __m512 x = _mm512_mul_ps(_mm512_castsi512_ps(v[n]), _mm512_set1_ps(factors[query]));
        _mm512_mask_storeu_ps(row, mask,
                              add ? _mm512_add_ps(_mm512_maskz_loadu_ps(mask, row), x) : x);
      }
    }
  }
}

// to[row][c] (+)= factor * from[row][c].
PLANISH_FLASH void WriteRows(const float* from, size_t stride, size_t rows, size_t P, float factor,
                             bool add, float* to, size_t to_stride) {
  const __m512 factors = _mm512_set1_ps(factor);
  for (size_t r = 0; r < rows; ++r, from += stride, to += to_stride) {
    for (size_t c = 0; c < P; c += 16) {
      const auto mask = static_cast<__mmask16>(P - c >= 16 ? 0xFFFF : (1u << (P - c)) - 1);
      const __m512 x = _mm512_mul_ps(_mm512_load_ps(from + c), factors);
      _mm512_mask_storeu_ps(to + c, mask,
                            add ? _mm512_add_ps(_mm512_maskz_loadu_ps(mask, to + c), x) : x);
    }
  }
}

PLANISH_FLASH void Forward(const FlashForwardCall& call, const FlashForwardTask& task,
                           float* memory) noexcept {
  const PanelScope tiles_scope;
  const FlushSubnormals flush;
  const bool has_amx = Has(Isa::kAmx);
  const FlashShape& shape = call.shape;
  const FlashInput& input = call.input;
  const size_t H = shape.heads, K = shape.kv_heads, P = shape.head_dim;
  const Sizes size(shape);
  const ForwardPlaces at(shape, memory);
  const size_t parts = RoundUp(task.rows, kColumns) / kColumns;  // of a head
  const auto column = [&](size_t g, size_t part) { return (g * parts + part) * kColumns; };
  for (size_t g = 0; g < size.group; ++g) {
    PackRight(Source(input.q, task.begin + task.first, H, task.kv_head * size.group + g, P, false),
              task.rows, P, at.q + column(g, 0) / kPanelRows * size.depth);
    // The second panel of the last part may be missing.
    if (PanelCount(task.rows) % 2 != 0)
      std::memset(at.q + (column(g, parts) / kPanelRows - 1) * size.depth, 0, size.depth * 2);
  }
  const size_t columns = column(size.group, 0);
  std::fill_n(at.sums, columns * size.rows, 0.0f);
  std::fill_n(at.maximum, columns, kLowest);
  std::fill_n(at.total, columns, 0.0f);

  const size_t seen = task.first + task.rows;
  for (size_t k0 = 0; k0 < seen; k0 += kBlock) {
    const size_t keys = std::min(kBlock, seen - k0), tiles = TileCount(keys);
    const size_t row = task.begin + k0;
    PackLeft(Source(input.k, row, K, task.kv_head, P, false), keys, P, at.k);
    PackChannels(PackLeft, input.v, row, K, task.kv_head, size, keys, at.v);
    for (size_t g = 0; g < size.group; ++g) {
      for (size_t part = 0; part < parts; ++part) {
        const size_t q0 = task.first + part * kColumns;
        if (q0 < k0) continue;
        const size_t visible = RoundUp(std::min(keys, q0 + kColumns - k0), kColumns);
        const size_t c = column(g, part), p_tiles = visible / kPanelDepth;
        float* sums = at.sums + c * size.rows;
        Multiply(has_amx, {.left = at.k,
                           .left_panel = size.depth,
                           .right = at.q + c / kPanelRows * size.depth,
                           .right_panel = size.depth,
                           .M = visible,
                           .N = kColumns,
                           .tiles = size.tiles,
                           .c = at.scores,
                           .c_stride = kColumns});
        const bool is_last = k0 + visible == q0 + kColumns;  // and on the diagonal
        if (is_last) {
          const size_t head = task.kv_head * size.group + g;
          Fetch(call.out + ((task.begin + q0) * H + head) * P, H * P * sizeof(float),
                P * sizeof(float), std::min(kColumns, task.first + task.rows - q0));
        }
        UpdateSoftmax(at.scores, visible, is_last, shape.scale, size.rows, at.maximum + c,
                      at.total + c, sums, at.p);
        Multiply(has_amx, {.left = at.v,
                           .left_panel = tiles * kTileElems,
                           .right = at.p,
                           .right_panel = p_tiles * kTileElems,
                           .M = size.rows,
                           .N = kColumns,
                           .tiles = p_tiles,
                           .from = sums,
                           .from_stride = kColumns,
                           .c = sums,
                           .c_stride = kColumns});
      }
    }
  }

  for (size_t g = 0; g < size.group; ++g) {
    const size_t head = task.kv_head * size.group + g;
    for (size_t part = 0; part < parts; ++part) {
      const size_t c = column(g, part), row = task.begin + task.first + part * kColumns;
      const size_t queries = std::min(kColumns, task.rows - part * kColumns);
      float inverse[kColumns];
      for (size_t i = 0; i < queries; ++i) {
        inverse[i] = 1.0f / at.total[c + i];
        call.lse[(row + i) * H + head] =
            shape.scale * at.maximum[c + i] + std::log(at.total[c + i]);
      }
      WriteQueries(at.sums + c * size.rows, kColumns, queries, P, inverse, false,
                   call.out + (row * H + head) * P, H * P);
    }
  }
}

// Where the probabilities and score gradients of 32 keys and 32 queries go; in elements of 16 bits.
struct GradientTiles {
  uint16_t *p, *ds;          // left panels: the tile of the first 16 keys
  size_t panel;              // to that of the other 16
  uint16_t *first, *second;  // right panels of pairs of keys
};

// 32 keys: p = 2^(factor * score + neg_lse), ds = p * product. kIsMasked: key 0 is at the position of query 0 if is_diagonal, and
// only the queries in `valid` exist; everything else becomes zero.
template <bool kIsMasked>
PLANISH_FLASH_INLINE void StripGradients(const float* scores, const float* products, __m512 factor,
                                         const __m512 (&neg_lse)[2], bool is_diagonal,
                                         uint32_t valid, const GradientTiles& to) {
  for (size_t r = 0; r < kColumns; r += 2) {
    __m512i p_row[2], ds_row[2];
#pragma GCC unroll 2
    for (size_t key = 0; key < 2; ++key) {
      __m512 p[2], ds[2];
      const uint32_t lanes = valid & (is_diagonal ? Sees(r + key) : ~uint32_t{0});
#pragma GCC unroll 2
      for (size_t i = 0; i < 2; ++i) {
        const size_t place = (r + key) * kColumns + 16 * i;
        p[i] = Exp2(_mm512_fmadd_ps(_mm512_load_ps(scores + place), factor, neg_lse[i]));
        ds[i] = _mm512_mul_ps(p[i], _mm512_load_ps(products + place));
        if constexpr (kIsMasked) {
          const auto mask = static_cast<__mmask16>(lanes >> (16 * i));
          p[i] = _mm512_maskz_mov_ps(mask, p[i]);
          ds[i] = _mm512_maskz_mov_ps(mask, ds[i]);
        }
      }
      p_row[key] = Round(p[0], p[1]);
      ds_row[key] = Round(ds[0], ds[1]);
      const size_t left = (r + key) / kPanelRows * to.panel + (r + key) % kPanelRows * kPanelDepth;
      _mm512_store_si512(to.p + left, p_row[key]);
      _mm512_store_si512(to.ds + left, ds_row[key]);
    }
    StorePairs(ds_row[0], ds_row[1], to.first + r / 2 * 32, to.second + r / 2 * 32);
  }
}

// One block of keys and one of queries of a head. Offsets from the start of their stripes.
struct BlockPair {
  size_t key_offset, keys;
  size_t query_offset, queries;
  const float *neg_lse, *neg_delta;  // of the first query
};

// dk, dv of the block's keys and dq of its queries. Products skip what no query sees: nothing is written there either.
PLANISH_FLASH void BackwardBlock(const FlashShape& shape, const FlashBackwardTask& task,
                                 const BlockPair& block, const BackwardPlaces& at, bool has_amx,
                                 RowsAhead* ahead) {
  const Sizes size(shape);
  const size_t k0 = task.key_first + block.key_offset;
  const size_t q_begin = task.query_first + block.query_offset;
  const size_t key_tiles = TileCount(block.keys), query_tiles = TileCount(block.queries);
  const size_t query_panel = query_tiles * kTileElems,
               query_block = std::min(FlashStripe(shape), kQueryBlock);
  const uint16_t* k = at.k + block.key_offset / kPanelRows * size.depth;
  const uint16_t* v = at.v + block.key_offset / kPanelRows * size.depth;
  const uint16_t* k_channels = at.k_channels + block.key_offset / kBlock * size.Channels(kBlock);
  const __m512 factor = _mm512_set1_ps(shape.scale * std::numbers::log2e_v<float>);
  // The first part of the queries that sees keys from tile `strip` on.
  const auto first_part = [&](size_t strip) {
    const size_t key = k0 + strip * kColumns;
    return key <= q_begin ? 0 : (key - q_begin) / kColumns;
  };
  for (size_t part = first_part(0); part < query_tiles; ++part) {
    const size_t offset = block.query_offset + part * kColumns, q0 = task.query_first + offset;
    const size_t strips = std::min(key_tiles, (q0 - k0) / kColumns + 1);
    const size_t missing = kColumns - std::min(kColumns, block.queries - part * kColumns);
    const uint32_t valid = ~uint32_t{0} >> missing;
    const __m512 log2e = _mm512_set1_ps(std::numbers::log2e_v<float>);
    const float* lse = block.neg_lse + part * kColumns;
    const __m512 neg_lse[2] = {_mm512_mul_ps(_mm512_loadu_ps(lse), log2e),
                               _mm512_mul_ps(_mm512_loadu_ps(lse + 16), log2e)};
    const auto multiply = [&](size_t strip) {
      const size_t buffer = strip % 2 * kColumns * kColumns;
      FlashProduct product = {.left = k + strip * 2 * size.depth,
                              .left_panel = size.depth,
                              .right = at.q + offset / kPanelRows * size.depth,
                              .right_panel = size.depth,
                              .M = kColumns,
                              .N = kColumns,
                              .tiles = size.tiles,
                              .c = at.scores + buffer,
                              .c_stride = kColumns};
      Multiply(has_amx, product);
      product.left = v + strip * 2 * size.depth;
      product.right = at.dout + offset / kPanelRows * size.depth;
      product.from = block.neg_delta + part * kColumns;
      product.c = at.products + buffer;
      Multiply(has_amx, product);
    };
    multiply(0);
    ahead->Step();
    for (size_t strip = 0; strip < strips; ++strip) {
      // The unit works on the next strip while this one's vectors are computed.
      if (strip + 1 < strips) multiply(strip + 1);
      const size_t buffer = strip % 2 * kColumns * kColumns;
      const size_t left = strip * 2 * query_panel + part * kTileElems;
      const GradientTiles to = {at.p + left, at.ds + left, query_panel,
                                at.ds_pairs + strip * kTileElems,
                                at.ds_pairs + (strips + strip) * kTileElems};
      const bool is_diagonal = k0 + strip * kColumns == q0;
      if (is_diagonal || missing != 0)
        StripGradients<true>(at.scores + buffer, at.products + buffer, factor, neg_lse, is_diagonal,
                             valid, to);
      else
        StripGradients<false>(at.scores + buffer, at.products + buffer, factor, neg_lse, false,
                              valid, to);
    }
    float* dq = at.dq + offset * size.rows;
    Multiply(has_amx, {.left = k_channels,
                       .left_panel = key_tiles * kTileElems,
                       .right = at.ds_pairs,
                       .right_panel = strips * kTileElems,
                       .M = size.rows,
                       .N = kColumns,
                       .tiles = strips,
                       .from = dq,
                       .from_stride = kColumns,
                       .c = dq,
                       .c_stride = kColumns});
  }
  for (size_t strip = 0; strip < key_tiles; ++strip) {
    const size_t part = first_part(strip);
    if (part >= query_tiles) break;
    const size_t key = (block.key_offset + strip * kColumns) * size.rows;
    const size_t left = strip * 2 * query_panel + part * kTileElems;
    const size_t right =
        block.query_offset / query_block * size.Channels(query_block) + part * kTileElems;
    FlashProduct product = {.left = at.p + left,
                            .left_panel = query_panel,
                            .right = at.dout_channels + right,
                            .right_panel = query_panel,
                            .M = kColumns,
                            .N = size.rows,
                            .tiles = query_tiles - part,
                            .from = at.dv + key,
                            .from_stride = size.rows,
                            .c = at.dv + key,
                            .c_stride = size.rows};
    Multiply(has_amx, product);
    product.left = at.ds + left;
    product.right = at.q_channels + right;
    product.from = product.c = at.dk + key;
    Multiply(has_amx, product);
  }
}

PLANISH_FLASH void Backward(const FlashBackwardCall& call, const FlashBackwardTask& task,
                            float* memory) noexcept {
  const PanelScope tiles_scope;
  const FlushSubnormals flush;
  const bool has_amx = Has(Isa::kAmx);
  const FlashShape& shape = call.shape;
  const FlashInput& input = call.input;
  const size_t H = shape.heads, K = shape.kv_heads, P = shape.head_dim;
  const Sizes size(shape);
  const BackwardPlaces at(shape, memory);
  const size_t query_block = std::min(FlashStripe(shape), kQueryBlock);
  const size_t key_row = task.begin + task.key_first, query_row = task.begin + task.query_first;
  PackLeft(Source(input.k, key_row, K, task.kv_head, P, false), task.key_rows, P, at.k);
  PackLeft(Source(input.v, key_row, K, task.kv_head, P, false), task.key_rows, P, at.v);
  for (size_t j = 0; j < task.key_rows; j += kBlock) {
    PackChannels(PackLeft, input.k, key_row + j, K, task.kv_head, size,
                 std::min(kBlock, task.key_rows - j),
                 at.k_channels + j / kBlock * size.Channels(kBlock));
  }
  std::fill_n(at.dk, RoundUp(task.key_rows, kColumns) * size.rows, 0.0f);
  std::fill_n(at.dv, RoundUp(task.key_rows, kColumns) * size.rows, 0.0f);

  for (size_t head = task.kv_head * size.group; head < (task.kv_head + 1) * size.group; ++head) {
    const FlashMatrix dout{call.dout, DType::kF32};
    const std::pair<const FlashMatrix*, std::pair<uint16_t*, uint16_t*>> operands[] = {
        {&input.q, {at.q, at.q_channels}}, {&dout, {at.dout, at.dout_channels}}};
    for (const auto& [x, places] : operands) {
      PackRight(Source(*x, query_row, H, head, P, false), task.query_rows, P, places.first);
      if (PanelCount(task.query_rows) % 2 != 0) {
        std::memset(places.first + PanelCount(task.query_rows) * size.depth, 0, size.depth * 2);
      }
      for (size_t i = 0; i < task.query_rows; i += query_block) {
        PackChannels(PackRight, *x, query_row + i, H, head, size,
                     std::min(query_block, task.query_rows - i),
                     places.second + i / query_block * size.Channels(query_block));
      }
    }
    std::fill_n(at.dq, RoundUp(task.query_rows, kColumns) * size.rows, 0.0f);
    const size_t term = head * call.term_stride + query_row;
    // This head's rows of dq, to which it will add, and the next head's operands.
    RowsAhead ahead = {.rows = task.query_rows};
    ahead.rows_per_step = task.is_diagonal() ? 16 : 8;
    const size_t place = (query_row * H + head) * P, floats = P * sizeof(float);
    ahead.sets[0] = {call.dq + place, H * floats, floats};
    if (head + 1 < (task.kv_head + 1) * size.group) {
      const size_t element = input.q.dtype == DType::kF32 ? sizeof(float) : sizeof(uint16_t);
      ahead.sets[1] = {call.dout + place + P, H * floats, floats};
      ahead.sets[2] = {static_cast<const std::byte*>(input.q.data) + (place + P) * element,
                       H * P * element, P * element};
    }
    for (size_t j = 0; j < task.key_rows; j += kBlock) {
      // On the diagonal both stripes have the same grid.
      for (size_t i = task.is_diagonal() ? j / query_block * query_block : 0; i < task.query_rows;
           i += query_block) {
        BackwardBlock(
            shape, task,
            {j, std::min(kBlock, task.key_rows - j), i, std::min(query_block, task.query_rows - i),
             call.neg_lse + term + i, call.neg_delta + term + i},
            at, has_amx, &ahead);
      }
    }
    float scales[kColumns];
    std::fill_n(scales, kColumns, shape.scale);
    for (size_t i = 0; i < task.query_rows; i += kColumns) {
      WriteQueries(at.dq + i * size.rows, kColumns, std::min(kColumns, task.query_rows - i), P,
                   scales, !task.is_diagonal(), call.dq + ((query_row + i) * H + head) * P, H * P);
    }
  }
  const size_t place = (key_row * K + task.kv_head) * P;
  WriteRows(at.dk, size.rows, task.key_rows, P, shape.scale, !task.is_diagonal(), call.dk + place,
            K * P);
  WriteRows(at.dv, size.rows, task.key_rows, P, 1.0f, !task.is_diagonal(), call.dv + place, K * P);
}

}  // namespace

const FlashKernel* FlashKernelBf16() {
  static constexpr FlashKernel kKernel = {
      [](const FlashShape& shape) { return ForwardPlaces(shape, nullptr).floats; }, Forward,
      [](const FlashShape& shape) { return BackwardPlaces(shape, nullptr).floats; }, Backward};
  return &kKernel;
}

}  // namespace planish

#else

namespace planish {
const FlashKernel* FlashKernelBf16() { return nullptr; }
}  // namespace planish
#endif
