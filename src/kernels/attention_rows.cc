// SPDX-License-Identifier: Apache-2.0
// The row kernel of attention.h: float arithmetic over pages of any type. For each page: scores of a few queries at once
// (vectors of positions, no sums across lanes), softmax update, weighted sum of the values. With q8_0 the scales of the
// values are multiplied into the probabilities, so that codes are only widened.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "kernels/attention_tile.h"

// The order of these includes matters.
// clang-format off
#include "kernels/matmul_targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_rows.cc"
#include "hwy/foreach_target.h"
#include "hwy/cache_control.h"
#include "kernels/vector_math-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

// Register tiles: up to kMaxQueries queries x kKeys vectors of positions for the scores, x kColumns vectors of channels for
// the values. With the keys or values and one broadcast that fills the 32 registers of AVX-512 and NEON, or the 16 of AVX2.
inline constexpr size_t kMaxQueries = 6;
#if HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64
inline constexpr size_t kKeys = 4;
#else
inline constexpr size_t kKeys = 2;
#endif
inline constexpr size_t kColumns = kKeys;
// Rows of values per pass over their columns. From memory 8 read bf16 as fast as 16 do and f32 a tenth faster, 32 are a
// tenth slower; from cache 16 are a twentieth faster.
inline constexpr size_t kRowBlock = 8;

// Bytes between what is read and what is fetched. The heads of a page are one stream that the hardware follows too: bf16 at
// 12.6 of 17 GB/s that plain reading gets; 512 and 1536 are alike, 4096 is a sixth slower. With jumps between the pages of
// one head it loses the stream: 9.
inline constexpr size_t kAhead = 1024;

template <DType kType>
inline constexpr size_t kBytes = KvLayout{kType, 1, 1}.ElementBytes();

// kLanes stored elements as floats; codes of q8_0 without their scale.
template <DType kType>
HWY_INLINE FloatVec LoadAs(const std::byte* p) {
  const FloatTag d;
  if constexpr (kType == DType::kF32) {
    return hn::LoadU(d, reinterpret_cast<const float*>(p));
  } else if constexpr (kType == DType::kBF16) {
    const hn::RebindToUnsigned<FloatTag> du;
    const hn::Rebind<uint16_t, FloatTag> half;
    const auto bits = hn::PromoteTo(du, hn::LoadU(half, reinterpret_cast<const uint16_t*>(p)));
    return hn::BitCast(d, hn::ShiftLeft<16>(bits));
  } else if constexpr (kType == DType::kF16) {
    const hn::Rebind<hwy::float16_t, FloatTag> half;
    return hn::PromoteTo(d, hn::LoadU(half, reinterpret_cast<const hwy::float16_t*>(p)));
  } else {
    const hn::RebindToSigned<FloatTag> di;
    const hn::Rebind<int8_t, FloatTag> codes;
    return hn::ConvertTo(d,
                         hn::PromoteTo(di, hn::LoadU(codes, reinterpret_cast<const int8_t*>(p))));
  }
}

HWY_INLINE void FetchLines(const std::byte* p, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 64) hwy::Prefetch(p + i);
}

// Lanes of one byte of every 32-bit group, as floats.
template <int kByte>
HWY_INLINE FloatVec ByteOf(hn::Vec<hn::RebindToSigned<FloatTag>> groups) {
  const FloatTag d;
  return hn::ConvertTo(d, hn::ShiftRight<24>(hn::ShiftLeft<24 - 8 * kByte>(groups)));
}

template <size_t kQ>
HWY_INLINE void AddProducts(const float* q, size_t q_stride, const FloatVec* keys,
                            FloatVec (*sum)[kKeys]) {
  const FloatTag d;
#pragma GCC unroll 16
  for (size_t i = 0; i < kQ; ++i) {
    const FloatVec query = hn::Set(d, q[i * q_stride]);
#pragma GCC unroll 16
    for (size_t j = 0; j < kKeys; ++j) sum[i][j] = hn::MulAdd(query, keys[j], sum[i][j]);
  }
}

