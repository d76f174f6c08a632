// SPDX-License-Identifier: Apache-2.0
// The product of bf16 panels by tdpbf16ps. Sums live in four tiles: 2 x 2 panels, or 1 x 4 where only one left panel is left,
// for an instruction takes 16 cycles and its result 52. Runs only where Has(Isa::kAmx).
#include "kernels/bf16_panels_level.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>
#include <cstring>

// The compiler's own intrinsics take tile numbers as literals only, which templates cannot give.
#define PLANISH_AMX_TARGET target("amx-tile,amx-bf16,avx512f")
#define PLANISH_AMX __attribute__((PLANISH_AMX_TARGET, always_inline)) inline

namespace planish {
namespace {

template <int kTile>
PLANISH_AMX void Load(const void* p, size_t stride_bytes) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(stride_bytes), "i"(kTile) : "memory");
}
// The same, leaving the first-level cache as it is: for what streams from the second level.
template <int kTile>
PLANISH_AMX void Stream(const void* p, size_t stride_bytes) {
  asm volatile("tileloaddt1 (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(stride_bytes), "i"(kTile)
               : "memory");
}
template <int kTile>
PLANISH_AMX void Store(void* p, size_t stride_bytes) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(p), "r"(stride_bytes), "i"(kTile) : "memory");
}
template <int kTile>
PLANISH_AMX void Zero() {
  asm volatile("tilezero %%tmm%c0" ::"i"(kTile));
}
template <int kSum, int kLeft, int kRight>
PLANISH_AMX void MultiplyAdd() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSum), "i"(kLeft), "i"(kRight));
}

// The tile of C at (m, n) of the product to or from a tile register, by way of a buffer at the edges.
template <int kTile>
PLANISH_AMX void LoadSums(const PanelProduct& p, size_t m, size_t n) {
  if (p.from == nullptr) return Zero<kTile>();
  const float* from = p.from + m * p.from_stride + n;
  if (m + 16 <= p.M && n + 16 <= p.N) return Load<kTile>(from, p.from_stride * sizeof(float));
  alignas(64) float buffer[16][16] = {};
  const size_t columns = std::min<size_t>(16, p.N - n);
  for (size_t r = 0; r < std::min<size_t>(16, p.M - m); ++r)
    std::memcpy(buffer[r], from + r * p.from_stride, columns * sizeof(float));
  Load<kTile>(buffer, 64);
}
template <int kTile>
PLANISH_AMX void StoreSums(const PanelProduct& p, size_t m, size_t n) {
  float* to = p.c + m * p.c_stride + n;
  if (m + 16 <= p.M && n + 16 <= p.N) return Store<kTile>(to, p.c_stride * sizeof(float));
  alignas(64) float buffer[16][16];
  Store<kTile>(buffer, 64);
  const size_t columns = std::min<size_t>(16, p.N - n);
  for (size_t r = 0; r < std::min<size_t>(16, p.M - m); ++r)
    std::memcpy(to + r * p.c_stride, buffer[r], columns * sizeof(float));
}

constexpr size_t kRow = 64;  // bytes

// Issues the prefetches of a product in equal parts, one part a step over k.
class Prefetcher {
 public:
  Prefetcher(const PanelPrefetch& region, size_t steps)
      : region_(region), lines_((region.bytes + 63) / 64 + (region.rows > 1 ? 1 : 0)) {
    per_step_ = (region.rows * lines_ + steps - 1) / steps;
  }
  PLANISH_AMX void Step() {
    for (size_t i = 0; i < per_step_ && row_ < region_.rows; ++i) {
      const auto* row = static_cast<const char*>(region_.data) + row_ * region_.stride;
      __builtin_prefetch(row + 64 * line_, 0, 2);
      if (++line_ == lines_) {
        line_ = 0;
        ++row_;
      }
    }
  }

 private:
  PanelPrefetch region_;
  size_t lines_, per_step_ = 0, row_ = 0, line_ = 0;
};

// Asks for the sums of the block below (m, n), a part of its 32 rows of two cache lines in each of the steps over k: stores
// that miss the first-level cache hold up the loads of the next block (in an isolated loop; inside the product the
// gain is within noise).
PLANISH_AMX void PrefetchSums(const PanelProduct& p, size_t m, size_t n, size_t step,
                              size_t rows_per_step) {
  const size_t begin = m + 32 + step * rows_per_step, end = std::min(begin + rows_per_step, p.M);
  for (size_t r = begin; r < end; ++r) {
    if (!p.bypass_caches) {
      __builtin_prefetch(p.c + r * p.c_stride + n, 1, 3);
      __builtin_prefetch(p.c + r * p.c_stride + n + 16, 1, 3);
    }
    if (p.from == nullptr || (p.from == p.c && !p.bypass_caches)) continue;
    __builtin_prefetch(p.from + r * p.from_stride + n);
    __builtin_prefetch(p.from + r * p.from_stride + n + 16);
  }
}

// A finished block of 32 x 32 sums on its way to memory, whole cache lines past the caches, while the next block is computed:
// all at once they would hold up its loads, and ordinary stores read first what they overwrite.
class BlockStream {
 public:
  PLANISH_AMX void Step(size_t rows) {
    for (size_t end = std::min<size_t>(row_ + rows, 32); row_ < end; ++row_, to_ += stride_) {
      const float* from = sums_[current_] + 32 * row_;
      _mm512_stream_ps(to_, _mm512_load_ps(from));
      _mm512_stream_ps(to_ + 16, _mm512_load_ps(from + 16));
    }
  }
  // Where the tiles of the next block go, rows 32 floats apart, and where they are bound.
  PLANISH_AMX float* Next(float* to, size_t stride) {
    Step(32);
    current_ ^= 1;
    row_ = 0;
    to_ = to;
    stride_ = stride;
    return sums_[current_];
  }
  PLANISH_AMX void Finish() {
    Step(32);
    _mm_sfence();  // other threads see the lines after this
  }

