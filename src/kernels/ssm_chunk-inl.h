// SPDX-License-Identifier: Apache-2.0
// The blocked form of one chunk of at most kSsmGrid tokens with bf16 operands; formulas in ssd.cc, S as [N, P]. Products run
// on bf16 panels; decays, sums and the carried state are float. Included once per target.
#if defined(PLANISH_KERNELS_SSM_CHUNK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PLANISH_KERNELS_SSM_CHUNK_INL_H_
#undef PLANISH_KERNELS_SSM_CHUNK_INL_H_
#else
#define PLANISH_KERNELS_SSM_CHUNK_INL_H_
#endif

#include <algorithm>

#include "kernels/bf16_panels.h"
#include "kernels/ssm_block.h"
#include "kernels/ssm_scan-inl.h"
#include "kernels/ssm_tiles.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

// Scratch of a chunk: the packed operands that the heads of a group share, and those of the head at work.
struct ChunkScratch {
  uint16_t* c_left;    // [count, N]
  uint16_t* bt_left;   // [N, count]
  uint16_t* b_right;   // [count, N]
  uint16_t* m_left;    // [count, count]
  uint16_t* x_right;   // [P, count]
  uint16_t* xs_right;  // [P, count] scaled for S'
  uint16_t* s_right;   // [P, N]
  float* cb;           // [kSsmGrid, kSsmGrid]
  float* m;            // [kSsmGrid, kSsmGrid]
  float* xs;           // [kSsmGrid, P]
  float* carried;      // [kSsmGrid, P] C S
  float* tiles;        // SsmTileFloats, or null: no tiles for this shape

  // Returns the floats used.
  size_t Place(const SsmDims& dims, float* memory) {
    const size_t N = dims.state, P = dims.head_dim, T = kSsmGrid;
    size_t used = 0;
    const auto floats = [&](size_t n) {
      float* p = memory == nullptr ? nullptr : memory + used;
      used += RoundUpToLine(n);
      return p;
    };
    const auto packed = [&](size_t rows, size_t K) {
      return reinterpret_cast<uint16_t*>(floats(PackedElems(rows, K) / 2));
    };
    c_left = packed(T, N);
    bt_left = packed(N, T);
    b_right = packed(T, N);
    m_left = packed(T, T);
    x_right = packed(P, T);
    xs_right = packed(P, T);
    s_right = packed(P, N);
    cb = floats(T * T);
    m = floats(T * T);
    xs = floats(T * P);
    carried = floats(T * P);
    tiles = HasSsmTiles(N, P) ? floats(SsmTileFloats(N, P)) : nullptr;
    return used;
  }
};

// C, B and C B^T of a group.
void PrepareChunk(const float* B, const float* C, size_t stride, size_t count, size_t N,
                  const ChunkScratch& s) {
  const PanelSource b{B, stride}, c{C, stride};
  PackLeft(c, count, N, s.c_left);
  PackRight(b, count, N, s.b_right);
  PanelSource bt = b;
  bt.is_transposed = true;
  PackLeft(bt, N, count, s.bt_left);
  MultiplyPanels({s.c_left, s.b_right, count, count, N, nullptr, 0, s.cb, kSsmGrid});
}

// exp(difference) for differences <= 0, zero below e^-60: far under the rounding of what it is added to.
HWY_INLINE FloatVec ChunkDecay(FloatTag d, FloatVec difference) {
  return hn::IfThenElseZero(hn::Ge(difference, hn::Set(d, -60.0f)), ClampedExp(d, difference));
}

// m[i, j] = exp(s_i - s_j) dt_j cb[i, j] for j <= i, else 0. Below the diagonal blocks the exponential is a product of two,
// from row i back to the border between the blocks and on to j: both at most 1.
HWY_INLINE void DecayedProducts(const float* sums, const float* dt, size_t count, const float* cb,
                                float* m) {
  const FloatTag d;
  constexpr size_t kBlock = 16;
  HWY_ALIGN float before[kBlock];  // exp(s_border - s_j) dt_j
  const FloatVec border = hn::Set(d, sums[kBlock - 1]);
  for (size_t j = 0; j < kBlock; j += kLanes) {
    hn::Store(hn::Mul(ChunkDecay(d, hn::Sub(border, hn::Load(d, sums + j))), hn::Load(d, dt + j)),
              d, before + j);
  }
  HWY_ALIGN float after[kSsmGrid];  // exp(s_i - s_border)
  for (size_t i = kBlock; i < count; i += kLanes) {
    hn::Store(ChunkDecay(d, hn::Sub(hn::Load(d, sums + i), border)), d, after + i);
  }
  for (size_t i = 0; i < count; ++i) {
    const float* cb_row = cb + i * kSsmGrid;
    float* row = m + i * kSsmGrid;
    size_t j = 0;
    if (i >= kBlock) {
      const FloatVec factor = hn::Set(d, after[i]);
      for (; j < kBlock; j += kLanes) {
        hn::Store(hn::Mul(hn::Mul(factor, hn::Load(d, before + j)), hn::Load(d, cb_row + j)), d,
                  row + j);
      }
    }
    const FloatVec sum = hn::Set(d, sums[i]);
    for (; j <= i; j += kLanes) {
      const FloatVec decay =
          hn::Mul(ChunkDecay(d, hn::Sub(sum, hn::Load(d, sums + j))), hn::Load(d, dt + j));
      FloatVec value = hn::Mul(decay, hn::Load(d, cb_row + j));
      if (j + kLanes > i + 1) value = hn::IfThenElseZero(hn::FirstN(d, i + 1 - j), value);
      hn::Store(value, d, row + j);
    }
    for (; j < kSsmGrid; j += kLanes) hn::Store(hn::Zero(d), d, row + j);
  }
}