// scores[i * 64 + j] = q[i] . k[j] for j < count, and meaningless ones up to the next multiple of a block: lanes of
// positions never written hold anything, but lanes do not mix. Queries are q_stride apart, zeros behind their last channel.
// `ahead` (may be null): as many bytes as the keys have, fetched at their pace.
template <DType kType, size_t kQ>
HWY_INLINE void Scores(const float* q, size_t q_stride, const KvLayout& kv, const std::byte* head,
                       size_t count, const std::byte* ahead, float* scores) {
  const FloatTag d;
  constexpr size_t kBlock = kKeys * kLanes;
  static_assert(kKvPagePositions % kBlock == 0);
  for (size_t j0 = 0; j0 < count; j0 += kBlock) {
    FloatVec sum[kQ][kKeys];
#pragma GCC unroll 16
    for (size_t i = 0; i < kQ; ++i) {
#pragma GCC unroll 16
      for (size_t j = 0; j < kKeys; ++j) sum[i][j] = hn::Zero(d);
    }
    FloatVec keys[kKeys];
    if constexpr (kType == DType::kQ8_0) {
      const hn::RebindToSigned<FloatTag> di;
      const size_t groups = (kv.head_dim + 3) / 4;
      for (size_t g0 = 0; g0 < groups; g0 += 8) {  // one scale for 32 channels
        const std::byte* from = head + kv.KeyScales() + (g0 / 8 * kKvPagePositions + j0) * 2;
        FloatVec scales[kKeys];
#pragma GCC unroll 16
        for (size_t j = 0; j < kKeys; ++j) scales[j] = LoadAs<DType::kF16>(from + j * kLanes * 2);
        for (size_t g = g0; g < std::min(g0 + 8, groups); ++g) {
          if (ahead != nullptr) FetchLines(ahead + (g * kKvPagePositions + j0) * 4, kBlock * 4);
          const auto* codes = reinterpret_cast<const int32_t*>(head) + g * kKvPagePositions + j0;
          const auto add = [&](auto byte) HWY_ATTR {
#pragma GCC unroll 16
            for (size_t j = 0; j < kKeys; ++j) {
              keys[j] = hn::Mul(scales[j], ByteOf<byte>(hn::LoadU(di, codes + j * kLanes)));
            }
            AddProducts<kQ>(q + 4 * g + byte, q_stride, keys, sum);
          };
          add(std::integral_constant<int, 0>());
          add(std::integral_constant<int, 1>());
          add(std::integral_constant<int, 2>());
          add(std::integral_constant<int, 3>());
        }
      }
    } else {
      const std::byte* k = head + j0 * kBytes<kType>;
      for (size_t c = 0; c < kv.head_dim; ++c) {
        const size_t row = c * kKvPagePositions * kBytes<kType>;
        if (ahead != nullptr) FetchLines(ahead + row + j0 * kBytes<kType>, kBlock * kBytes<kType>);
#pragma GCC unroll 16
        for (size_t j = 0; j < kKeys; ++j)
          keys[j] = LoadAs<kType>(k + row + j * kLanes * kBytes<kType>);
        AddProducts<kQ>(q + c, q_stride, keys, sum);
      }
    }
#pragma GCC unroll 16
    for (size_t i = 0; i < kQ; ++i) {
#pragma GCC unroll 16
      for (size_t j = 0; j < kKeys; ++j)
        hn::StoreU(sum[i][j], d, scores + i * kKvPagePositions + j0 + j * kLanes);
    }
  }
}

