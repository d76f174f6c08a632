// SPDX-License-Identifier: Apache-2.0
// Causal grouped-query attention over pages; see attention.h. Work is a tile: all query heads of one kv head for a few
// rows. For each page: scores of the tile (K from L1 after the first query), softmax update, weighted sum of V.
#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/error.h"
#include "base/parallel.h"
#include "kernels/scratch.h"
#include "kernels/simd_targets.h"
#include "kernels/team_work.h"

#ifndef PLANISH_KERNELS_ATTENTION_CC_ONCE
#define PLANISH_KERNELS_ATTENTION_CC_ONCE
namespace planish {
namespace {

constexpr size_t kNoSplit = ~size_t{0};

// Rows [first_row, first_row + rows) of a job for one kv head; queries are numbered row * group + head in group.
struct AttentionTile {
  const AttentionJob* job;
  size_t kv_head;
  size_t first_row;
  size_t rows;
  size_t span_begin, span_end;  // spans of kAttentionSpan positions to visit
  size_t
      partial;  // kNoSplit: all spans, write the output; else offset of this span's partial result
};

struct AttentionShape {
  size_t heads, kv_heads, head_dim;
  float scale;
  size_t group() const { return heads / kv_heads; }
  size_t padded() const { return RoundUpToLine(head_dim); }
  // A partial result of n queries: maximum [n], sum [n], weighted values [n, padded].
  size_t PartialFloats(size_t queries) const { return queries * (2 + padded()); }
};

}  // namespace
}  // namespace planish
#endif  // PLANISH_KERNELS_ATTENTION_CC_ONCE

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention.cc"
#include "hwy/cache_control.h"
#include "hwy/foreach_target.h"
#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

// Register tiles: up to kMaxQueries x 4 keys for the scores, x 4 vectors of columns for the values. With the keys or
// values and one broadcast that fills the 32 registers of AVX-512 and NEON, or the 16 of the others.
#if HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64
inline constexpr size_t kMaxQueries = 6;
#else
inline constexpr size_t kMaxQueries = 3;
#endif
inline constexpr size_t kKeys = kLanes < 4 ? kLanes : 4;
inline constexpr size_t kColumns = 4;

