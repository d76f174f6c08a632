// SPDX-License-Identifier: Apache-2.0
// B is packed a chunk at a time (kChunkDepth x kChunkColumns) by the team; a task owns a block of C, packs its rows of A block
// by block of k (into the second-level cache) and runs panels of B, each kept in the first-level cache, against them. A panel
// is [k][width]: the micro-kernel holds width(A) x width(B) sums in registers.
#include "kernels/gemm_f32.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "kernels/matmul_targets.h"
#include "kernels/scratch.h"
#include "kernels/team_work.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm_f32.cc"
#include "hwy/foreach_target.h"
#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

// Sums in registers: kRows x kVectors vectors; one register for A and kVectors for B must remain. Multiples of 4 (packing).
#if HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64
constexpr size_t kRows = HWY_ARCH_ARM_A64 ? 8 : 12, kVectors = HWY_ARCH_ARM_A64 ? 3 : 2;
#elif HWY_TARGET == HWY_SCALAR
constexpr size_t kRows = 4, kVectors = 4;
#else
constexpr size_t kRows = 4, kVectors = 3;
#endif
constexpr size_t kColumns = kVectors * kLanes;
static_assert(kRows % 4 == 0 && kColumns % 4 == 0);

// out[k * width + r] = x[r * stride + k] for 4 rows.
void TransposeFour(const float* x, size_t stride, size_t K, size_t width, float* out) {
  size_t k = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::FixedTag<float, 4> d;
  const hn::FixedTag<double, 2> d2;
  for (; k + 4 <= K; k += 4) {
    const auto r0 = hn::LoadU(d, x + k), r1 = hn::LoadU(d, x + stride + k),
               r2 = hn::LoadU(d, x + 2 * stride + k), r3 = hn::LoadU(d, x + 3 * stride + k);
    const auto low01 = hn::BitCast(d2, hn::InterleaveLower(d, r0, r1)),
               high01 = hn::BitCast(d2, hn::InterleaveUpper(d, r0, r1)),
               low23 = hn::BitCast(d2, hn::InterleaveLower(d, r2, r3)),
               high23 = hn::BitCast(d2, hn::InterleaveUpper(d, r2, r3));
    float* to = out + k * width;
    hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d2, low01, low23)), d, to);
    hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d2, low01, low23)), d, to + width);
    hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d2, high01, high23)), d, to + 2 * width);
    hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d2, high01, high23)), d, to + 3 * width);
  }
#endif
  for (; k < K; ++k)
    for (size_t r = 0; r < 4; ++r) out[k * width + r] = x[r * stride + k];
}

// Panels [ceil(R / kWidth)][K][kWidth] of an [R, K] matrix; rows that are missing are zeros.
template <size_t kWidth>
void PackPanels(const PanelSource& x, size_t R, size_t K, float* out) {
  for (size_t r0 = 0; r0 < R; r0 += kWidth, out += K * kWidth) {
    const size_t rows = std::min(kWidth, R - r0);
    const auto* from = static_cast<const float*>(x.At(r0, 0).data);
    if (rows < kWidth) std::fill_n(out, K * kWidth, 0.0f);
    if (x.is_transposed) {
      if (rows == kWidth)
        for (size_t k = 0; k < K; ++k)
          std::memcpy(out + k * kWidth, from + k * x.stride, kWidth * sizeof(float));
      else
        for (size_t k = 0; k < K; ++k) std::copy_n(from + k * x.stride, rows, out + k * kWidth);
      continue;
    }
    size_t r = 0;
    for (; r + 4 <= rows; r += 4) TransposeFour(from + r * x.stride, x.stride, K, kWidth, out + r);
    for (; r < rows; ++r)
      for (size_t k = 0; k < K; ++k) out[k * kWidth + r] = from[r * x.stride + k];
  }
}
void PackRows(const PanelSource& a, size_t R, size_t K, float* out) {
  PackPanels<kRows>(a, R, K, out);
}
void PackColumns(const PanelSource& b, size_t R, size_t K, float* out) {
  PackPanels<kColumns>(b, R, K, out);
}

// c[kRows][kColumns] (+)= sum over k of a panel of A and a panel of B.
template <bool kAdd>
HWY_INLINE void MultiplyTile(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b, size_t depth,
                             float* HWY_RESTRICT c, size_t c_stride) {
  const FloatTag d;
  if (kAdd)
    for (size_t r = 0; r < kRows; ++r)
      for (size_t v = 0; v < kVectors; ++v) __builtin_prefetch(c + r * c_stride + v * kLanes, 1);
  FloatVec sums[kRows][kVectors];
#pragma GCC unroll 16
  for (size_t r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (size_t v = 0; v < kVectors; ++v) sums[r][v] = hn::Zero(d);
  for (size_t k = 0; k < depth; ++k, a += kRows, b += kColumns) {
    FloatVec right[kVectors];
#pragma GCC unroll 4
    for (size_t v = 0; v < kVectors; ++v) right[v] = hn::Load(d, b + v * kLanes);
#pragma GCC unroll 16
    for (size_t r = 0; r < kRows; ++r) {
      const FloatVec left = hn::Set(d, a[r]);
#pragma GCC unroll 4
      for (size_t v = 0; v < kVectors; ++v) sums[r][v] = hn::MulAdd(left, right[v], sums[r][v]);
    }
  }
#pragma GCC unroll 16
  for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (size_t v = 0; v < kVectors; ++v) {
      float* to = c + r * c_stride + v * kLanes;
      hn::StoreU(kAdd ? hn::Add(hn::LoadU(d, to), sums[r][v]) : sums[r][v], d, to);
    }
  }
}