// Turns `count` scores into exp(score - maximum) and updates maximum and sum; returns the factor for what was
// accumulated under the old maximum. NaN and +inf scores become NaN, so that they show.
HWY_INLINE float UpdateSoftmax(float* scores, size_t count, float* maximum, float* sum) {
  const FloatTag d;
  const size_t end = PaddedColumns(count);
  for (size_t j = count; j < end; ++j) scores[j] = -std::numeric_limits<float>::infinity();
  FloatVec largest = hn::Set(d, *maximum);
  for (size_t j = 0; j < end; j += kLanes) largest = hn::Max(largest, hn::Load(d, scores + j));
  largest = hn::MaxOfLanes(d, largest);
  const float factor = hn::GetLane(hn::Exp(d, hn::Sub(hn::Set(d, *maximum), largest)));
  FloatVec total = hn::Zero(d);
  for (size_t j = 0; j < end; j += kLanes) {
    const FloatVec shifted = hn::Sub(hn::Load(d, scores + j), largest);
    // exp(-87) is about the smallest normal float; below it products would run in microcode. Exp hides NaN.
    const FloatVec normal =
        hn::IfThenElseZero(hn::Ge(shifted, hn::Set(d, -87.0f)), hn::Exp(d, shifted));
    const FloatVec e = hn::IfThenElse(hn::IsNaN(shifted), shifted, normal);
    hn::Store(e, d, scores + j);
    total = hn::Add(total, e);
  }
  *maximum = hn::GetLane(largest);
  *sum = *sum * factor + hn::GetLane(hn::SumOfLanes(d, total));
  return factor;
}

// Values of one head in one page (or a copy of it with padded rows).
struct PageValues {
  const std::byte* rows;  // [64, stride] elements
  size_t stride;
  const std::byte* ahead;  // fetched at the pace of the rows, as long as they are; may be null
};

// acc[i] = factor[i] * acc[i] + sum_{begin <= j < end} weight[i * 64 + j] * v[j], for kV vectors of channels from `column`.
// q8_0 has one set of weights per group of 32 channels, set_stride apart.
template <DType kType, size_t kQ, size_t kV>
HWY_INLINE void AddValues(const float* weights, size_t set_stride, const float* factors,
                          const PageValues& v, size_t column, size_t width, size_t begin,
                          size_t end, float* acc) {
  const FloatTag d;
  constexpr size_t kSets = kType == DType::kQ8_0 && kV * kLanes > 32 ? kV * kLanes / 32 : 1;
  if constexpr (kType == DType::kQ8_0) weights += column / 32 * set_stride;
  FloatVec sum[kQ][kV];
#pragma GCC unroll 16
  for (size_t i = 0; i < kQ; ++i) {
    const FloatVec factor = hn::Set(d, factors[i]);
#pragma GCC unroll 16
    for (size_t c = 0; c < kV; ++c)
      sum[i][c] = hn::Mul(factor, hn::Load(d, acc + i * width + column + c * kLanes));
  }
  for (size_t j = begin; j < end; ++j) {
    const size_t offset = (j * v.stride + column) * kBytes<kType>;
    if (v.ahead != nullptr) FetchLines(v.ahead + offset, kV * kLanes * kBytes<kType>);
    FloatVec value[kV];
#pragma GCC unroll 16
    for (size_t c = 0; c < kV; ++c)
      value[c] = LoadAs<kType>(v.rows + offset + c * kLanes * kBytes<kType>);
#pragma GCC unroll 16
    for (size_t i = 0; i < kQ; ++i) {
#pragma GCC unroll 16
      for (size_t s = 0; s < kSets; ++s) {
        const FloatVec weight = hn::Set(d, weights[s * set_stride + i * kKvPagePositions + j]);
#pragma GCC unroll 16
        for (size_t c = s * kV / kSets; c < (s + 1) * kV / kSets; ++c)
          sum[i][c] = hn::MulAdd(weight, value[c], sum[i][c]);
      }
    }
  }
#pragma GCC unroll 16
  for (size_t i = 0; i < kQ; ++i) {
#pragma GCC unroll 16
    for (size_t c = 0; c < kV; ++c) hn::Store(sum[i][c], d, acc + i * width + column + c * kLanes);
  }
}

