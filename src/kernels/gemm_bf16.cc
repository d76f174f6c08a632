// SPDX-License-Identifier: Apache-2.0
#include "kernels/gemm_bf16.h"

#include <algorithm>
#include <vector>

#include "kernels/panel_product.h"
#include "kernels/team_work.h"

namespace planish {
namespace {

// Where B[n, n + rows) x [k, k + depth) is stored.
PanelPrefetch StoredPart(const PanelSource& b, size_t n, size_t rows, size_t k, size_t depth) {
  const size_t size = b.dtype == DType::kF32 ? sizeof(float) : sizeof(uint16_t);
  return {b.At(n, k).data, b.stride * size, b.is_transposed ? depth : rows,
          (b.is_transposed ? rows : depth) * size};
}

// All of B packed beforehand, for products with more rows of A than one pass takes: [blocks of k][panels][tiles].
class RightPanels {
 public:
  RightPanels(const PanelSource& b, size_t N, size_t K, Scratch& memory) : panels_(PanelCount(N)) {
    auto* data = reinterpret_cast<uint16_t*>(memory.Floats(PackedElems(N, K) / 2));
    data_ = data;
    constexpr size_t kRows = 4 * kPanelRows;
    const size_t blocks = (K + kDepthBlock - 1) / kDepthBlock, parts = (N + kRows - 1) / kRows;
    ParallelForWork(blocks * parts, N * K, [&](size_t i, int) {
      const size_t k = i / parts * kDepthBlock, n = i % parts * kRows;
      const size_t depth = std::min(kDepthBlock, K - k);
      PackRight(b.At(n, k), std::min(kRows, N - n), depth, data + Offset(n, k, depth));
    });
  }
  // Of the block of `depth` inputs from k on, from row n on.
  const uint16_t* At(size_t n, size_t k, size_t depth) const { return data_ + Offset(n, k, depth); }

 private:
  size_t Offset(size_t n, size_t k, size_t depth) const {
    return panels_ * kPanelRows * k + n * TileCount(depth) * kPanelDepth;
  }
  size_t panels_;
  const uint16_t* data_;
};

constexpr size_t kPackedElems = size_t{16} << 20;  // 32 MiB of A or B packed at a time

// Columns of C per task: some eight tasks where M and N allow, wide ones, for a task reads its rows of A once.
size_t TaskColumns(size_t row_chunks, size_t N) {
  constexpr size_t kTasks = 8, kStep = 2 * kPanelRows;
  const size_t parts =
      std::max((N + kMaxTaskRows - 1) / kMaxTaskRows, (kTasks + row_chunks - 1) / row_chunks);
  return std::clamp(((N + parts - 1) / parts + kStep - 1) / kStep * kStep, size_t{128},
                    kMaxTaskRows);
}

// C (+)= A B^T, both packed beforehand: for at most kPackedElems of each.
void MultiplyPacked(const PanelSource& a, const RightPanels& right, size_t M, size_t N, size_t K,
                    bool accumulate, float* c, size_t c_stride) {
  static thread_local Scratch left_memory, task_memory;
  float* packed = left_memory.Floats(PackedElems(M, K) / 2);
  std::vector<LeftPanels> left;
  for (size_t m = 0; m < M; m += kMaxLeftRows)
    left.emplace_back(a.At(m, 0), std::min(kMaxLeftRows, M - m), K,
                      reinterpret_cast<uint16_t*>(packed) + PackedElems(m, K));
  float* memory = task_memory.Floats(TaskMemory::kFloats * static_cast<size_t>(ThreadCount()));
  const size_t columns = TaskColumns(left.size(), N), parts = (N + columns - 1) / columns;
  ParallelForWork(left.size() * parts, M * N * K / 4, [&](size_t task, int thread) {
    const size_t m = task / parts * kMaxLeftRows, n = task % parts * columns;
    MultiplyTask(
        left[task / parts], n, std::min(N, n + columns),
        [&](size_t row, size_t, size_t k, size_t depth, uint16_t*) {
          return right.At(row, k, depth);
        },
        [&](size_t row, size_t count, size_t k, size_t depth) {
          const size_t bytes = PackedElems(count, depth) * sizeof(uint16_t);
          return PanelPrefetch{right.At(row, k, depth), bytes, 1, bytes};
        },
        accumulate, c + m * c_stride, c_stride,
        TaskMemory(memory + TaskMemory::kFloats * static_cast<size_t>(thread)));
  });
}

// The same for few rows: each panel of B is used once, so the tasks make them on the way.
void MultiplyShort(const PanelSource& a, const PanelSource& b, size_t M, size_t N, size_t K,
                   bool accumulate, float* c, size_t c_stride) {
  static thread_local Scratch packed, tasks;
  const LeftPanels left(a, M, K, packed);
  float* memory = tasks.Floats(TaskMemory::kFloats * static_cast<size_t>(ThreadCount()));
  const size_t rows = TaskRows(N);
  ParallelForWork((N + rows - 1) / rows, M * N * K / 4, [&](size_t task, int thread) {
    MultiplyTask(
        left, task * rows, std::min(N, (task + 1) * rows),
        [&](size_t n, size_t n_count, size_t k, size_t depth, uint16_t* out) {
          PackRight(b.At(n, k), n_count, depth, out);
          return out;
        },
        [&](size_t n, size_t n_count, size_t k, size_t depth) {
          return StoredPart(b, n, n_count, k, depth);
        },
        accumulate, c, c_stride,
        TaskMemory(memory + TaskMemory::kFloats * static_cast<size_t>(thread)));
  });
}

}  // namespace

void GemmBf16(const PanelSource& a, const PanelSource& b, size_t M, size_t N, size_t K,
              bool accumulate, float* c, size_t c_stride) {
  if (M == 0 || N == 0) return;
  if (K == 0) {
    for (size_t m = 0; m < M && !accumulate; ++m) std::fill_n(c + m * c_stride, N, 0.0f);
    return;
  }
  if (M <= kMaxLeftRows) return MultiplyShort(a, b, M, N, K, accumulate, c, c_stride);
  static thread_local Scratch right_memory;
  const size_t chunk = kPackedElems / (TileCount(K) * kPanelDepth);  // rows of A or B
  const size_t rows = std::max<size_t>(chunk / kMaxLeftRows, 1) * kMaxLeftRows;
  const size_t columns = std::max<size_t>(chunk / kMaxTaskRows, 1) * kMaxTaskRows;
  for (size_t n = 0; n < N; n += columns) {
    const RightPanels right(b.At(n, 0), std::min(columns, N - n), K, right_memory);
    for (size_t m = 0; m < M; m += rows)
      MultiplyPacked(a.At(m, 0), right, std::min(rows, M - m), std::min(columns, N - n), K,
                     accumulate, c + m * c_stride + n, c_stride);
  }
}

}  // namespace planish
