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
    constexpr size_t kRows = kPackRows;
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

// Where C goes: to memory (added to, if `accumulate`), or in parts to a sink.
struct Result {
  bool accumulate = false;
  float* c = nullptr;
  size_t c_stride = 0;
  const ProductSink* sink = nullptr;
  Result At(size_t m, size_t n) const {
    Result part = *this;
    part.row = row + m;
    part.column = column + n;
    if (c != nullptr) part.c = c + m * c_stride + n;
    return part;
  }
  size_t row = 0, column = 0;  // of this part
};

// Columns [begin, end) of a task's rows of C; `result` is that of its first row and column 0.
template <typename MakeRight, typename Stored>
void MultiplyColumns(const LeftPanels& left, size_t begin, size_t end, const MakeRight& make_right,
                     const Stored& stored, const Result& result, const TaskMemory& memory) {
  if (result.sink == nullptr) {
    for (size_t n = begin; n < end; n += kMaxTaskRows)
      MultiplyTask(left, n, std::min(end, n + kMaxTaskRows), make_right, stored, result.accumulate,
                   result.At(0, n).c, result.c_stride, memory);
    return;
  }
  constexpr size_t kColumns = 128;  // a part of 128 rows is 64 KiB
  static thread_local Scratch block;
  float* values = block.Floats(left.M() * kColumns);
  for (size_t n = begin; n < end; n += kColumns) {
    const size_t columns = std::min(kColumns, end - n);
    MultiplyTask(left, n, n + columns, make_right, stored, /*accumulate=*/false, values, kColumns,
                 memory);
    (*result.sink)({result.row, left.M(), result.column + n, columns, values, kColumns});
  }
}

// Rows of panels that were made before, for MultiplyTask.
struct MadeRight {
  const RightPanels& right;
  const uint16_t* operator()(size_t n, size_t, size_t k, size_t depth, uint16_t*) const {
    return right.At(n, k, depth);
  }
};
struct MadeRightPart {
  const RightPanels& right;
  PanelPrefetch operator()(size_t n, size_t rows, size_t k, size_t depth) const {
    const size_t bytes = PackedElems(rows, depth) * sizeof(uint16_t);
    return {right.At(n, k, depth), bytes, 1, bytes};
  }
};

// C (+)= A B^T, both packed beforehand: for at most kPackedElems of each.
void MultiplyPacked(const PanelSource& a, const RightPanels& right, size_t M, size_t N, size_t K,
                    const Result& result) {
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
    MultiplyColumns(left[task / parts], n, std::min(N, n + columns), MadeRight{right},
                    MadeRightPart{right}, result.At(m, 0),
                    TaskMemory(memory + TaskMemory::kFloats * static_cast<size_t>(thread)));
  });
}

// Where all of B is small enough to stay in the second-level cache beside a task's rows of A, a task packs these itself and
// makes all their columns of C: A is read once and never stored.
constexpr size_t kSmallRight = size_t{1} << 20;  // bytes
constexpr size_t kRowsOfTask = 128;
bool IsSmall(size_t N, size_t K) {
  return PackedElems(N, K) * sizeof(uint16_t) <= kSmallRight && K <= 4 * kDepthBlock;
}
void MultiplyByRows(const PanelSource& a, const RightPanels& right, size_t M, size_t N, size_t K,
                    const Result& result) {
  static thread_local Scratch task_memory;
  float* memory = task_memory.Floats(TaskMemory::kFloats * static_cast<size_t>(ThreadCount()));
  ParallelForWork((M + kRowsOfTask - 1) / kRowsOfTask, M * N * K / 4, [&](size_t task, int thread) {
    static thread_local Scratch packed;
    const size_t m = task * kRowsOfTask;
    const LeftPanels left(a.At(m, 0), std::min(kRowsOfTask, M - m), K, packed,
                          LeftPanels::Packs::kHere);
    MultiplyColumns(left, 0, N, MadeRight{right}, MadeRightPart{right}, result.At(m, 0),
                    TaskMemory(memory + TaskMemory::kFloats * static_cast<size_t>(thread)));
  });
}

// The same for few rows: each panel of B is used once, so the tasks make them on the way.
void MultiplyShort(const PanelSource& a, const PanelSource& b, size_t M, size_t N, size_t K,
                   const Result& result) {
  static thread_local Scratch packed, tasks;
  const LeftPanels left(a, M, K, packed);
  float* memory = tasks.Floats(TaskMemory::kFloats * static_cast<size_t>(ThreadCount()));
  const size_t rows = TaskRows(N);
  ParallelForWork((N + rows - 1) / rows, M * N * K / 4, [&](size_t task, int thread) {
    MultiplyColumns(
        left, task * rows, std::min(N, (task + 1) * rows),
        [&](size_t n, size_t n_count, size_t k, size_t depth, uint16_t* out) {
          PackRight(b.At(n, k), n_count, depth, out);
          return out;
        },
        [&](size_t n, size_t n_count, size_t k, size_t depth) {
          return StoredPart(b, n, n_count, k, depth);
        },
        result, TaskMemory(memory + TaskMemory::kFloats * static_cast<size_t>(thread)));
  });
}

void Multiply(const PanelSource& a, const PanelSource& b, size_t M, size_t N, size_t K,
              const Result& result) {
  const bool is_small = IsSmall(N, K);
  if (M <= (is_small ? 2 * kRowsOfTask : kMaxLeftRows)) return MultiplyShort(a, b, M, N, K, result);
  static thread_local Scratch right_memory;
  if (is_small) return MultiplyByRows(a, RightPanels(b, N, K, right_memory), M, N, K, result);
  const size_t chunk = kPackedElems / (TileCount(K) * kPanelDepth);  // rows of A or B
  const size_t rows = std::max<size_t>(chunk / kMaxLeftRows, 1) * kMaxLeftRows;
  const size_t columns = std::max<size_t>(chunk / kMaxTaskRows, 1) * kMaxTaskRows;
  for (size_t n = 0; n < N; n += columns) {
    const RightPanels right(b.At(n, 0), std::min(columns, N - n), K, right_memory);
    for (size_t m = 0; m < M; m += rows)
      MultiplyPacked(a.At(m, 0), right, std::min(rows, M - m), std::min(columns, N - n), K,
                     result.At(m, n));
  }
}

}  // namespace

void GemmBf16(const PanelSource& a, const PanelSource& b, size_t M, size_t N, size_t K,
              bool accumulate, float* c, size_t c_stride) {
  if (M == 0 || N == 0) return;
  if (K == 0) {
    for (size_t m = 0; m < M && !accumulate; ++m) std::fill_n(c + m * c_stride, N, 0.0f);
    return;
  }
  Multiply(a, b, M, N, K, {.accumulate = accumulate, .c = c, .c_stride = c_stride});
}

void GemmBf16ToSink(const PanelSource& a, const PanelSource& b, size_t M, size_t N, size_t K,
                    const ProductSink& sink) {
  if (M == 0 || N == 0) return;
  if (K == 0) {
    const std::vector<float> zeros(N);
    return sink({0, M, 0, N, zeros.data(), /*stride=*/0});
  }
  Multiply(a, b, M, N, K, {.sink = &sink});
}

}  // namespace planish