// In blocks of rows: passes over columns would else read memory in one and wait for nothing in the others.
template <DType kType, size_t kQ>
HWY_INLINE void AddAllValues(const float* weights, size_t set_stride, const float* factors,
                             const PageValues& v, size_t width, size_t begin, size_t end,
                             float* acc) {
  constexpr float kOnes[kMaxQueries] = {1, 1, 1, 1, 1, 1};
  for (size_t j = begin; j < end; j += kRowBlock, factors = kOnes) {
    const size_t stop = std::min(j + kRowBlock, end);
    size_t c = 0;
    for (; c + kColumns * kLanes <= width; c += kColumns * kLanes)
      AddValues<kType, kQ, kColumns>(weights, set_stride, factors, v, c, width, j, stop, acc);
    for (; c < width; c += kLanes)
      AddValues<kType, kQ, 1>(weights, set_stride, factors, v, c, width, j, stop, acc);
  }
}

// Everything a page's work needs beside the queries.
struct PageWork {
  const KvLayout* kv;
  const std::byte* head;
  PageValues values;
  const std::byte* ahead_of_keys;
  const Int8Queries* int8_queries;  // null: float scores
  size_t width;                     // of queries and accumulators: a multiple of kLanes
  float* scaled;                    // [groups, kMaxQueries, 64]: q8_0 only
};

// n <= kQ queries from `first` on, of which query i sees the first counts[i] > 0 positions of the page; counts ascend.
template <DType kType, size_t kQ>
HWY_INLINE void AttendPage(const PageWork& page, size_t first, size_t n, const float* q,
                           size_t q_stride, const size_t* counts, float* maxima, float* sums,
                           float* acc) {
  if constexpr (kQ > 1) {
    if (n < kQ) {
      return AttendPage<kType, kQ - 1>(page, first, n, q, q_stride, counts, maxima, sums, acc);
    }
  }
  const FloatTag d;
  HWY_ALIGN float scores[kQ * kKvPagePositions];
  float factors[kQ];
  bool has_scores = false;
#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86
  if constexpr (kType == DType::kQ8_0) {
    if (page.int8_queries != nullptr) {
      Int8Queries queries = *page.int8_queries;
      queries.codes += first * queries.groups * 32;
      queries.scales += first * queries.groups;
      queries.sums += first * queries.groups;
      ScoresInt8(queries, kQ, *page.kv, page.head, page.ahead_of_keys, scores);
      has_scores = true;
    }
  }
#endif
  if (!has_scores) {
    Scores<kType, kQ>(q + first * q_stride, q_stride, *page.kv, page.head, counts[kQ - 1],
                      page.ahead_of_keys, scores);
  }
#pragma GCC unroll 16
  for (size_t i = 0; i < kQ; ++i) {
    factors[i] = UpdateSoftmax(scores + i * kKvPagePositions, counts[i], &maxima[first + i],
                               &sums[first + i]);
  }
  const float* weights = scores;
  size_t set_stride = 0;
  if constexpr (kType == DType::kQ8_0) {
    weights = page.scaled;
    set_stride = kMaxQueries * kKvPagePositions;
    const size_t end = PaddedColumns(counts[kQ - 1]);
    for (size_t g = 0; g < page.kv->ScaleGroups(); ++g) {
      const std::byte* scales = page.head + page.kv->ValueScales() + g * kKvPagePositions * 2;
      for (size_t j = 0; j < end; j += kLanes) {
        const FloatVec scale = LoadAs<DType::kF16>(scales + j * 2);
#pragma GCC unroll 16
        for (size_t i = 0; i < kQ; ++i) {
          hn::Store(hn::Mul(scale, hn::Load(d, scores + i * kKvPagePositions + j)), d,
                    page.scaled + g * set_stride + i * kKvPagePositions + j);
        }
      }
    }
  }
  acc += first * page.width;
  // What all see, then each its rest: a row never touches values of later positions, not even times zero.
  AddAllValues<kType, kQ>(weights, set_stride, factors, page.values, page.width, 0, counts[0], acc);
  const float one = 1.0f;
  PageValues rest = page.values;
  rest.ahead = nullptr;
  for (size_t i = 1; i < kQ; ++i) {
    if (counts[i] > counts[0]) {
      AddAllValues<kType, 1>(weights + i * kKvPagePositions, set_stride, &one, rest, page.width,
                             counts[0], counts[i], acc + i * page.width);
    }
  }
}

