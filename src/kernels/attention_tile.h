// SPDX-License-Identifier: Apache-2.0
// The unit of work of attention.cc and the kernels that do it: all query heads of some kv heads for some rows of a job, over
// some spans of positions. Queries of a kv head are numbered row * group + head in group.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/attention.h"
#include "kernels/scratch.h"

namespace planish {

// Partial results of the row kernel restart every span and are merged in order.
inline constexpr size_t kAttentionSpan = 16 * kKvPagePositions;

struct AttentionShape {
  KvLayout kv;
  size_t heads;
  float scale;
  size_t group() const { return heads / kv.kv_heads; }
  size_t padded() const { return RoundUpToLine(kv.head_dim); }
  // A partial result of n queries of a kv head: maximum [n], sum [n], weighted values [n, padded].
  size_t PartialFloats(size_t queries) const { return RoundUpToLine(queries * (2 + padded())); }
};

enum class AttentionKernel : uint8_t {
  kRows,      // float, attention_rows.cc
  kInt8Rows,  // the same with scores of q8_0 keys by VNNI
  kAmx,       // bf16 tiles, attention_amx.cc
};

struct AttentionTile {
  static constexpr size_t kWhole = ~size_t{0};
  const AttentionJob* job;
  AttentionKernel kernel;
  size_t kv_head, kv_heads;  // first and count; one if kAmx
  size_t first_row, rows;
  size_t span_begin, span_end;
  size_t partial =
      kWhole;  // kWhole: all spans, write the output; else offset of the kv heads' partial results
  size_t merge = 0;  // of a partial tile: which set of spans it belongs to
};

// attention_rows.cc. `partials` is the base of the tiles' offsets.
size_t AttentionRowsScratch(const AttentionShape& shape, size_t rows, size_t kv_heads);  // floats
void AttendRows(const AttentionShape& shape, const AttentionTile& tile, float* scratch,
                float* partials) noexcept;
// Writes the output of one tile whose spans are `tiles`. scratch: [padded].
void MergeSpans(const AttentionShape& shape, const AttentionTile* tiles, size_t spans,
                const float* partials, float* scratch) noexcept;

// attention_vnni.cc; only if Has(Isa::kVnni). n queries of `groups` groups of 32 channels, zeros behind the last channel.
struct Int8Queries {
  const int8_t* codes;  // [n, groups * 32]
  const float* scales;  // [n, groups]
  const int32_t* sums;  // [n, groups] of the codes
  size_t groups;
};
// scores[i * 64 + j] of positions j of a q8_0 head's page. `ahead`, if not null, is fetched meanwhile: as many bytes as the
// keys have.
void ScoresInt8(const Int8Queries& queries, size_t n, const KvLayout& kv, const std::byte* head,
                const std::byte* ahead, float* scores) noexcept;

// attention_amx.cc; only if Has(Isa::kAmx).
size_t AttentionAmxScratch(const AttentionShape& shape, size_t rows);  // floats
void AttendRowsAmx(const AttentionShape& shape, const AttentionTile& tile, float* scratch) noexcept;

}  // namespace planish
