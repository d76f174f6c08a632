// SPDX-License-Identifier: Apache-2.0
// The cache blocking of bf16 products: C[M, N] (+)= A[M, K] B[N, K]^T with A packed once and the panels of B made on the way
// from whatever they are stored as. A task owns some rows of B (columns of C). K is taken kDepthBlock at a time: a block of A
// (M x kDepthBlock, 512 KiB for 512 rows) stays in the second-level cache while two panels of B after the other are made in
// the first-level cache and multiplied with it. Sums stay in a buffer until the last block of k, which writes C. Every element is summed over ascending k, so neither the blocking nor M nor the cut into
// tasks changes its bits.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/bf16_panels.h"
#include "kernels/scratch.h"

namespace planish {

inline constexpr size_t kDepthBlock = 512;   // k per block, a multiple of every block type's length
inline constexpr size_t kMaxLeftRows = 512;  // rows of A per pass
// Rows of B per task: at most 1 MiB of sums beside the block of A.
inline constexpr size_t kMaxTaskRows = 512;
inline constexpr size_t kPackRows = 16 * kPanelRows;  // rows packed by one task
inline constexpr size_t kRightRows = 4 * kPanelRows;  // rows of B made at a time, at most

// Rows of B per task: even tasks, several for each thread, of which the sums fit the second-level cache.
size_t TaskRows(size_t N);

// A packed matrix A[M, K], M <= kMaxLeftRows, in blocks of k.
class LeftPanels {
 public:
  enum class Packs { kOnTeam, kHere };  // kHere: for use inside a task
  // `memory` holds the panels and must outlive this object.
  LeftPanels(const PanelSource& a, size_t rows, size_t depth, Scratch& memory,
             Packs packs = Packs::kOnTeam)
      : LeftPanels(a, rows, depth,
                   reinterpret_cast<uint16_t*>(memory.Floats(PackedElems(rows, depth) / 2)),
                   packs) {}
  LeftPanels(const PanelSource& a, size_t rows, size_t depth, uint16_t* memory,
             Packs packs = Packs::kOnTeam);
  size_t M() const { return M_; }
  size_t K() const { return K_; }
  // The panels of [M, min(kDepthBlock, K - k)] from k on, k a multiple of kDepthBlock.
  const uint16_t* Block(size_t k) const { return data_ + PanelCount(M_) * kPanelRows * k; }
  // Part `part` of `parts` of the block after k (of the first, after the last), to be fetched while block k is in use.
  PanelPrefetch NextBlock(size_t k, size_t part, size_t parts) const {
    if (K_ <= kDepthBlock) return {};
    const size_t next = k + kDepthBlock < K_ ? k + kDepthBlock : 0;
    const size_t bytes =
        PackedElems(M_, std::min(kDepthBlock, K_ - next)) * sizeof(uint16_t) / parts;
    return {reinterpret_cast<const std::byte*>(Block(next)) + part * bytes, bytes, 1, bytes};
  }

 private:
  size_t M_, K_;
  const uint16_t* data_;
};

// What a task needs for itself, in floats of a Scratch: right panels, room for 16 rows of floats, sums.
struct TaskMemory {
  static constexpr size_t kRowStride = kDepthBlock + 16;  // not a multiple of 4 KiB
  static constexpr size_t kRight = kRightRows * kDepthBlock / 2;
  static constexpr size_t kRows = kPanelRows * kRowStride;
  static constexpr size_t kFloats = kRight + kRows + kMaxLeftRows * kMaxTaskRows;
  explicit TaskMemory(float* memory) : memory_(memory) {}
  uint16_t* right() const { return reinterpret_cast<uint16_t*>(memory_); }
  float* rows() const { return memory_ + kRight; }
  float* sums() const { return memory_ + kRight + kRows; }

 private:
  float* memory_;
};

inline constexpr size_t kCachedBytes = 256 << 10;  // of a task's part of C

// Columns [begin, end) of C, end - begin <= kMaxTaskRows; c: the element of row 0 and column `begin`. make_right(n, rows, k, depth, memory) returns the right panels of
// B[n, n + rows) x [k, k + depth), made in `memory` or elsewhere before; n is `begin` plus a multiple of 32. stored(n, rows, k,
// depth) says where what it reads is stored.
template <typename MakeRight, typename Stored>
void MultiplyTask(const LeftPanels& left, size_t begin, size_t end, const MakeRight& make_right,
                  const Stored& stored, bool accumulate, float* c, size_t c_stride,
                  const TaskMemory& memory) {
  const PanelScope scope;
  const size_t step = left.M() <= kPanelRows ? 4 * kPanelRows : 2 * kPanelRows;
  const bool is_large = left.M() * (end - begin) * sizeof(float) > kCachedBytes;
  for (size_t k = 0; k < left.K(); k += kDepthBlock) {
    const size_t depth = std::min(kDepthBlock, left.K() - k);
    const bool is_last = k + depth == left.K();
    for (size_t n = begin; n < end; n += step) {
      const size_t rows = std::min(step, end - n);
      PanelProduct product = {.left = left.Block(k)};
      product.right = make_right(n, rows, k, depth, memory.right());
      product.M = left.M();
      product.N = rows;
      product.K = depth;
      // Sums of a step are [M][step]: a block of 32 x 32 is one page, not 32 places.
      float* sums = memory.sums() + (n - begin) * left.M();
      if (k != 0) {
        product.from = sums;
        product.from_stride = step;
      } else if (accumulate) {
        product.from = c + (n - begin);
        product.from_stride = c_stride;
      }
      product.c = is_last ? c + (n - begin) : sums;
      product.c_stride = is_last ? c_stride : step;
      product.bypass_caches = is_last && is_large && !accumulate;
      // Meanwhile: what the next panels are made from, and a part of the left block that comes next.
      const bool wraps = n + step >= end;
      const size_t next_n = wraps ? begin : n + step, next_k = wraps ? k + depth : k;
      if (next_k < left.K())
        product.next[0] = stored(next_n, std::min(step, end - next_n), next_k,
                                 std::min(kDepthBlock, left.K() - next_k));
      product.next[1] = left.NextBlock(k, (n - begin) / step, (end - begin + step - 1) / step);
      MultiplyPanels(product);
    }
  }
}

}  // namespace planish