// Adds a partial result to the total: total = total * exp(M - max) + partial * exp(m - max). The first is a copy.
HWY_INLINE void MergePartial(bool is_first, float m, float l, const float* acc, size_t width,
                             float* total_m, float* total_l, float* total) {
  const FloatTag d;
  if (is_first) {
    *total_m = m;
    *total_l = l;
    std::memcpy(total, acc, width * sizeof(float));
    return;
  }
  const FloatVec largest = hn::Max(hn::Set(d, *total_m), hn::Set(d, m));
  const FloatVec old_factor = hn::Exp(d, hn::Sub(hn::Set(d, *total_m), largest));
  const FloatVec new_factor = hn::Exp(d, hn::Sub(hn::Set(d, m), largest));
  for (size_t c = 0; c < width; c += kLanes) {
    const FloatVec part = hn::Mul(new_factor, hn::LoadU(d, acc + c));
    hn::StoreU(hn::MulAdd(old_factor, hn::LoadU(d, total + c), part), d, total + c);
  }
  *total_l = *total_l * hn::GetLane(old_factor) + l * hn::GetLane(new_factor);
  *total_m = hn::GetLane(largest);
}

HWY_INLINE void WriteOutput(const float* total, float total_l, size_t head_dim, float* out) {
  const FloatTag d;
  const FloatVec inverse = hn::Set(d, 1.0f / total_l);
  ForEachVector(head_dim, [=](size_t i, auto load, auto store)
                              HWY_ATTR { store(hn::Mul(load(total + i), inverse), out + i); });
}

// Rows of `bytes` with zeros behind to `padded_bytes`.
HWY_INLINE void PadRows(const std::byte* rows, size_t count, size_t bytes, size_t padded_bytes,
                        std::byte* padded) {
  for (size_t j = 0; j < count; ++j, rows += bytes, padded += padded_bytes) {
    std::memcpy(padded, rows, bytes);
    std::memset(padded + bytes, 0, padded_bytes - bytes);
  }
}

// Codes, scales and sums of n queries; see Int8Queries.
Int8Queries QuantiseQueries(const float* q, size_t q_stride, size_t n, size_t head_dim,
                            float* memory) {
  const size_t groups = (head_dim + 31) / 32;
  float* scales = memory;
  auto* sums = reinterpret_cast<int32_t*>(scales + n * groups);
  auto* codes = reinterpret_cast<int8_t*>(sums + n * groups);
  for (size_t i = 0; i < n; ++i) {
    for (size_t g = 0; g < groups; ++g) {
      const float* from = q + i * q_stride + g * 32;
      const size_t count = std::min<size_t>(32, head_dim - g * 32);
      float largest = 0, total = 0;  // a NaN or infinity makes the total NaN
      for (size_t c = 0; c < count; ++c) {
        largest = std::max(largest, std::abs(from[c]));
        total += from[c] * 0.0f;
      }
      const float inverse = largest > 1e-30f ? 127.0f / largest : 0.0f;
      int8_t* to = codes + (i * groups + g) * 32;
      std::memset(to, 0, 32);
      int32_t sum = 0;
      for (size_t c = 0; c < count; ++c) {
        const float code = total == 0.0f ? from[c] * inverse : 0.0f;
        to[c] = static_cast<int8_t>(code + std::copysign(0.5f, code));
        sum += to[c];
      }
      scales[i * groups + g] = largest / 127.0f + total;
      sums[i * groups + g] = sum;
    }
  }
  return {codes, scales, sums, groups};
}

