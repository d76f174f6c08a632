// SPDX-License-Identifier: Apache-2.0
// Building blocks of bf16 matrix products, single-threaded, for use inside ParallelFor tasks: a matrix of floats or bf16 is
// packed into panels, and packed panels are multiplied into a block of floats:
//   C[m, n] (+)= sum_k bf16(A[m, k]) bf16(B[n, k]).
// Sums are float, k in ascending pairs: an element's bits depend on its row of A and its row of B only, not on M, N or on
// where K is cut into calls (in multiples of kPanelDepth). They differ between instruction-set levels. Rounding to bf16 is to
// nearest even. The bf16 units (levels bf16, amx and i8mm) take subnormal numbers for zero and flush subnormal results, and
// i8mm rounds its sums to odd; infinities and NaN propagate.
//
// A panel is 16 rows x K, cut into tiles of 32 k (1 KiB): a matrix of R rows has PanelCount(R) panels of TileCount(K) tiles,
// one after the other; missing rows and k are zeros. Inside a tile
//   left  (A): [16 rows][32 k];
//   right (B): [16 pairs of k][16 rows][2].
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "kernels/amx.h"
#include "tensor/dtype.h"

namespace planish {

inline constexpr size_t kPanelRows = 16;
inline constexpr size_t kPanelDepth = 32;
inline constexpr size_t kTileElems = kPanelRows * kPanelDepth;

constexpr size_t PanelCount(size_t rows) { return (rows + kPanelRows - 1) / kPanelRows; }
constexpr size_t TileCount(size_t K) { return (K + kPanelDepth - 1) / kPanelDepth; }
// Elements (uint16_t) of a packed [rows, K] matrix.
constexpr size_t PackedElems(size_t rows, size_t K) {
  return PanelCount(rows) * TileCount(K) * kTileElems;
}

// This CPU has units for bf16 products (level bf16, amx or i8mm). Elsewhere the functions below work, slowly.
bool HasBf16Units();

// Hold one for the length of a task: calls of MultiplyPanels in it then need not set up the tiles each time. Nests.
class PanelScope {
 public:
  PanelScope();

 private:
  std::optional<AmxTiles> tiles_;
};

// An [R, K] matrix in memory; storage rows are `stride` elements apart and may be unaligned.
struct PanelSource {
  const void* data = nullptr;
  size_t stride = 0;
  DType dtype = DType::kF32;   // kF32 or kBF16
  bool is_transposed = false;  // stored as [K, R]
  // The matrix that begins at row r and column k.
  PanelSource At(size_t r, size_t k) const {
    PanelSource part = *this;
    const size_t offset = is_transposed ? k * stride + r : r * stride + k;
    part.data = static_cast<const std::byte*>(data) + offset * (dtype == DType::kF32 ? 4 : 2);
    return part;
  }
};

// out: PackedElems(R, K), 64-byte aligned. Nothing beyond the R x K elements is read.
void PackLeft(const PanelSource& a, size_t R, size_t K, uint16_t* out) noexcept;
void PackRight(const PanelSource& b, size_t R, size_t K, uint16_t* out) noexcept;

// Memory to bring into the second-level cache while a product runs, for the next one: rows of `bytes`, `stride` bytes apart.
struct PanelPrefetch {
  const void* data = nullptr;
  size_t stride = 0, rows = 0, bytes = 0;
};

struct PanelProduct {
  const uint16_t* left = nullptr;   // PackLeft of [M, K]
  const uint16_t* right = nullptr;  // PackRight of [N, K]
  size_t M = 0, N = 0, K = 0;
  // C = from + A B^T; null: C = A B^T. `from` may be C itself (to accumulate), not overlap it otherwise.
  const float* from = nullptr;  // [M, N], rows from_stride apart
  size_t from_stride = 0;
  float* c = nullptr;  // [M, N], rows c_stride apart
  size_t c_stride = 0;
  bool bypass_caches = false;  // C is too large to be found in a cache by its reader; only a hint
  PanelPrefetch next[2];       // may be empty; only a hint
  // Elements from panel to panel where K is a part of what was packed (the operands then stand at its first tile); 0: K is
  // all of it.
  size_t left_panel = 0, right_panel = 0;
  size_t LeftPanel() const { return left_panel != 0 ? left_panel : TileCount(K) * kTileElems; }
  size_t RightPanel() const { return right_panel != 0 ? right_panel : TileCount(K) * kTileElems; }
};
// Fast when `right` is small (two panels of it, 2 x K x 16, are kept in the first-level cache and all of `left` streams past
// them): cut K at some 512 and let M be the longer side.
void MultiplyPanels(const PanelProduct& product) noexcept;

}  // namespace planish