// scores[i * 64 + j] = q[i] . k[j] for j < count, also written (meaningless) up to the next multiple of kLanes.
// Rows of q and k are `width` long, a multiple of kLanes; k rows are k_stride apart. `ahead` (may be null) is what will
// be read next, in the layout of k: its lines are fetched meanwhile, as each page is a jump that hardware cannot foresee.
template <size_t kQ>
HWY_INLINE void Scores(const float* q, const float* k, size_t k_stride, size_t width, size_t count,
                       const float* ahead, float* scores) {
  const FloatTag d;
  HWY_ALIGN float sums[kQ][kLanes * kLanes];
  for (size_t j0 = 0; j0 < count; j0 += kLanes) {
    for (size_t jj = 0; jj < kLanes; jj += kKeys) {
      // Keys past the end repeat the last one, so that nothing unwritten is read.
      const float* key[kKeys];
#pragma GCC unroll 16
      for (size_t j = 0; j < kKeys; ++j) key[j] = k + std::min(j0 + jj + j, count - 1) * k_stride;
      FloatVec sum[kQ][kKeys];
#pragma GCC unroll 16
      for (size_t i = 0; i < kQ; ++i) {
#pragma GCC unroll 16
        for (size_t j = 0; j < kKeys; ++j) sum[i][j] = hn::Zero(d);
      }
      for (size_t c = 0; c < width; c += kLanes) {
        if (ahead != nullptr) {
          for (size_t j = 0; j < kKeys; ++j) hwy::Prefetch(ahead + (j0 + jj + j) * k_stride + c);
        }
        FloatVec keys[kKeys];
#pragma GCC unroll 16
        for (size_t j = 0; j < kKeys; ++j) keys[j] = hn::LoadU(d, key[j] + c);
#pragma GCC unroll 16
        for (size_t i = 0; i < kQ; ++i) {
          const FloatVec query = hn::Load(d, q + i * width + c);
#pragma GCC unroll 16
          for (size_t j = 0; j < kKeys; ++j) sum[i][j] = hn::MulAdd(query, keys[j], sum[i][j]);
        }
      }
#pragma GCC unroll 16
      for (size_t i = 0; i < kQ; ++i) {
#pragma GCC unroll 16
        for (size_t j = 0; j < kKeys; ++j) hn::Store(sum[i][j], d, &sums[i][(jj + j) * kLanes]);
      }
    }
#pragma GCC unroll 16
    for (size_t i = 0; i < kQ; ++i) {
      hn::Store(SumEach(d, sums[i], kLanes), d, scores + i * kKvPagePositions + j0);
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

// acc[i] = factor[i] * acc[i] + sum_{begin <= j < end} weight[i * 64 + j] * v[j], for kV vectors of columns.
template <size_t kQ, size_t kV>
HWY_INLINE void AddValues(const float* weights, const float* factors, const float* v,
                          size_t v_stride, size_t width, size_t begin, size_t end,
                          const float* ahead, float* acc) {
  const FloatTag d;
  FloatVec sum[kQ][kV];
#pragma GCC unroll 16
  for (size_t i = 0; i < kQ; ++i) {
    const FloatVec factor = hn::Set(d, factors[i]);
#pragma GCC unroll 16
    for (size_t c = 0; c < kV; ++c) {
      sum[i][c] = hn::Mul(factor, hn::Load(d, acc + i * width + c * kLanes));
    }
  }
  for (size_t j = begin; j < end; ++j) {
    if (ahead != nullptr) {
      for (size_t c = 0; c < kV; ++c) hwy::Prefetch(ahead + j * v_stride + c * kLanes);
    }
    FloatVec value[kV];
#pragma GCC unroll 16
    for (size_t c = 0; c < kV; ++c) value[c] = hn::LoadU(d, v + j * v_stride + c * kLanes);
#pragma GCC unroll 16
    for (size_t i = 0; i < kQ; ++i) {
      const FloatVec weight = hn::Set(d, weights[i * kKvPagePositions + j]);
#pragma GCC unroll 16
      for (size_t c = 0; c < kV; ++c) sum[i][c] = hn::MulAdd(weight, value[c], sum[i][c]);
    }
  }
#pragma GCC unroll 16
  for (size_t i = 0; i < kQ; ++i) {
#pragma GCC unroll 16
    for (size_t c = 0; c < kV; ++c) hn::Store(sum[i][c], d, acc + i * width + c * kLanes);
  }
}

template <size_t kQ>
HWY_INLINE void AddAllValues(const float* weights, const float* factors, const float* v,
                             size_t v_stride, size_t width, size_t begin, size_t end,
                             const float* ahead, float* acc) {
  size_t c = 0;
  for (; c + kColumns * kLanes <= width; c += kColumns * kLanes) {
    AddValues<kQ, kColumns>(weights, factors, v + c, v_stride, width, begin, end,
                            ahead != nullptr ? ahead + c : nullptr, acc + c);
  }
  for (; c < width; c += kLanes) {
    AddValues<kQ, 1>(weights, factors, v + c, v_stride, width, begin, end,
                     ahead != nullptr ? ahead + c : nullptr, acc + c);
  }
}

// n <= kQ queries, of which query i sees the first counts[i] > 0 positions of the page; counts ascend.
template <size_t kQ>
HWY_INLINE void AttendPage(size_t n, const float* q, const float* k, const float* v, size_t stride,
                           size_t width, const size_t* counts, const float* ahead_of_k,
                           const float* ahead_of_v, float* maxima, float* sums, float* acc) {
  if constexpr (kQ > 1) {
    if (n < kQ) {
      return AttendPage<kQ - 1>(n, q, k, v, stride, width, counts, ahead_of_k, ahead_of_v, maxima,
                                sums, acc);
    }
  }
  HWY_ALIGN float weights[kQ * kKvPagePositions];
  float factors[kQ];
  Scores<kQ>(q, k, stride, width, counts[kQ - 1], ahead_of_k, weights);
#pragma GCC unroll 16
  for (size_t i = 0; i < kQ; ++i) {
    factors[i] = UpdateSoftmax(weights + i * kKvPagePositions, counts[i], &maxima[i], &sums[i]);
  }
  // What all see, then each its rest: a row never touches values of later positions, not even times zero.
  AddAllValues<kQ>(weights, factors, v, stride, width, 0, counts[0], ahead_of_v, acc);
  const float one = 1.0f;
  for (size_t i = 1; i < kQ; ++i) {
    if (counts[i] > counts[0]) {
      AddAllValues<1>(weights + i * kKvPagePositions, &one, v, stride, width, counts[0], counts[i],
                      nullptr, acc + i * width);
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

// [64 or fewer rows, head_dim] to rows of `width` with zeros behind.
HWY_INLINE void PadRows(const float* rows, size_t count, size_t head_dim, size_t width,
                        float* padded) {
  for (size_t j = 0; j < count; ++j, rows += head_dim, padded += width) {
    std::memcpy(padded, rows, head_dim * sizeof(float));
    std::fill(padded + head_dim, padded + width, 0.0f);
  }
}

// scratch: TileScratchFloats. partials: base of the offsets in tiles.
void AttendTile(const AttentionShape& shape, const AttentionTile& tile, float* scratch,
                float* partials) {
  const AttentionJob& job = *tile.job;
  const size_t P = shape.head_dim, group = shape.group(), width = PaddedColumns(P);
  const size_t queries = tile.rows * group;
  float* q = scratch;
  float* acc = q + queries * shape.padded();
  float* total = acc + queries * shape.padded();
  float* maxima = total + queries * shape.padded();
  float* sums = maxima + queries;
  float* total_m = sums + queries;
  float* total_l = total_m + queries;
  float* padded_k = scratch + RoundUpToLine(queries * (3 * shape.padded() + 4));
  float* padded_v = padded_k + kKvPagePositions * shape.padded();

  for (size_t i = 0; i < queries; ++i) {
    const float* from = job.q + (tile.first_row + i / group) * job.q_stride +
                        (tile.kv_head * group + i % group) * P;
    for (size_t c = 0; c < P; ++c) q[i * width + c] = from[c] * shape.scale;
    for (size_t c = P; c < width; ++c) q[i * width + c] = 0.0f;
  }
  // Query i sees positions below `position_of(i) + 1`.
  const auto position_of = [&](size_t i) {
    return job.first_position + tile.first_row + i / group;
  };
  const size_t seen_by_last = position_of(queries - 1) + 1;

  for (size_t span = tile.span_begin; span < tile.span_end; ++span) {
    const size_t span_start = span * kAttentionSpan;
    const size_t span_stop = std::min(span_start + kAttentionSpan, seen_by_last);
    std::fill(maxima, maxima + queries, -std::numeric_limits<float>::infinity());
    std::fill(sums, sums + queries, 0.0f);
    std::fill(acc, acc + queries * width, 0.0f);
    for (size_t start = span_start; start < span_stop; start += kKvPagePositions) {
      const float* page = job.pages[start / kKvPagePositions];
      const size_t page_rows = std::min(kKvPagePositions, span_stop - start);
      const float* k = page + tile.kv_head * kKvPagePositions * P;
      const float* v = k + shape.kv_heads * kKvPagePositions * P;
      // The first tile of a page fetches: V while it works on K, and the next page's K while on V.
      const float* ahead_of_k = v;
      const float* ahead_of_v =
          start + kKvPagePositions < span_stop
              ? job.pages[start / kKvPagePositions + 1] + tile.kv_head * kKvPagePositions * P
              : nullptr;
      if (width != P) {
        ahead_of_k = ahead_of_v = nullptr;
        PadRows(k, page_rows, P, width, padded_k);
        PadRows(v, page_rows, P, width, padded_v);
        k = padded_k;
        v = padded_v;
      }
      size_t i = 0;
      while (i < queries && position_of(i) < start) i += group;
      while (i < queries) {
        // Tiles of nearly equal size: five query heads are 5, or 3 + 2, never 3 + 1 + 1.
        const size_t left = queries - i, passes = (left + kMaxQueries - 1) / kMaxQueries;
        const size_t n = (left + passes - 1) / passes;
        size_t counts[kMaxQueries] = {};
        for (size_t j = 0; j < n; ++j) {
          counts[j] = std::min(kKvPagePositions, position_of(i + j) + 1 - start);
        }
        AttendPage<kMaxQueries>(n, q + i * width, k, v, width, width, counts, ahead_of_k,
                                ahead_of_v, maxima + i, sums + i, acc + i * width);
        ahead_of_k = ahead_of_v = nullptr;
        i += n;
      }
    }
    if (tile.partial != kNoSplit) {
      float* partial = partials + tile.partial;
      std::memcpy(partial, maxima, queries * sizeof(float));
      std::memcpy(partial + queries, sums, queries * sizeof(float));
      std::memcpy(partial + 2 * queries, acc, queries * width * sizeof(float));
      return;
    }
    for (size_t i = 0; i < queries; ++i) {
      if (position_of(i) < span_start) continue;
      MergePartial(span == 0, maxima[i], sums[i], acc + i * width, width, &total_m[i], &total_l[i],
                   total + i * width);
    }
  }
  for (size_t i = 0; i < queries; ++i) {
    float* out = job.out + (tile.first_row + i / group) * job.out_stride +
                 (tile.kv_head * group + i % group) * P;
    WriteOutput(total + i * width, total_l[i], P, out);
  }
}

// The spans of one split tile, in order; `tiles` are its parts. scratch: [padded].
void MergeTiles(const AttentionShape& shape, const AttentionTile* tiles, size_t spans,
                const float* partials, float* total) {
  const AttentionJob& job = *tiles->job;
  const size_t group = shape.group(), width = PaddedColumns(shape.head_dim);
  const size_t queries = tiles->rows * group;
  for (size_t i = 0; i < queries; ++i) {
    const size_t row = tiles->first_row + i / group;
    float total_m = 0, total_l = 0;
    for (size_t span = 0; span < spans && span * kAttentionSpan <= job.first_position + row;
         ++span) {
      const float* partial = partials + tiles[span].partial;
      MergePartial(span == 0, partial[i], partial[queries + i], partial + 2 * queries + i * width,
                   width, &total_m, &total_l, total);
    }
    float* out =
        job.out + row * job.out_stride + (tiles->kv_head * group + i % group) * shape.head_dim;
    WriteOutput(total, total_l, shape.head_dim, out);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {

HWY_EXPORT(AttendTile);
HWY_EXPORT(MergeTiles);

namespace {

// Queries of a tile: enough that a page in L2 (64 KB at P = 128) is used many times, few enough for L1 beside it.
constexpr size_t kTileQueries = 32;

size_t TileScratchFloats(const AttentionShape& shape, size_t rows) {
  const size_t queries = rows * shape.group();
  return RoundUpToLine(queries * (3 * shape.padded() + 4)) + 2 * kKvPagePositions * shape.padded();
}

}  // namespace

void PagedAttention(size_t heads, size_t kv_heads, size_t head_dim, float scale,
                    std::span<const AttentionJob> jobs) {
  PLANISH_CHECK(kv_heads > 0 && heads % kv_heads == 0 && head_dim > 0, "{} {}", heads, kv_heads);
  const AttentionShape shape{heads, kv_heads, head_dim, scale};
  const size_t tile_rows = std::max<size_t>(1, kTileQueries / shape.group());

  static thread_local std::vector<AttentionTile> tiles;
  static thread_local std::vector<std::pair<size_t, size_t>> merges;  // first tile, spans
  tiles.clear();
  merges.clear();
  size_t partial_floats = 0, operations = 0;
  for (const AttentionJob& job : jobs) {
    if (job.rows == 0) continue;
    const size_t positions = job.first_position + job.rows;
    PLANISH_CHECK(job.pages.size() >= KvPageCount(positions), "{} pages for {} positions",
                  job.pages.size(), positions);
    const size_t spans = (positions + kAttentionSpan - 1) / kAttentionSpan;
    operations += 2 * job.rows * heads * positions * head_dim;
    // Few rows: the spans are the parallel work. Many rows: the row tiles are, and each walks its spans itself; the
    // arithmetic is the same.
    const bool is_split = job.rows <= tile_rows && spans > 1;
    for (size_t kv_head = 0; kv_head < kv_heads; ++kv_head) {
      if (is_split) {
        merges.emplace_back(tiles.size(), spans);
        for (size_t span = 0; span < spans; ++span) {
          tiles.push_back({&job, kv_head, 0, job.rows, span, span + 1, partial_floats});
          partial_floats += RoundUpToLine(shape.PartialFloats(job.rows * shape.group()));
        }
        continue;
      }
      for (size_t row = 0; row < job.rows; row += tile_rows) {
        const size_t rows = std::min(tile_rows, job.rows - row);
        const size_t last = job.first_position + row + rows - 1;
        tiles.push_back({&job, kv_head, row, rows, 0, last / kAttentionSpan + 1, kNoSplit});
      }
    }
  }

  static thread_local Scratch memory;
  const size_t thread_floats = TileScratchFloats(shape, tile_rows);
  float* scratch =
      memory.Floats(static_cast<size_t>(ThreadCount()) * thread_floats + partial_floats);
  float* partials = scratch + static_cast<size_t>(ThreadCount()) * thread_floats;
  const std::span<const AttentionTile> all_tiles = tiles;  // thread_local is per worker: pass views
  ParallelForWork(all_tiles.size(), operations, [&](size_t i, int thread) {
    HWY_DYNAMIC_DISPATCH(AttendTile)
    (shape, all_tiles[i], scratch + static_cast<size_t>(thread) * thread_floats, partials);
  });
  const std::span<const std::pair<size_t, size_t>> all_merges = merges;
  ParallelForWork(all_merges.size(), 2 * partial_floats, [&](size_t i, int thread) {
    HWY_DYNAMIC_DISPATCH(MergeTiles)
    (shape, &all_tiles[all_merges[i].first], all_merges[i].second, partials,
     scratch + static_cast<size_t>(thread) * thread_floats);
  });
}

void WriteKv(const float* k, size_t k_stride, const float* v, size_t v_stride, size_t T,
             size_t kv_heads, size_t head_dim, size_t first_position,
             std::span<float* const> pages) noexcept {
  for (size_t t = 0; t < T; ++t) {
    const size_t position = first_position + t;
    float* page = pages[position / kKvPagePositions];
    for (size_t head = 0; head < kv_heads; ++head) {
      float* key = page + (head * kKvPagePositions + position % kKvPagePositions) * head_dim;
      float* value = key + kv_heads * kKvPagePositions * head_dim;
      std::memcpy(key, k + t * k_stride + head * head_dim, head_dim * sizeof(float));
      std::memcpy(value, v + t * v_stride + head * head_dim, head_dim * sizeof(float));
    }
  }
}

}  // namespace planish
#endif  // HWY_ONCE