template <DType kType>
void AttendRowsOf(const AttentionShape& shape, const AttentionTile& tile, float* scratch,
                  float* partials) {
  const AttentionJob& job = *tile.job;
  const KvLayout& kv = shape.kv;
  const size_t P = kv.head_dim, group = shape.group(), width = PaddedColumns(P);
  const size_t queries = tile.rows * group, stride = shape.padded();  // queries of one kv head
  const size_t all = tile.kv_heads * queries;  // [kv head, row, head in group]
  // Parts of AttentionRowsScratch, in its order.
  float* q = scratch;
  float* acc = q + all * stride;
  float* total = acc + all * stride;
  float* maxima = total + all * stride;
  float* sums = maxima + all;
  float* total_m = sums + all;
  float* total_l = total_m + all;
  float* padded_v = scratch + RoundUpToLine(all * (3 * stride + 4));
  float* scaled = padded_v + kKvPagePositions * stride;
  float* int8_memory = scaled + (stride + 31) / 32 * kMaxQueries * kKvPagePositions;

  // Of query i of kv head h: where its channels are in a row of q or out.
  const auto channels = [&](size_t h, size_t i) {
    return ((tile.kv_head + h) * group + i % group) * P;
  };
  for (size_t h = 0; h < tile.kv_heads; ++h) {
    for (size_t i = 0; i < queries; ++i) {
      const float* from = job.q + (tile.first_row + i / group) * job.q_stride + channels(h, i);
      float* to = q + (h * queries + i) * stride;
      for (size_t c = 0; c < P; ++c) to[c] = from[c] * shape.scale;
      for (size_t c = P; c < stride; ++c) to[c] = 0.0f;
    }
  }
  Int8Queries int8_queries;
  const bool is_int8 = tile.kernel == AttentionKernel::kInt8Rows;
  if (is_int8) int8_queries = QuantiseQueries(q, stride, all, P, int8_memory);
  PageWork page{.kv = &kv,
                .int8_queries = is_int8 ? &int8_queries : nullptr,
                .width = width,
                .scaled = scaled};
  // Query i sees positions below `position_of(i) + 1`.
  const auto position_of = [&](size_t i) {
    return job.first_position + tile.first_row + i / group;
  };
  const size_t seen_by_last = position_of(queries - 1) + 1;
  const size_t first_head = tile.kv_head * kv.HeadBytes();

  for (size_t span = tile.span_begin; span < tile.span_end; ++span) {
    const size_t span_start = span * kAttentionSpan;
    const size_t span_stop = std::min(span_start + kAttentionSpan, seen_by_last);
    std::fill(maxima, maxima + all, -std::numeric_limits<float>::infinity());
    std::fill(sums, sums + all, 0.0f);
    std::fill(acc, acc + all * width, 0.0f);
    for (size_t start = span_start; start < span_stop; start += kKvPagePositions) {
      for (size_t h = 0; h < tile.kv_heads; ++h) {
        page.head = job.pages[start / kKvPagePositions] + first_head + h * kv.HeadBytes();
        const std::byte* values = page.head + kv.Values();
        // The first queries fetch what comes next in the page, from the last head on a little beyond it.
        page.ahead_of_keys = page.head + kAhead;
        page.values = {values, P, values + kAhead};
        if (h + 1 == tile.kv_heads && start + kKvPagePositions < span_stop)
          FetchLines(job.pages[start / kKvPagePositions + 1] + first_head, kAhead);
        if (width != P) {
          const size_t count = std::min(kKvPagePositions, span_stop - start);
          auto* padded = reinterpret_cast<std::byte*>(padded_v);
          PadRows(values, count, P * kBytes<kType>, width * kBytes<kType>, padded);
          page.values = {padded, width, nullptr};
          page.ahead_of_keys = nullptr;
        }
        size_t i = 0;
        while (i < queries && position_of(i) < start) i += group;
        while (i < queries) {
          // Tiles of nearly equal size: seven query heads are 4 + 3, never 6 + 1.
          const size_t left = queries - i, passes = (left + kMaxQueries - 1) / kMaxQueries;
          const size_t n = (left + passes - 1) / passes;
          size_t counts[kMaxQueries] = {};
          for (size_t j = 0; j < n; ++j)
            counts[j] = std::min(kKvPagePositions, position_of(i + j) + 1 - start);
          AttendPage<kType, kMaxQueries>(page, h * queries + i, n, q, stride, counts, maxima, sums,
                                         acc);
          page.ahead_of_keys = page.values.ahead = nullptr;
          i += n;
        }
      }
    }
    if (tile.partial != AttentionTile::kWhole) {
      for (size_t h = 0; h < tile.kv_heads; ++h) {
        float* partial = partials + tile.partial + h * shape.PartialFloats(queries);
        std::memcpy(partial, maxima + h * queries, queries * sizeof(float));
        std::memcpy(partial + queries, sums + h * queries, queries * sizeof(float));
        std::memcpy(partial + 2 * queries, acc + h * queries * width,
                    queries * width * sizeof(float));
      }
      return;
    }
    for (size_t i = 0; i < all; ++i) {
      if (position_of(i % queries) < span_start) continue;
      MergePartial(span == 0, maxima[i], sums[i], acc + i * width, width, &total_m[i], &total_l[i],
                   total + i * width);
    }
  }
  for (size_t i = 0; i < all; ++i) {
    float* out = job.out + (tile.first_row + i % queries / group) * job.out_stride +
                 channels(i / queries, i % queries);
    WriteOutput(total + i * width, total_l[i], P, out);
  }
}

