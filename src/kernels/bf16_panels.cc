// SPDX-License-Identifier: Apache-2.0
// Choice of the level, and plain C++ for CPUs without bf16 units.
#include "kernels/bf16_panels.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "kernels/bf16_panels_level.h"
#include "kernels/isa.h"

namespace planish {
namespace {

uint16_t ElementAt(const PanelSource& x, size_t r, size_t k) {
  const PanelSource at = x.At(r, k);
  if (x.dtype == DType::kBF16) {
    uint16_t bits;
    std::memcpy(&bits, at.data, sizeof bits);
    return bits;
  }
  float value;
  std::memcpy(&value, at.data, sizeof value);
  return BF16FromFloat(value);
}

// out[place(row in panel, k in tile)] of every tile.
template <typename Place>
void Pack(const PanelSource& x, size_t R, size_t K, uint16_t* out, const Place& place) {
  for (size_t r0 = 0; r0 < R; r0 += kPanelRows) {
    for (size_t k0 = 0; k0 < K; k0 += kPanelDepth, out += kTileElems) {
      for (size_t r = 0; r < kPanelRows; ++r) {
        for (size_t k = 0; k < kPanelDepth; ++k) {
          const bool is_inside = r0 + r < R && k0 + k < K;
          out[place(r, k)] = is_inside ? ElementAt(x, r0 + r, k0 + k) : 0;
        }
      }
    }
  }
}

void PackLeftPlain(const PanelSource& a, size_t R, size_t K, uint16_t* out) noexcept {
  Pack(a, R, K, out, [](size_t r, size_t k) { return r * kPanelDepth + k; });
}

void PackRightPlain(const PanelSource& b, size_t R, size_t K, uint16_t* out) noexcept {
  Pack(b, R, K, out, [](size_t r, size_t k) { return k / 2 * (2 * kPanelRows) + 2 * r + k % 2; });
}

// acc[n] += the products of one row of left panels with one right panel, pair by pair.
void MultiplyRow(const uint16_t* left, const uint16_t* right, size_t tiles, float* acc) {
  for (size_t tile = 0; tile < tiles; ++tile) {
    for (size_t pair = 0; pair < kPanelDepth / 2; ++pair) {
      const float a0 = FloatFromBF16(left[tile * kTileElems + 2 * pair]);
      const float a1 = FloatFromBF16(left[tile * kTileElems + 2 * pair + 1]);
      uint32_t b[kPanelRows];
      std::memcpy(b, right + tile * kTileElems + pair * 2 * kPanelRows, sizeof b);
      for (size_t n = 0; n < kPanelRows; ++n) {
        acc[n] += a0 * std::bit_cast<float>(b[n] << 16);
        acc[n] += a1 * std::bit_cast<float>(b[n] & 0xFFFF0000u);
      }
    }
  }
}

void MultiplyPlain(const PanelProduct& p) noexcept {
  const size_t tiles = TileCount(p.K);
  for (size_t n = 0; n < p.N; n += kPanelRows) {
    const size_t valid = std::min(kPanelRows, p.N - n);
    for (size_t m = 0; m < p.M; ++m) {
      float acc[kPanelRows] = {};
      if (p.from != nullptr) std::copy_n(p.from + m * p.from_stride + n, valid, acc);
      const uint16_t* left = p.left + m / kPanelRows * p.LeftPanel();
      MultiplyRow(left + m % kPanelRows * kPanelDepth, p.right + n / kPanelRows * p.RightPanel(),
                  tiles, acc);
      std::copy_n(acc, valid, p.c + m * p.c_stride + n);
    }
  }
}

constexpr Bf16Level kPlain = {PackLeftPlain, PackRightPlain, MultiplyPlain};

}  // namespace

const Bf16Level& CurrentBf16Level() {
  if (Has(Isa::kAmx)) return *Bf16LevelAmx();
  if (Has(Isa::kBf16)) return *Bf16LevelAvx512();
  if (Has(Isa::kI8mm)) return *Bf16LevelNeon();
  return kPlain;
}

bool HasBf16Units() { return &CurrentBf16Level() != &kPlain; }

PanelScope::PanelScope() {
  if (Has(Isa::kAmx)) tiles_.emplace();
}

void PackLeft(const PanelSource& a, size_t R, size_t K, uint16_t* out) noexcept {
  CurrentBf16Level().pack_left(a, R, K, out);
}
void PackRight(const PanelSource& b, size_t R, size_t K, uint16_t* out) noexcept {
  CurrentBf16Level().pack_right(b, R, K, out);
}
void MultiplyPanels(const PanelProduct& product) noexcept {
  if (product.M != 0 && product.N != 0) CurrentBf16Level().multiply(product);
}

}  // namespace planish
