// SPDX-License-Identifier: Apache-2.0
// Causal grouped-query attention over a paged key/value cache: query head i reads kv head i /
// (H/K);
//   out[r,i] = sum_{j <= first_position + r} softmax_j(scale * q[r,i] . k[j]) v[j],  softmax in
//   float.
// Online softmax (Milakov & Gimelshein, arXiv 1805.02867) page after page in position order;
// partial results restart every kAttentionSpan positions and are merged in order. Both grids are
// positions only, so a row's bits do not depend on how many rows a call has, on the other jobs, or
// on threads; a page is read once for all query heads of a group.
#pragma once

#include <cstddef>
#include <span>

namespace planish {

inline constexpr size_t kKvPagePositions = 64;
inline constexpr size_t kAttentionSpan = 16 * kKvPagePositions;

// One page of one layer and sequence: K [kv_heads, 64, head_dim], then V [kv_heads, 64, head_dim].
constexpr size_t KvPageFloats(size_t kv_heads, size_t head_dim) {
  return 2 * kv_heads * kKvPagePositions * head_dim;
}
constexpr size_t KvPageCount(size_t positions) {
  return (positions + kKvPagePositions - 1) / kKvPagePositions;
}

// Consecutive rows of one sequence. Their keys and values are already in the pages (WriteKv).
struct AttentionJob {
  const float* q;  // [rows, heads * head_dim], rows q_stride apart
  size_t q_stride;
  size_t rows;
  size_t first_position;  // of row 0
  std::span<const float* const>
      pages;   // page i holds positions [64 i, 64 i + 64); unwritten positions are not used
  float* out;  // [rows, heads * head_dim], rows out_stride apart; may be q
  size_t out_stride;
};

// kv_heads divides heads. Parallel over (job, kv head, rows or span). May throw Error(kNoMemory)
// for its scratch.
void PagedAttention(size_t heads, size_t kv_heads, size_t head_dim, float scale,
                    std::span<const AttentionJob> jobs);

// Copies k, v: [T, kv_heads * head_dim] (rows k_stride, v_stride apart) to positions
// first_position...
void WriteKv(const float* k, size_t k_stride, const float* v, size_t v_stride, size_t T,
             size_t kv_heads, size_t head_dim, size_t first_position,
             std::span<float* const> pages) noexcept;

}  // namespace planish