void Attend(const AttentionShape& shape, const AttentionTile& tile, float* scratch,
            float* partials) {
  switch (shape.kv.type) {
    case DType::kF32:
      return AttendRowsOf<DType::kF32>(shape, tile, scratch, partials);
    case DType::kBF16:
      return AttendRowsOf<DType::kBF16>(shape, tile, scratch, partials);
    case DType::kF16:
      return AttendRowsOf<DType::kF16>(shape, tile, scratch, partials);
    default:
      return AttendRowsOf<DType::kQ8_0>(shape, tile, scratch, partials);
  }
}

void Merge(const AttentionShape& shape, const AttentionTile* tiles, size_t spans,
           const float* partials, float* total) {
  const AttentionJob& job = *tiles->job;
  const size_t P = shape.kv.head_dim, group = shape.group(), width = PaddedColumns(P);
  const size_t queries = tiles->rows * group;
  for (size_t h = 0; h < tiles->kv_heads; ++h) {
    for (size_t i = 0; i < queries; ++i) {
      const size_t row = tiles->first_row + i / group;
      float total_m = 0, total_l = 0;
      for (size_t span = 0; span < spans && span * kAttentionSpan <= job.first_position + row;
           ++span) {
        const float* partial = partials + tiles[span].partial + h * shape.PartialFloats(queries);
        MergePartial(span == 0, partial[i], partial[queries + i], partial + 2 * queries + i * width,
                     width, &total_m, &total_l, total);
      }
      float* out = job.out + row * job.out_stride + ((tiles->kv_head + h) * group + i % group) * P;
      WriteOutput(total, total_l, P, out);
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {

HWY_EXPORT(Attend);
HWY_EXPORT(Merge);

size_t AttentionRowsScratch(const AttentionShape& shape, size_t rows, size_t kv_heads) {
  constexpr size_t kQueriesAtOnce = 6;  // kMaxQueries of every target
  const size_t queries = rows * shape.group() * kv_heads, stride = shape.padded();
  const size_t groups = (stride + 31) / 32;
  return RoundUpToLine(queries * (3 * stride + 4)) + kKvPagePositions * stride +
         groups * kQueriesAtOnce * kKvPagePositions + RoundUpToLine(queries * groups * 10);
}

void AttendRows(const AttentionShape& shape, const AttentionTile& tile, float* scratch,
                float* partials) noexcept {
  HWY_DYNAMIC_DISPATCH(Attend)(shape, tile, scratch, partials);
}

void MergeSpans(const AttentionShape& shape, const AttentionTile* tiles, size_t spans,
                const float* partials, float* scratch) noexcept {
  HWY_DYNAMIC_DISPATCH(Merge)(shape, tiles, spans, partials, scratch);
}

}  // namespace planish
#endif  // HWY_ONCE
