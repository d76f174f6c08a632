// SPDX-License-Identifier: Apache-2.0
// Small matrix products of the chunked state-space layer, C (+)= A B with A [M, K], B [K, N], in two arithmetics of the same
// shape: floats (a broadcast left factor, vectors over N) and bf16 panels. N is a multiple of 16 everywhere (scratch rows are
// padded with zeros). Included once per target.
#if defined(PLANISH_KERNELS_SSD_PRODUCT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PLANISH_KERNELS_SSD_PRODUCT_INL_H_
#undef PLANISH_KERNELS_SSD_PRODUCT_INL_H_
#else
#define PLANISH_KERNELS_SSD_PRODUCT_INL_H_
#endif

#include <algorithm>

#include "kernels/bf16_panels.h"
#include "kernels/scratch.h"
#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

// A matrix in scratch, rows `stride` floats apart.
struct SsdMatrix {
  float* data;
  size_t stride;
  float* Row(size_t r) const { return data + r * stride; }
  SsdMatrix From(size_t row, size_t column) const { return {data + row * stride + column, stride}; }
};

// Operands are floats where they stand; only the transpose of a right one is copied.
struct FloatOperands {
  struct Left {
    const float* a;  // element (i, k) is a[i * row + k * depth]
    size_t row, depth;
    Left From(size_t i, size_t k) const { return {a + i * row + k * depth, row, depth}; }
  };
  struct Right {
    const float* b;
    size_t stride;
    Right From(size_t k, size_t n) const { return {b + k * stride + n, stride}; }
  };
  static Left MakeLeft(const SsdMatrix& a, size_t, size_t, float*) { return {a.data, a.stride, 1}; }
  static Left MakeLeftOfTransposed(const SsdMatrix& a, size_t, size_t, float*) {
    return {a.data, 1, a.stride};
  }
  static Right MakeRight(const SsdMatrix& b, size_t, size_t, float*) { return {b.data, b.stride}; }
  static Right MakeRightOfTransposed(const SsdMatrix& b, size_t K, size_t N, float* memory) {
    const size_t stride = RoundUpToLine(N);
    for (size_t k = 0; k < K; ++k) {
      float* row = memory + k * stride;
      for (size_t n = 0; n < N; ++n) row[n] = b.data[n * b.stride + k];
      std::fill(row + N, row + stride, 0.0f);
    }
    return {memory, stride};
  }

  template <size_t kR, size_t kV>
  static HWY_INLINE void MultiplyTile(const Left& left, const Right& right, size_t K,
                                      bool accumulate, float* out, size_t out_stride) {
    const FloatTag d;
    FloatVec sum[kR][kV];
#pragma GCC unroll 16
    for (size_t i = 0; i < kR; ++i) {
#pragma GCC unroll 16
      for (size_t v = 0; v < kV; ++v)
        sum[i][v] = accumulate ? hn::LoadU(d, out + i * out_stride + v * kLanes) : hn::Zero(d);
    }
    const float* a = left.a;
    const float* b = right.b;
    for (size_t k = 0; k < K; ++k, a += left.depth, b += right.stride) {
      FloatVec columns[kV];
#pragma GCC unroll 16
      for (size_t v = 0; v < kV; ++v) columns[v] = hn::LoadU(d, b + v * kLanes);
#pragma GCC unroll 16
      for (size_t i = 0; i < kR; ++i) {
        const FloatVec factor = hn::Set(d, a[i * left.row]);
#pragma GCC unroll 16
        for (size_t v = 0; v < kV; ++v) sum[i][v] = hn::MulAdd(factor, columns[v], sum[i][v]);
      }
    }
#pragma GCC unroll 16
    for (size_t i = 0; i < kR; ++i) {
#pragma GCC unroll 16
      for (size_t v = 0; v < kV; ++v) hn::StoreU(sum[i][v], d, out + i * out_stride + v * kLanes);
    }
  }