 private:
  alignas(64) float sums_[2][32 * 32];
  float* to_ = nullptr;
  size_t stride_ = 0, row_ = 32;
  int current_ = 0;
};

// kLeft x kRight panels of C from (m, n) on: sums in tiles 0 .. 3, left panels in 4 and 5, right ones in 6 and 7.
template <int kLeft, int kRight>
__attribute__((PLANISH_AMX_TARGET, noinline)) void MultiplyBlock(const PanelProduct& p, size_t m,
                                                                 size_t n, Prefetcher (&next)[2],
                                                                 BlockStream* stream) {
  const size_t tiles = TileCount(p.K), left = p.LeftPanel(), right = p.RightPanel();
  const uint16_t* a = p.left + m / 16 * left;
  const uint16_t* b = p.right + n / 16 * right;
  LoadSums<0>(p, m, n);
  if constexpr (kRight > 1) LoadSums<1>(p, m, n + 16);
  if constexpr (kRight > 2) LoadSums<2>(p, m, n + 32);
  if constexpr (kRight > 3) LoadSums<3>(p, m, n + 48);
  if constexpr (kLeft > 1) LoadSums<2>(p, m + 16, n);
  if constexpr (kLeft > 1 && kRight > 1) LoadSums<3>(p, m + 16, n + 16);
  const size_t rows_per_step = (32 + tiles - 1) / tiles;
  for (size_t tile = 0; tile < tiles; ++tile, a += kTileElems, b += kTileElems) {
    if constexpr (kLeft > 1) PrefetchSums(p, m, n, tile, rows_per_step);
    next[0].Step();
    next[1].Step();
    if (stream != nullptr) stream->Step(rows_per_step);
    Stream<4>(a, kRow);
    Load<6>(b, kRow);
    MultiplyAdd<0, 4, 6>();
    if constexpr (kRight > 1) {
      Load<7>(b + right, kRow);
      MultiplyAdd<1, 4, 7>();
    }
    if constexpr (kRight > 2) {
      Load<5>(b + 2 * right, kRow);
      MultiplyAdd<2, 4, 5>();
      Load<6>(b + 3 * right, kRow);
      MultiplyAdd<3, 4, 6>();
    }
    if constexpr (kLeft > 1) {
      Stream<5>(a + left, kRow);
      MultiplyAdd<2, 5, 6>();
    }
    if constexpr (kLeft > 1 && kRight > 1) MultiplyAdd<3, 5, 7>();
  }
  if constexpr (kLeft == 2 && kRight == 2) {
    if (stream != nullptr && m + 32 <= p.M && n + 32 <= p.N) {
      float* sums = stream->Next(p.c + m * p.c_stride + n, p.c_stride);
      Store<0>(sums, 128);
      Store<1>(sums + 16, 128);
      Store<2>(sums + 16 * 32, 128);
      Store<3>(sums + 16 * 32 + 16, 128);
      return;
    }
  }
  StoreSums<0>(p, m, n);
  if constexpr (kRight > 1) StoreSums<1>(p, m, n + 16);
  if constexpr (kRight > 2) StoreSums<2>(p, m, n + 32);
  if constexpr (kRight > 3) StoreSums<3>(p, m, n + 48);
  if constexpr (kLeft > 1) StoreSums<2>(p, m + 16, n);
  if constexpr (kLeft > 1 && kRight > 1) StoreSums<3>(p, m + 16, n + 16);
}

__attribute__((PLANISH_AMX_TARGET)) void MultiplyAll(const PanelProduct& p, BlockStream* stream) {
  const size_t left = PanelCount(p.M), right = PanelCount(p.N);
  const size_t paired = left / 2 * 2;
  const size_t steps = ((left + 1) / 2) * ((right + 1) / 2) * TileCount(p.K);
  Prefetcher next[2] = {{p.next[0], steps}, {p.next[1], steps}};
  size_t j = 0;
  for (; paired > 0 && j + 1 < right; j += 2)
    for (size_t i = 0; i < paired; i += 2) MultiplyBlock<2, 2>(p, i * 16, j * 16, next, stream);
  for (; paired > 0 && j < right; ++j)
    for (size_t i = 0; i < paired; i += 2) MultiplyBlock<2, 1>(p, i * 16, j * 16, next, stream);
  if (paired != left) {
    for (j = 0; j + 3 < right; j += 4) MultiplyBlock<1, 4>(p, paired * 16, j * 16, next, stream);
    for (; j + 1 < right; j += 2) MultiplyBlock<1, 2>(p, paired * 16, j * 16, next, stream);
    if (j < right) MultiplyBlock<1, 1>(p, paired * 16, j * 16, next, stream);
  }
  if (stream != nullptr) stream->Finish();
}

void Multiply(const PanelProduct& p) noexcept {
  const AmxTiles scope;
  constexpr size_t kLine = 64;
  if (p.bypass_caches && reinterpret_cast<uintptr_t>(p.c) % kLine == 0 &&
      p.c_stride * sizeof(float) % kLine == 0) {
    BlockStream stream;
    return MultiplyAll(p, &stream);
  }
  PanelProduct cached = p;
  cached.bypass_caches = false;
  MultiplyAll(cached, nullptr);
}

}  // namespace

const Bf16Level* Bf16LevelAmx() {
  static const Bf16Level kLevel = {Bf16LevelAvx512()->pack_left, Bf16LevelAvx512()->pack_right,
                                   Multiply};
  return &kLevel;
}

}  // namespace planish

#else

namespace planish {
const Bf16Level* Bf16LevelAmx() { return nullptr; }
}  // namespace planish
#endif