// C[M, N] (+)= the product of packed blocks.
template <bool kAdd>
void MultiplyBlock(const float* a, const float* b, size_t M, size_t N, size_t depth, float* c,
                   size_t c_stride) {
  HWY_ALIGN float edge[kRows * kColumns];
  for (size_t n = 0; n < N; n += kColumns, b += depth * kColumns) {
    const float* left = a;
    for (size_t m = 0; m < M; m += kRows, left += depth * kRows) {
      float* to = c + m * c_stride + n;
      if (m + kRows <= M && n + kColumns <= N) {
        MultiplyTile<kAdd>(left, b, depth, to, c_stride);
        continue;
      }
      const size_t rows = std::min(kRows, M - m), columns = std::min(kColumns, N - n);
      MultiplyTile<false>(left, b, depth, edge, kColumns);
      for (size_t r = 0; r < rows; ++r) {
        const float* sums = edge + r * kColumns;
        float* row = to + r * c_stride;
        for (size_t i = 0; i < columns; ++i) row[i] = kAdd ? row[i] + sums[i] : sums[i];
      }
    }
  }
}

void Multiply(const float* a, const float* b, size_t M, size_t N, size_t depth, bool add, float* c,
              size_t c_stride) {
  if (add)
    MultiplyBlock<true>(a, b, M, N, depth, c, c_stride);
  else
    MultiplyBlock<false>(a, b, M, N, depth, c, c_stride);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {
namespace {

HWY_EXPORT(PackRows);
HWY_EXPORT(PackColumns);
HWY_EXPORT(Multiply);

// Common multiples of the tiles of all levels (12 x 32, 8 x 12, 4 x 24, 4 x 12, 4 x 4).
constexpr size_t kWidths = 96;
constexpr size_t kDepth = 256;                  // k per block: a panel of B is 32 KiB, of A 12 KiB
constexpr size_t kTaskRows = 2 * kWidths;       // 192 KiB of A
constexpr size_t kTaskColumns = 4 * kWidths;    // 384 KiB of B
constexpr size_t kChunkColumns = 16 * kWidths;  // 12 MiB of B packed at a time
constexpr size_t kChunkDepth = 8 * kDepth;

constexpr size_t RoundUp(size_t n, size_t step) { return (n + step - 1) / step * step; }
constexpr size_t Blocks(size_t n, size_t step) { return (n + step - 1) / step; }

// Rows per task: even tasks, a multiple of four of them where M allows.
size_t TaskRowsOf(size_t M) {
  const size_t tasks = RoundUp(Blocks(M, kTaskRows), 4);
  return std::min(kTaskRows, RoundUp(Blocks(M, tasks), kWidths / 4));
}

// C (+)= A B^T with B of at most kChunkColumns x kChunkDepth.
void MultiplyChunk(const PanelSource& a, const PanelSource& b, size_t M, size_t N, size_t K,
                   bool accumulate, float* c, size_t c_stride) {
  static thread_local Scratch right, left;
  const size_t padded = RoundUp(N, kWidths), depths = Blocks(K, kDepth);
  float* packed = right.Floats(padded * K);
  ParallelForWork(depths * padded / kWidths, N * K, [&](size_t i, int) {
    const size_t k = i % depths * kDepth, n = i / depths * kWidths;
    const size_t depth = std::min(kDepth, K - k);
    HWY_DYNAMIC_DISPATCH(PackColumns)
    (b.At(n, k), std::min(kWidths, N - n), depth, packed + padded * k + n * depth);
  });
  float* blocks = left.Floats(kTaskRows * kDepth * static_cast<size_t>(ThreadCount()));
  const size_t rows = TaskRowsOf(M), columns = Blocks(N, kTaskColumns);
  ParallelForWork(Blocks(M, rows) * columns, M * N * K, [&](size_t i, int thread) {
    const size_t m = i / columns * rows, n = i % columns * kTaskColumns;
    const size_t m_count = std::min(rows, M - m), n_count = std::min(kTaskColumns, N - n);
    float* block = blocks + kTaskRows * kDepth * static_cast<size_t>(thread);
    for (size_t k = 0; k < K; k += kDepth) {
      const size_t depth = std::min(kDepth, K - k);
      HWY_DYNAMIC_DISPATCH(PackRows)(a.At(m, k), m_count, depth, block);
      HWY_DYNAMIC_DISPATCH(Multiply)
      (block, packed + padded * k + n * depth, m_count, n_count, depth, accumulate || k != 0,
       c + m * c_stride + n, c_stride);
    }
  });
}

}  // namespace

void GemmF32(const PanelSource& a, const PanelSource& b, size_t M, size_t N, size_t K,
             bool accumulate, float* c, size_t c_stride) {
  PLANISH_CHECK(a.dtype == DType::kF32 && b.dtype == DType::kF32, "{} and {}", Name(a.dtype),
                Name(b.dtype));
  if (K == 0) {
    for (size_t m = 0; m < M && !accumulate; ++m) std::fill_n(c + m * c_stride, N, 0.0f);
    return;
  }
  if (M == 0) return;
  for (size_t n = 0; n < N; n += kChunkColumns)
    for (size_t k = 0; k < K; k += kChunkDepth)
      MultiplyChunk(a.At(0, k), b.At(n, k), M, std::min(kChunkColumns, N - n),
                    std::min(kChunkDepth, K - k), accumulate || k != 0, c + n, c_stride);
}

}  // namespace planish
#endif  // HWY_ONCE
