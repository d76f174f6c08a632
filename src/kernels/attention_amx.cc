// SPDX-License-Identifier: Apache-2.0
// Attention of prompt rows by AMX bf16 tiles. Blocks of kBlock positions in order; of each, keys and values are rounded to
// bf16 and packed once for all queries of the tile (rows x heads of a group), then for every 32 queries: scores = Q K^T,
// softmax update in float, O += P V with float sums. Q is scaled by log2(e) / sqrt(P), so that probabilities are powers of
// two. Every step treats a query by itself (a tile's rows do not mix) and the blocks are positions only: a row's bits do not
// depend on the rows beside it.
#include "kernels/amx.h"
#include "kernels/attention_tile.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <cmath>
#include <cstring>
#include <numbers>

// GCC 12 warns of its own headers: the undefined source of an unmasked operation.
#pragma GCC diagnostic ignored "-Wuninitialized"

#define PLANISH_AMX                                                         \
  __attribute__((                                                           \
      target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,f16c,amx-tile," \
             "amx-bf16")))

namespace planish {
namespace {

constexpr size_t kBlock = 256;                      // positions;
constexpr size_t kTileBytes = 1024;                 // 16 rows of 64 bytes
constexpr size_t kScoreStride = kBlock + 16;        // floats: rows in different cache sets
constexpr size_t kProbabilityStride = kBlock + 32;  // bf16
constexpr float kLowest = -1e30f;  // maximum of no scores; finite, so that differences are numbers

constexpr size_t DivideUp(size_t a, size_t b) { return (a + b - 1) / b; }

// Sizes and places (in bytes of the scratch) for a tile of `queries` queries.
struct Places {
  size_t queries;   // rounded up to pairs of tiles
  size_t channels;  // rounded up to 32
  size_t q, keys, values, scores, probabilities, accumulators, maxima, sums, end;

  Places(size_t n, size_t head_dim)
      : queries(DivideUp(n, 32) * 32), channels(DivideUp(head_dim, 32) * 32) {
    q = 0;                                           // tiles [queries / 16, channels / 32]
    keys = q + queries * channels * 2;               // tiles [kBlock / 16, channels / 32]
    values = keys + kBlock * channels * 2;           // tiles [kBlock / 32, channels / 16]
    scores = values + kBlock * channels * 2;         // float [32, kScoreStride]
    probabilities = scores + 32 * kScoreStride * 4;  // bf16 [32, kProbabilityStride]
    accumulators = probabilities + 32 * kProbabilityStride * 2;  // float [queries, channels]
    maxima = accumulators + queries * channels * 4;              // float [queries]
    sums = maxima + queries * 4;                                 // float [queries, 16 lanes]
    end = sums + queries * 64;
  }
};

// 2^x for x <= 0 to 2e-7 relative, polynomial of degree 5 (minimax on [-1/2, 1/2]); at least 2^-126; NaN stays.
PLANISH_AMX inline __m512 Exp2(__m512 x) {
  x = _mm512_max_ps(_mm512_set1_ps(-126.0f), x);
  const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 r = _mm512_sub_ps(x, whole);
  __m512 y = _mm512_set1_ps(0.0013276470126584172f);
  y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(0.009675540961325169f));
  y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(0.05550713092088699f));
  y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(0.24022120237350464f));
  y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(0.6931469440460205f));
  y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(1.0000001192092896f));
  return _mm512_scalef_ps(y, whole);
}

PLANISH_AMX inline __m512i Round(__m512 low, __m512 high) {
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
}

