// SPDX-License-Identifier: Apache-2.0
// Causal grouped-query attention over paged keys and values: query head i reads kv head i / (H/K);
//   out[r,i] = sum_{j <= first_position + r} softmax_j(scale * q[r,i] . k[j]) v[j],  softmax in float.
// Online softmax (Milakov & Gimelshein, arXiv 1805.02867) in position order; every grid (pages, spans, AMX blocks) is one of
// positions only, so a row's bits do not depend on how many rows a call has, on the other jobs, or on threads. A page is
// read once for all query heads of a group.
// Arithmetic: float products of q with the stored k and v as they are (dequantised in registers). Fast modes differ in two
// places: rows of jobs with several rows are multiplied in bf16 (q, k, v and probabilities rounded, float sums) where
// the CPU has AMX; keys in q8_0 meet queries quantised to int8 per 32 channels where it has VNNI.
#pragma once

#include <cstddef>
#include <span>

#include "kernels/kv_page.h"
#include "kernels/matmul.h"  // ActMode

namespace planish {

// Consecutive rows of one sequence. Their keys and values are already in the pages (WriteKv).
struct AttentionJob {
  const float* q;  // [rows, heads * head_dim], rows q_stride apart
  size_t q_stride;
  size_t rows;
  size_t first_position;  // of row 0
  std::span<const std::byte* const>
      pages;   // page i holds positions [64 i, 64 i + 64); unwritten positions are not used
  float* out;  // [rows, heads * head_dim], rows out_stride apart; may be q
  size_t out_stride;
  bool is_decode =
      false;  // the row of a sampled token: fast modes stream the cache for it instead of multiplying tiles
};

// kv.kv_heads divides heads. One parallel region over (job, kv heads, rows or span of positions) if the work is worth it. May
// throw Error(kNoMemory) for its scratch.
void PagedAttention(const KvLayout& kv, size_t heads, float scale, ActMode act,
                    std::span<const AttentionJob> jobs);

}  // namespace planish