  // kR rows, all vectors of columns: cut into tiles of nearly equal width (5 vectors: 3 + 2, not 4 + 1).
  template <size_t kR>
  static HWY_INLINE void MultiplyRows(const Left& left, const Right& right, size_t N, size_t K,
                                      bool accumulate, float* out, size_t out_stride) {
    constexpr size_t kTileVectors = kLanes >= 16 ? 4 : 2;
    for (size_t rest = N / kLanes, n = 0; rest > 0;) {
      const size_t tiles = (rest + kTileVectors - 1) / kTileVectors;
      const size_t take = (rest + tiles - 1) / tiles;
      const Right from = right.From(0, n);
      if (take >= 4) {
        MultiplyTile<kR, 4>(left, from, K, accumulate, out + n, out_stride);
      } else if (take == 3) {
        MultiplyTile<kR, 3>(left, from, K, accumulate, out + n, out_stride);
      } else if (take == 2) {
        MultiplyTile<kR, 2>(left, from, K, accumulate, out + n, out_stride);
      } else {
        MultiplyTile<kR, 1>(left, from, K, accumulate, out + n, out_stride);
      }
      rest -= take;
      n += take * kLanes;
    }
  }

  static void Multiply(const Left& left, const Right& right, size_t M, size_t N, size_t K,
                       bool accumulate, const SsdMatrix& out) {
    constexpr size_t kTileRows = 4;
    size_t i = 0;
    for (; i + kTileRows <= M; i += kTileRows)
      MultiplyRows<kTileRows>(left.From(i, 0), right, N, K, accumulate, out.Row(i), out.stride);
    for (; i < M; ++i)
      MultiplyRows<1>(left.From(i, 0), right, N, K, accumulate, out.Row(i), out.stride);
  }
};

// Operands are packed and rounded. From: rows and columns in multiples of 16, k of 32.
struct PanelOperands {
  struct Part {
    const uint16_t* panels;
    size_t panel;  // elements from panel to panel
  };
  struct Left : Part {
    Left From(size_t i, size_t k) const {
      return {{panels + i / kPanelRows * panel + k / kPanelDepth * kTileElems, panel}};
    }
  };
  struct Right : Part {
    Right From(size_t k, size_t n) const {
      return {{panels + n / kPanelRows * panel + k / kPanelDepth * kTileElems, panel}};
    }
  };
  static Part Packed(const float* memory, size_t K) {
    return {reinterpret_cast<const uint16_t*>(memory), TileCount(K) * kTileElems};
  }
  static PanelSource Source(const SsdMatrix& x, bool is_transposed) {
    return {.data = x.data, .stride = x.stride, .is_transposed = is_transposed};
  }
  static Left MakeLeft(const SsdMatrix& a, size_t M, size_t K, float* memory) {
    PackLeft(Source(a, false), M, K, reinterpret_cast<uint16_t*>(memory));
    return {Packed(memory, K)};
  }
  static Left MakeLeftOfTransposed(const SsdMatrix& a, size_t M, size_t K, float* memory) {
    PackLeft(Source(a, true), M, K, reinterpret_cast<uint16_t*>(memory));
    return {Packed(memory, K)};
  }
  static Right MakeRight(const SsdMatrix& b, size_t K, size_t N, float* memory) {
    PackRight(Source(b, true), N, K, reinterpret_cast<uint16_t*>(memory));
    return {Packed(memory, K)};
  }
  static Right MakeRightOfTransposed(const SsdMatrix& b, size_t K, size_t N, float* memory) {
    PackRight(Source(b, false), N, K, reinterpret_cast<uint16_t*>(memory));
    return {Packed(memory, K)};
  }
  static void Multiply(const Left& left, const Right& right, size_t M, size_t N, size_t K,
                       bool accumulate, const SsdMatrix& out) {
    MultiplyPanels({.left = left.panels,
                    .right = right.panels,
                    .M = M,
                    .N = N,
                    .K = K,
                    .from = accumulate ? out.data : nullptr,
                    .from_stride = out.stride,
                    .c = out.data,
                    .c_stride = out.stride,
                    .left_panel = left.panel,
                    .right_panel = right.panel});
  }
};

// Floats that an operand of `rows` rows (of A) or columns (of B) takes.
HWY_INLINE size_t OperandFloats(size_t rows, size_t K) {
  return std::max(PackedElems(rows, K) / 2, K * RoundUpToLine(rows));
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#endif  // PLANISH_KERNELS_SSD_PRODUCT_INL_H_
