// SPDX-License-Identifier: Apache-2.0
// The int8 product of one instruction-set level: a table of two functions. A new level is one file that defines its table
// (most by matmul_int8-inl.h) and one line in matmul_int8.cc. For every level
//   y[t, n] = sum over groups g ascending of  scale_w[n, g] * scale_x[t, g] * (integer sum of group g),  less minima,
// as acc = fma(float(sum), scale_w * scale_x, acc), then acc = fma(-minimum_w, scaled_sum_x, acc): the integer sums are exact
// and the float operations are the same in the same order, so all levels give the same bits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/int8_rows.h"
#include "kernels/packed_weight.h"

namespace planish {

// A weight in the layout of packed_weight.h.
struct Int8Weight {
  PackedFormat format;
  const uint8_t* data;  // [blocks][groups] of format.group_bytes()
  size_t out;
  size_t groups;
  size_t block_bytes() const { return groups * format.group_bytes(); }
};

struct Int8Kernels {
  size_t stream_tokens;  // the most that `stream` takes
  size_t
      tile_tokens;  // from so many on `tile` serves; fewer are streamed, in several calls if need be
  // Of the rows that `tile` takes; `stream` takes one panel of as many tokens as there are.
  size_t panel_height;
  // y[t * w.out + n] for all tokens of the panel and the rows n of blocks [begin, end).
  void (*stream)(const Int8Weight& w, size_t begin, size_t end, const Int8Panel& x,
                 float* y) noexcept;
  // y[t * w.out + n] for the tokens t of panels [first, last) and the rows n of blocks [begin, end); workspace of
  // Int8TileWorkspace bytes, 64-byte aligned.
  void (*tile)(const Int8Weight& w, size_t begin, size_t end, const Int8Rows& x, size_t first,
               size_t last, uint8_t* workspace, float* y) noexcept;
};

// A tile task takes kInt8TileBlocks blocks of rows at a time, of each a slab of at most kInt8SlabGroups groups, widened to
// bytes; meanwhile the sums of all rows and tokens of the task wait in the workspace.
inline constexpr size_t kInt8TileBlocks = 3;
inline constexpr size_t kInt8SlabGroups =
    12;  // 3 blocks of them and a panel's codes and sums fit 32 KiB
inline constexpr size_t kInt8WideBytes =
    512 + 64 + 64;  // a widened group: codes; two scales, or scales and minima
constexpr size_t Int8TileWorkspace(size_t blocks, size_t panels, size_t panel_height) {
  return kInt8TileBlocks * kInt8SlabGroups * kInt8WideBytes +
         blocks * panels * panel_height * kPackedRows * sizeof(float);
}

extern const Int8Kernels kInt8Scalar;
#if defined(__x86_64__)
extern const Int8Kernels kInt8Avx2, kInt8Avx512, kInt8Vnni, kInt8Amx;
#elif defined(__aarch64__)
extern const Int8Kernels kInt8Neon, kInt8Dotprod, kInt8I8mm;
#endif

}  // namespace planish
