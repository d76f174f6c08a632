// SPDX-License-Identifier: Apache-2.0
#include "kernels/gemm_bf16.h"

#include <algorithm>

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

}  // namespace

void GemmBf16(const PanelSource& a, const PanelSource& b, size_t M, size_t N, size_t K,
              bool accumulate, float* c, size_t c_stride) {
  static thread_local Scratch packed, tasks;
  if (N == 0) return;
  if (K == 0) {
    for (size_t m = 0; m < M && !accumulate; ++m) std::fill_n(c + m * c_stride, N, 0.0f);
    return;
  }
  const size_t rows = TaskRows(N);
  for (size_t m = 0; m < M; m += kMaxLeftRows) {
    const LeftPanels left(a.At(m, 0), std::min(kMaxLeftRows, M - m), K, packed);
    float* memory = tasks.Floats(TaskMemory::kFloats * static_cast<size_t>(ThreadCount()));
    const size_t count = (N + rows - 1) / rows;
    ParallelForWork(count, left.M() * N * K / 4, [&](size_t task, int thread) {
      MultiplyTask(
          left, task * rows, std::min(N, (task + 1) * rows),
          [&](size_t n, size_t n_count, size_t k, size_t depth, uint16_t* out) {
            PackRight(b.At(n, k), n_count, depth, out);
          },
          [&](size_t n, size_t n_count, size_t k, size_t depth) {
            return StoredPart(b, n, n_count, k, depth);
          },
          accumulate, c + m * c_stride, c_stride,
          TaskMemory(memory + TaskMemory::kFloats * static_cast<size_t>(thread)));
    });
  }
}

}  // namespace planish