// f16 scales of q8_0.
PLANISH_AMX inline __m512 Scales(const std::byte* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

// Channel c of 32 positions from `offset` of a page, in bf16.
template <DType kType>
PLANISH_AMX inline __m512i LoadKeys(const KvLayout& kv, const std::byte* head, size_t c,
                                    size_t offset) {
  if (c >= kv.head_dim) return _mm512_setzero_si512();
  const std::byte* p = head + (c * kKvPagePositions + offset) * kv.ElementBytes();
  if constexpr (kType == DType::kBF16) {
    return _mm512_loadu_si512(p);
  } else if constexpr (kType == DType::kF32) {
    return Round(_mm512_loadu_ps(p), _mm512_loadu_ps(p + 64));
  } else if constexpr (kType == DType::kF16) {
    return Round(Scales(p), Scales(p + 32));
  } else {
    const std::byte* words = head + (c / 4 * kKvPagePositions + offset) * 4;
    const std::byte* scales = head + kv.KeyScales() + (c / 32 * kKvPagePositions + offset) * 2;
    const __m128i shift = _mm_cvtsi32_si128(static_cast<int>(24 - 8 * (c % 4)));
    __m512 value[2];
    for (size_t i = 0; i < 2; ++i) {
      const __m512i top = _mm512_sll_epi32(_mm512_loadu_si512(words + 64 * i), shift);
      value[i] =
          _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_srai_epi32(top, 24)), Scales(scales + 32 * i));
    }
    return Round(value[0], value[1]);
  }
}

// 32 channels from c of one position, in bf16; zeros behind the last channel.
template <DType kType>
PLANISH_AMX inline __m512i LoadValues(const KvLayout& kv, const std::byte* head, size_t c,
                                      size_t offset) {
  const size_t left = kv.head_dim - c;
  const __mmask32 mask = left >= 32 ? ~__mmask32{0} : (__mmask32{1} << left) - 1;
  const std::byte* p = head + kv.Values() + (offset * kv.head_dim + c) * kv.ElementBytes();
  if constexpr (kType == DType::kBF16) {
    return _mm512_maskz_loadu_epi16(mask, p);
  } else if constexpr (kType == DType::kF32) {
    return Round(_mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), p),
                 _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), p + 64));
  } else if constexpr (kType == DType::kF16) {
    const __m512i bits = _mm512_maskz_loadu_epi16(mask, p);
    return Round(_mm512_cvtph_ps(_mm512_castsi512_si256(bits)),
                 _mm512_cvtph_ps(_mm512_extracti64x4_epi64(bits, 1)));
  } else {
    uint16_t bits;
    std::memcpy(&bits, head + kv.ValueScales() + (c / 32 * kKvPagePositions + offset) * 2, 2);
    const __m512 scale = _mm512_cvtph_ps(_mm256_set1_epi16(static_cast<short>(bits)));
    const __m256i codes = _mm256_maskz_loadu_epi8(mask, p);
    const __m512i low = _mm512_cvtepi8_epi32(_mm256_castsi256_si128(codes));
    const __m512i high = _mm512_cvtepi8_epi32(_mm256_extracti128_si256(codes, 1));
    return Round(_mm512_mul_ps(_mm512_cvtepi32_ps(low), scale),
                 _mm512_mul_ps(_mm512_cvtepi32_ps(high), scale));
  }
}

// Two rows of 32 bf16 become two rows of 16 pairs (a, b), one in each of two neighbouring tiles `second` bytes apart.
PLANISH_AMX inline void StorePairs(__m512i a, __m512i b, std::byte* to, size_t second) {
  const __m512i low = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8,
                                       39, 7, 38, 6, 37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
  const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
  _mm512_storeu_si512(to, _mm512_permutex2var_epi16(a, low, b));
  _mm512_storeu_si512(to + second, _mm512_permutex2var_epi16(a, high, b));
}

// Positions [start, start + valid) of one head: tiles of pairs of channels by positions, and of pairs of positions by
// channels. What is packed beyond `valid` is meaningless in keys (their scores are masked) and zero in values.
template <DType kType>
PLANISH_AMX void Pack(const KvLayout& kv, const AttentionJob& job, size_t head_offset, size_t start,
                      size_t valid, size_t channels, std::byte* keys, std::byte* values) {
  const size_t steps = channels / 32;
  for (size_t j = 0; j < valid; j += 32) {
    const std::byte* head = job.pages[(start + j) / kKvPagePositions] + head_offset;
    const size_t offset = j % kKvPagePositions;
    for (size_t c = 0; c < channels; c += 2) {
      std::byte* to = keys + (j / 16 * steps + c / 32) * kTileBytes + c % 32 / 2 * 64;
      StorePairs(LoadKeys<kType>(kv, head, c, offset), LoadKeys<kType>(kv, head, c + 1, offset), to,
                 steps * kTileBytes);
    }
    for (size_t i = 0; i < 32; i += 2) {
      for (size_t c = 0; c < channels; c += 32) {
        const __m512i zero = _mm512_setzero_si512();
        const __m512i a = j + i < valid ? LoadValues<kType>(kv, head, c, offset + i) : zero;
        const __m512i b = j + i + 1 < valid ? LoadValues<kType>(kv, head, c, offset + i + 1) : zero;
        std::byte* to = values + (j / 32 * (channels / 16) + c / 16) * kTileBytes + i / 2 * 64;
        StorePairs(a, b, to, kTileBytes);
      }
    }
  }
}

