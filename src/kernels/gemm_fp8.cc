// SPDX-License-Identifier: Apache-2.0
// Both operands are packed once for a chunk of kChunkDepth inputs. A task owns a block of C and walks it in pieces of kPieceRows x
// 32: for each block of 128 k the product of the codes goes to a buffer in the first-level cache and is added to the piece's
// sums with its scales. Sums wait in C between chunks.
#include "kernels/gemm_fp8.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/matmul_targets.h"
#include "kernels/scratch.h"
#include "kernels/team_work.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm_fp8.cc"
#include "hwy/foreach_target.h"
#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

// sums[rows][32] += products[rows][32] * (a[row] * b[32]).
void AddScaled(const float* HWY_RESTRICT products, const float* HWY_RESTRICT a,
               const float* HWY_RESTRICT b, size_t rows, float* HWY_RESTRICT sums) {
  constexpr size_t kColumns = 32;
  const FloatTag d;
  for (size_t r = 0; r < rows; ++r, products += kColumns, sums += kColumns) {
    const FloatVec scale = hn::Set(d, a[r]);
#pragma GCC unroll 2
    for (size_t n = 0; n < kColumns; n += kLanes)
      hn::Store(hn::MulAdd(hn::Load(d, products + n), hn::Mul(scale, hn::Load(d, b + n)),
                           hn::Load(d, sums + n)),
                d, sums + n);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {

HWY_EXPORT(AddScaled);

namespace {

constexpr size_t kChunkDepth = 16 * kFp8Block;
constexpr size_t kChunkRows = 4096;   // of A or B packed at a time: 16 MiB each
constexpr size_t kPieceRows = 128;    // two buffers of 16 KiB beside 8 KiB of B
constexpr size_t kPieceColumns = 32;  // a pair of panels
constexpr size_t kTaskRows = 512, kTaskColumns = 256;

constexpr size_t Parts(size_t n, size_t step) { return (n + step - 1) / step; }

// A chunk of an operand: panels of all its depth, and scales by block of k, padded to whole panels.
class Packed {
 public:
  Packed(const Fp8Operand& x, size_t row, size_t rows, size_t k, size_t depth, bool is_left,
         Scratch& panels, Scratch& scales)
      : panel_(TileCount(depth) * kTileElems), padded_(Parts(rows, kPieceColumns) * kPieceColumns) {
    auto* to = reinterpret_cast<uint16_t*>(panels.Floats(PackedElems(rows, depth) / 2));
    const size_t blocks = Parts(depth, kFp8Block);
    float* scale = scales.Floats(padded_ * blocks);
    panels_ = to;
    scales_ = scale;
    constexpr size_t kRows = 4 * kPanelRows;
    ParallelForWork(Parts(rows, kRows), rows * depth, [&](size_t i, int) {
      const size_t r = i * kRows, count = std::min(kRows, rows - r);
      (is_left ? PackLeft : PackRight)(x.values.At(row + r, k), count, depth,
                                       to + r / kPanelRows * panel_);
      for (size_t b = 0; b < blocks; ++b)
        for (size_t j = r; j < std::min(r + kRows, padded_); ++j)
          scale[b * padded_ + j] = j < rows ? x.Scale(row + j, k / kFp8Block + b) : 0.0f;
    });
  }
  size_t panel() const { return panel_; }  // elements from panel to panel
  const uint16_t* Panels(size_t row, size_t block) const {
    return panels_ + row / kPanelRows * panel_ + block * (kFp8Block / kPanelDepth) * kTileElems;
  }
  const float* Scales(size_t row, size_t block) const { return scales_ + block * padded_ + row; }

 private:
  size_t panel_, padded_;
  const uint16_t* panels_;
  const float* scales_;
};

struct Chunk {
  const Packed &a, &b;
  size_t depth;
  bool accumulate;
};

// C[rows, columns] from (m, n) of the chunk on.
void MultiplyPiece(const Chunk& chunk, size_t m, size_t rows, size_t n, size_t columns, float* c,
                   size_t c_stride) {
  alignas(64) float products[kPieceRows * kPieceColumns], sums[kPieceRows * kPieceColumns] = {};
  if (chunk.accumulate)
    for (size_t r = 0; r < rows; ++r)
      std::copy_n(c + r * c_stride, columns, sums + r * kPieceColumns);
  if (columns < kPieceColumns) std::fill_n(products, kPieceRows * kPieceColumns, 0.0f);
  for (size_t k = 0; k < chunk.depth; k += kFp8Block) {
    const size_t block = k / kFp8Block;
    PanelProduct product = {.left = chunk.a.Panels(m, block), .right = chunk.b.Panels(n, block)};
    product.M = rows;
    product.N = columns;
    product.K = std::min(kFp8Block, chunk.depth - k);
    product.c = products;
    product.c_stride = kPieceColumns;
    product.left_panel = chunk.a.panel();
    product.right_panel = chunk.b.panel();
    MultiplyPanels(product);
    HWY_DYNAMIC_DISPATCH(AddScaled)
    (products, chunk.a.Scales(m, block), chunk.b.Scales(n, block), rows, sums);
  }
  for (size_t r = 0; r < rows; ++r)
    std::copy_n(sums + r * kPieceColumns, columns, c + r * c_stride);
}

void MultiplyChunk(const Chunk& chunk, size_t M, size_t N, float* c, size_t c_stride) {
  const size_t parts = Parts(N, kTaskColumns);
  // Even tasks, four at least where M allows.
  const size_t row_tasks = (Parts(M, kTaskRows) + 3) / 4 * 4;
  const size_t step = Parts(Parts(M, row_tasks), kPieceRows) * kPieceRows;
  ParallelForWork(Parts(M, step) * parts, M * N * chunk.depth / 4, [&](size_t i, int) {
    const PanelScope scope;
    const size_t begin = i / parts * step, end = std::min(M, begin + step);
    const size_t n_begin = i % parts * kTaskColumns, n_end = std::min(N, n_begin + kTaskColumns);
    for (size_t m = begin; m < end; m += kPieceRows)
      for (size_t n = n_begin; n < n_end; n += kPieceColumns)
        MultiplyPiece(chunk, m, std::min(kPieceRows, end - m), n,
                      std::min(kPieceColumns, n_end - n), c + m * c_stride + n, c_stride);
  });
}

}  // namespace

Fp8Operand Fp8Operand::AsStored(const uint16_t* values, const float* scales, size_t C,
                                Fp8Tiles tiles) {
  PLANISH_CHECK(tiles != Fp8Tiles::kColumns);
  Fp8Operand operand = {.values = {values, C, DType::kBF16}, .scales = scales};
  if (tiles == Fp8Tiles::kTensor) return operand;
  operand.row_tile = tiles == Fp8Tiles::kBlocks ? kFp8Block : 1;
  operand.row_step = Fp8ScaleColumns(tiles, C);
  operand.block_step = 1;
  return operand;
}

Fp8Operand Fp8Operand::Transposed(const uint16_t* values, const float* scales, size_t C,
                                  Fp8Tiles tiles) {
  PLANISH_CHECK(tiles != Fp8Tiles::kRows);
  Fp8Operand operand = {.values = {values, C, DType::kBF16, true}, .scales = scales};
  if (tiles == Fp8Tiles::kTensor) return operand;
  operand.row_tile = tiles == Fp8Tiles::kBlocks ? kFp8Block : 1;
  operand.row_step = 1;
  operand.block_step = Fp8ScaleColumns(tiles, C);
  return operand;
}

void GemmFp8(const Fp8Operand& a, const Fp8Operand& b, size_t M, size_t N, size_t K,
             bool accumulate, float* c, size_t c_stride) {
  static thread_local Scratch memory[4];
  if (K == 0)
    for (size_t m = 0; m < M && !accumulate; ++m) std::fill_n(c + m * c_stride, N, 0.0f);
  if (M == 0) return;
  for (size_t k = 0; k < K; k += kChunkDepth) {
    const size_t depth = std::min(kChunkDepth, K - k);
    for (size_t n = 0; n < N; n += kChunkRows) {
      const size_t columns = std::min(kChunkRows, N - n);
      const Packed right(b, n, columns, k, depth, /*is_left=*/false, memory[0], memory[1]);
      for (size_t m = 0; m < M; m += kChunkRows) {
        const size_t rows = std::min(kChunkRows, M - m);
        const Packed left(a, m, rows, k, depth, /*is_left=*/true, memory[2], memory[3]);
        MultiplyChunk({left, right, depth, accumulate || k != 0}, rows, columns,
                      c + m * c_stride + n, c_stride);
      }
    }
  }
}

}  // namespace planish
#endif  // HWY_ONCE