// One head; `tokens` as in ScanHead, but decay is not used: A and dt [kSsmGrid] (zeros beyond count) give it. P == width.
// wanted: see SsmTileHead; without tiles they are left out.
void ChunkHead(const HeadTokens& tokens, float A, float* state, const ChunkScratch& s,
               std::span<const SsmWanted> wanted) {
  const FloatTag d;
  const size_t count = tokens.count, N = tokens.N, P = tokens.width;
  HWY_ALIGN float sums[kSsmGrid], from_start[kSsmGrid], to_end[kSsmGrid];
  double sum = 0;
  for (size_t i = 0; i < kSsmGrid; ++i) {
    sum += static_cast<double>(tokens.dt[i]) * A;
    sums[i] = static_cast<float>(std::max(sum, -1e30));  // differences of infinities are NaN
  }
  const FloatVec last = hn::Set(d, sums[count - 1]);
  for (size_t i = 0; i < kSsmGrid; i += kLanes) {
    const FloatVec at = hn::Load(d, sums + i);
    hn::Store(ChunkDecay(d, at), d, from_start + i);
    hn::Store(hn::Mul(ChunkDecay(d, hn::Sub(last, at)), hn::Load(d, tokens.dt + i)), d, to_end + i);
  }
  DecayedProducts(sums, tokens.dt, count, s.cb, s.m);
  if (s.tiles != nullptr) {
    const SsmTileHead head = {.count = count,
                              .N = N,
                              .P = P,
                              .c_left = s.c_left,
                              .bt_left = s.bt_left,
                              .m = s.m,
                              .from_start = from_start,
                              .to_end = to_end,
                              .carry = from_start[count - 1],
                              .D = tokens.D,
                              .x = tokens.x,
                              .x_stride = tokens.x_stride,
                              .state = state,
                              .y = tokens.y,
                              .y_stride = tokens.y_stride,
                              .wanted = wanted};
    return AdvanceSsmTiles(head, s.tiles);
  }
  PackLeft({s.m, kSsmGrid}, count, count, s.m_left);

  PanelSource x{tokens.x, tokens.x_stride}, xs{s.xs, P}, S{state, P};
  x.is_transposed = xs.is_transposed = S.is_transposed = true;
  for (size_t i = 0; i < count; ++i) {
    const FloatVec factor = hn::Set(d, to_end[i]);
    for (size_t p = 0; p < P; p += kLanes) {
      hn::StoreU(hn::Mul(factor, hn::LoadU(d, tokens.x + i * tokens.x_stride + p)), d,
                 s.xs + i * P + p);
    }
  }
  PackRight(x, P, count, s.x_right);
  PackRight(xs, P, count, s.xs_right);
  PackRight(S, P, N, s.s_right);

  MultiplyPanels({s.c_left, s.s_right, count, P, N, nullptr, 0, s.carried, P});
  const FloatVec D = hn::Set(d, tokens.D);
  for (size_t i = 0; i < count; ++i) {
    const FloatVec factor = hn::Set(d, from_start[i]);
    for (size_t p = 0; p < P; p += kLanes) {
      const FloatVec skip = hn::Mul(D, hn::LoadU(d, tokens.x + i * tokens.x_stride + p));
      hn::StoreU(hn::MulAdd(factor, hn::LoadU(d, s.carried + i * P + p), skip), d,
                 tokens.y + i * tokens.y_stride + p);
    }
  }
  MultiplyPanels(
      {s.m_left, s.x_right, count, P, count, tokens.y, tokens.y_stride, tokens.y, tokens.y_stride});

  const FloatVec carry = hn::Set(d, from_start[count - 1]);
  for (size_t i = 0; i < N * P; i += kLanes) {
    hn::StoreU(hn::Mul(carry, hn::LoadU(d, state + i)), d, state + i);
  }
  MultiplyPanels({s.bt_left, s.xs_right, N, P, count, state, P, state, P});
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#endif  // PLANISH_KERNELS_SSM_CHUNK_INL_H_