// Tiles of 16 queries by 32 channels.
PLANISH_AMX void PackQueries(const AttentionShape& shape, const AttentionTile& tile,
                             const Places& at, std::byte* to) {
  const size_t P = shape.kv.head_dim, group = shape.group(), n = tile.rows * group;
  const __m512 scale = _mm512_set1_ps(shape.scale * std::numbers::log2e_v<float>);
  const size_t steps = at.channels / 32;
  for (size_t i = 0; i < at.queries; ++i) {
    const float* from = tile.job->q + (tile.first_row + i / group) * tile.job->q_stride +
                        (tile.kv_head * group + i % group) * P;
    for (size_t c = 0; c < at.channels; c += 32) {
      const size_t left = i < n ? P - c : 0;
      const __mmask32 mask = left >= 32 ? ~__mmask32{0} : (__mmask32{1} << left) - 1;
      const __m512 a = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), from + c);
      const __m512 b = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), from + c + 16);
      _mm512_storeu_si512(to + (i / 16 * steps + c / 32) * kTileBytes + i % 16 * 64,
                          Round(_mm512_mul_ps(a, scale), _mm512_mul_ps(b, scale)));
    }
  }
}

// scores[32, kScoreStride] of two tiles of queries with the first 32 * pairs positions.
PLANISH_AMX void Scores(const std::byte* q, const std::byte* keys, size_t steps, size_t pairs,
                        float* scores) {
  for (size_t j = 0; j < pairs; ++j) {
    const std::byte* k = keys + 2 * j * steps * kTileBytes;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (size_t s = 0; s < steps; ++s) {
      _tile_loadd(4, q + s * kTileBytes, 64);
      _tile_loadd(6, k + s * kTileBytes, 64);
      _tile_loadd(7, k + (steps + s) * kTileBytes, 64);
      _tile_loadd(5, q + (steps + s) * kTileBytes, 64);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    float* to = scores + 32 * j;
    _tile_stored(0, to, kScoreStride * 4);
    _tile_stored(1, to + 16, kScoreStride * 4);
    _tile_stored(2, to + 16 * kScoreStride, kScoreStride * 4);
    _tile_stored(3, to + 16 * kScoreStride + 16, kScoreStride * 4);
  }
}

// accumulators[32, channels] += probabilities [32, 32 * pairs] values.
PLANISH_AMX void AddValues(const uint16_t* probabilities, const std::byte* values, size_t channels,
                           size_t pairs, float* accumulators) {
  const size_t bytes = channels * 4;
  for (size_t c = 0; c < channels; c += 32) {
    float* low = accumulators + c;
    float* high = low + 16 * channels;
    _tile_loadd(0, low, bytes);
    _tile_loadd(1, low + 16, bytes);
    _tile_loadd(2, high, bytes);
    _tile_loadd(3, high + 16, bytes);
    for (size_t j = 0; j < pairs; ++j) {
      const std::byte* v = values + (j * (channels / 16) + c / 16) * kTileBytes;
      const uint16_t* p = probabilities + 32 * j;
      _tile_loadd(4, p, kProbabilityStride * 2);
      _tile_loadd(6, v, 64);
      _tile_loadd(7, v + kTileBytes, 64);
      _tile_loadd(5, p + 16 * kProbabilityStride, kProbabilityStride * 2);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, low, bytes);
    _tile_stored(1, low + 16, bytes);
    _tile_stored(2, high, bytes);
    _tile_stored(3, high + 16, bytes);
  }
}

// One query: the first `count` scores become probabilities under the new maximum (zeros up to `end`, a multiple of 32);
// maximum, lane sums and accumulators are brought to it. The factor is exactly one as long as the maximum stays.
PLANISH_AMX void UpdateSoftmax(const float* scores, size_t count, size_t end, size_t channels,
                               float* maximum, float* sums, float* accumulators,
                               uint16_t* probabilities) {
  const size_t whole = count / 16 * 16;
  const __mmask16 rest = static_cast<__mmask16>((1u << (count - whole)) - 1);
  __m512 largest[2] = {_mm512_set1_ps(*maximum), _mm512_set1_ps(*maximum)};
  for (size_t j = 0; j + 32 <= whole; j += 32) {
    largest[0] = _mm512_max_ps(_mm512_loadu_ps(scores + j), largest[0]);
    largest[1] = _mm512_max_ps(_mm512_loadu_ps(scores + j + 16), largest[1]);
  }
  if (whole % 32 != 0) largest[0] = _mm512_max_ps(_mm512_loadu_ps(scores + whole - 16), largest[0]);
  largest[1] =
      _mm512_mask_max_ps(largest[1], rest, _mm512_maskz_loadu_ps(rest, scores + whole), largest[1]);
  const float top = _mm512_reduce_max_ps(_mm512_max_ps(largest[0], largest[1]));
  __m512 sum = _mm512_loadu_ps(sums);
  if (top > *maximum) {
    const __m512 factor = Exp2(_mm512_set1_ps(*maximum - top));
    sum = _mm512_mul_ps(sum, factor);
    for (size_t c = 0; c < channels; c += 16) {
      _mm512_storeu_ps(accumulators + c, _mm512_mul_ps(_mm512_loadu_ps(accumulators + c), factor));
    }
    *maximum = top;
  }
  const __m512 shift = _mm512_set1_ps(top);
  size_t j = 0;
  for (; j + 32 <= whole; j += 32) {
    const __m512 a = Exp2(_mm512_sub_ps(_mm512_loadu_ps(scores + j), shift));
    const __m512 b = Exp2(_mm512_sub_ps(_mm512_loadu_ps(scores + j + 16), shift));
    sum = _mm512_add_ps(sum, _mm512_add_ps(a, b));
    _mm512_storeu_si512(probabilities + j, Round(a, b));
  }
  if (j < count) {
    const size_t left = count - j;  // fewer than 32
    const __mmask32 mask = (__mmask32{1} << left) - 1;
    const auto low = static_cast<__mmask16>(mask), high = static_cast<__mmask16>(mask >> 16);
    const __m512 a = _mm512_maskz_mov_ps(
        low, Exp2(_mm512_sub_ps(_mm512_maskz_loadu_ps(low, scores + j), shift)));
    const __m512 b = _mm512_maskz_mov_ps(
        high, Exp2(_mm512_sub_ps(_mm512_maskz_loadu_ps(high, scores + j + 16), shift)));
    sum = _mm512_add_ps(sum, _mm512_add_ps(a, b));
    _mm512_storeu_si512(probabilities + j, Round(a, b));
    j += 32;
  }
  _mm512_storeu_ps(sums, sum);
  for (; j < end; j += 32) _mm512_storeu_si512(probabilities + j, _mm512_setzero_si512());
}

// Tile instructions are opaque to the compiler: what they read must be in memory before.
inline void MemoryIsCurrent() { __asm__ volatile("" ::: "memory"); }

template <DType kType>
PLANISH_AMX void Attend(const AttentionShape& shape, const AttentionTile& tile, std::byte* memory) {
  const AmxTiles tiles;
  const AttentionJob& job = *tile.job;
  const size_t P = shape.kv.head_dim, group = shape.group(), n = tile.rows * group;
  const Places at(n, P);
  const size_t steps = at.channels / 32;
  auto* scores = reinterpret_cast<float*>(memory + at.scores);
  auto* probabilities = reinterpret_cast<uint16_t*>(memory + at.probabilities);
  auto* accumulators = reinterpret_cast<float*>(memory + at.accumulators);
  auto* maxima = reinterpret_cast<float*>(memory + at.maxima);
  auto* sums = reinterpret_cast<float*>(memory + at.sums);
  PackQueries(shape, tile, at, memory + at.q);
  std::memset(accumulators, 0, at.queries * at.channels * 4);
  std::memset(sums, 0, at.queries * 64);
  std::memset(probabilities, 0, 32 * kProbabilityStride * 2);
  for (size_t i = 0; i < at.queries; ++i) maxima[i] = kLowest;

  const size_t first_position = job.first_position + tile.first_row;
  const size_t seen_by_last = first_position + tile.rows;
  for (size_t start = 0; start < seen_by_last; start += kBlock) {
    const size_t valid = seen_by_last - start < kBlock ? seen_by_last - start : kBlock;
    Pack<kType>(shape.kv, job, tile.kv_head * shape.kv.HeadBytes(), start, valid, at.channels,
                memory + at.keys, memory + at.values);
    for (size_t i = 0; i < n; i += 32) {
      const size_t queries = n - i < 32 ? n - i : 32;
      const size_t seen = first_position + (i + queries - 1) / group + 1;  // by the last of them
      if (seen <= start) continue;
      const size_t pairs = DivideUp(seen - start < valid ? seen - start : valid, 32);
      MemoryIsCurrent();
      Scores(memory + at.q + i / 16 * steps * kTileBytes, memory + at.keys, steps, pairs, scores);
      MemoryIsCurrent();
      for (size_t j = 0; j < queries; ++j) {
        const size_t end = first_position + (i + j) / group + 1;
        const size_t count = end <= start ? 0 : end - start < valid ? end - start : valid;
        uint16_t* row = probabilities + j * kProbabilityStride;
        if (count == 0) {
          std::memset(row, 0, pairs * 64);
          continue;
        }
        UpdateSoftmax(scores + j * kScoreStride, count, pairs * 32, at.channels, &maxima[i + j],
                      sums + (i + j) * 16, accumulators + (i + j) * at.channels, row);
      }
      MemoryIsCurrent();
      AddValues(probabilities, memory + at.values, at.channels, pairs,
                accumulators + i * at.channels);
      MemoryIsCurrent();
    }
  }
  for (size_t i = 0; i < n; ++i) {
    float* out = job.out + (tile.first_row + i / group) * job.out_stride +
                 (tile.kv_head * group + i % group) * P;
    const __m512 inverse =
        _mm512_set1_ps(1.0f / _mm512_reduce_add_ps(_mm512_loadu_ps(sums + i * 16)));
    for (size_t c = 0; c < P; c += 16) {
      const __mmask16 mask = static_cast<__mmask16>(P - c >= 16 ? 0xFFFF : (1u << (P - c)) - 1);
      _mm512_mask_storeu_ps(
          out + c, mask,
          _mm512_mul_ps(_mm512_loadu_ps(accumulators + i * at.channels + c), inverse));
    }
  }
}

}  // namespace

size_t AttentionAmxScratch(const AttentionShape& shape, size_t rows) {
  return Places(rows * shape.group(), shape.kv.head_dim).end / sizeof(float);
}

void AttendRowsAmx(const AttentionShape& shape, const AttentionTile& tile,
                   float* scratch) noexcept {
  auto* memory = reinterpret_cast<std::byte*>(scratch);
  switch (shape.kv.type) {
    case DType::kF32:
      return Attend<DType::kF32>(shape, tile, memory);
    case DType::kBF16:
      return Attend<DType::kBF16>(shape, tile, memory);
    case DType::kF16:
      return Attend<DType::kF16>(shape, tile, memory);
    default:
      return Attend<DType::kQ8_0>(shape, tile, memory);
  }
}

}  // namespace planish

#else

#include "base/error.h"

namespace planish {

size_t AttentionAmxScratch(const AttentionShape&, size_t) { return 0; }
void AttendRowsAmx(const AttentionShape&, const AttentionTile&, float*) noexcept {
  PLANISH_CHECK(false, "AMX tiles on a CPU without them");
}

}  // namespace planish
#endif
