// SPDX-License-Identifier: Apache-2.0
// The recurrent form of one head over a block of tokens; see ssm_scan.h. S is [N, P], so that vectors run over P: no sums
// across lanes, and an element sees the same operations in the same order (y is one chain over n) however tokens are cut
// into calls and rows into register tiles. Included once per target.
#if defined(PLANISH_KERNELS_SSM_SCAN_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PLANISH_KERNELS_SSM_SCAN_INL_H_
#undef PLANISH_KERNELS_SSM_SCAN_INL_H_
#else
#define PLANISH_KERNELS_SSM_SCAN_INL_H_
#endif

#include "hwy/cache_control.h"
#include "kernels/state_store-inl.h"
#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

inline constexpr size_t kScanTokens = 32;  // most tokens of a block: its B and C stay in L1

// Tokens [0, count) of one head.
struct HeadTokens {
  size_t count;
  size_t N, width;  // width: P rounded up to whole vectors, zeros (or anything) beyond P
  const float* x;   // [count, width]
  size_t x_stride;
  const float* B;  // [count, N]
  size_t b_stride;
  const float* C;  // [count, N]
  size_t c_stride;
  const float* decay;  // [count] exp(dt A)
  const float* dt;     // [count]
  float D;
  float* y;  // [count, width]
  size_t y_stride;
};

HWY_INLINE FloatVec Advance(FloatVec decay, FloatVec input, FloatVec b, FloatVec s) {
  return hn::MulAdd(input, b, hn::Mul(decay, s));
}

// One token, S streaming through: kVectors columns from p on. Far ahead: the state of a layer is larger than the caches and
// the hardware's own prefetch stops at every 4 KiB.
template <size_t kVectors, class State>
HWY_INLINE void StepColumns(const HeadTokens& head, State& state, size_t p) {
  constexpr size_t kAhead = 4096;  // bytes
  const FloatTag d;
  const FloatVec decay = hn::Set(d, head.decay[0]), dt = hn::Set(d, head.dt[0]);
  FloatVec input[kVectors], y[kVectors];
#pragma GCC unroll 16
  for (size_t v = 0; v < kVectors; ++v) {
    const FloatVec x = hn::LoadU(d, head.x + p + v * kLanes);
    input[v] = hn::Mul(dt, x);
    y[v] = hn::Mul(hn::Set(d, head.D), x);
  }
  for (size_t n = 0; n < head.N; ++n) {
    const FloatVec b = hn::Set(d, head.B[n]), c = hn::Set(d, head.C[n]);
    const size_t row = n * head.width + p;
#pragma GCC unroll 16
    for (size_t v = 0; v < kVectors; ++v) {
      state.Prefetch(row + v * kLanes, kAhead);
      const FloatVec s = Advance(decay, input[v], b, state.Load(row + v * kLanes));
      state.Store(s, row + v * kLanes);
      y[v] = hn::MulAdd(s, c, y[v]);
    }
  }
#pragma GCC unroll 16
  for (size_t v = 0; v < kVectors; ++v) hn::StoreU(y[v], d, head.y + p + v * kLanes);
}

template <class State>
HWY_INLINE void StepHead(const HeadTokens& head, State state) {
  size_t p = 0;
  for (; p + 5 * kLanes <= head.width; p += 5 * kLanes) StepColumns<5>(head, state, p);
  for (; p + 2 * kLanes <= head.width; p += 2 * kLanes) StepColumns<2>(head, state, p);
  for (; p < head.width; p += kLanes) StepColumns<1>(head, state, p);
}

// kRows x kVectors vectors of S, from row n and column p on, stay in registers over the tokens; y holds the sum so far.
template <size_t kRows, size_t kVectors>
HWY_INLINE void ScanTile(const HeadTokens& head, float* state, size_t n, size_t p) {
  const FloatTag d;
  FloatVec s[kRows][kVectors];
#pragma GCC unroll 16
  for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (size_t v = 0; v < kVectors; ++v) {
      s[r][v] = hn::LoadU(d, state + (n + r) * head.width + p + v * kLanes);
    }
  }
  const float* x = head.x + p;
  const float* B = head.B + n;
  const float* C = head.C + n;
  float* out = head.y + p;
  for (size_t t = 0; t < head.count; ++t) {
    const FloatVec decay = hn::Set(d, head.decay[t]), dt = hn::Set(d, head.dt[t]);
    FloatVec input[kVectors], y[kVectors];
#pragma GCC unroll 16
    for (size_t v = 0; v < kVectors; ++v) {
      input[v] = hn::Mul(dt, hn::LoadU(d, x + v * kLanes));
      y[v] = hn::LoadU(d, out + v * kLanes);
    }
#pragma GCC unroll 16
    for (size_t r = 0; r < kRows; ++r) {
      const FloatVec b = hn::Set(d, B[r]), c = hn::Set(d, C[r]);
#pragma GCC unroll 16
      for (size_t v = 0; v < kVectors; ++v) {
        s[r][v] = Advance(decay, input[v], b, s[r][v]);
        y[v] = hn::MulAdd(s[r][v], c, y[v]);
      }
    }
#pragma GCC unroll 16
    for (size_t v = 0; v < kVectors; ++v) hn::StoreU(y[v], d, out + v * kLanes);
    x += head.x_stride;
    B += head.b_stride;
    C += head.c_stride;
    out += head.y_stride;
  }
#pragma GCC unroll 16
  for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (size_t v = 0; v < kVectors; ++v) {
      hn::StoreU(s[r][v], d, state + (n + r) * head.width + p + v * kLanes);
    }
  }
}

template <size_t kRows, size_t kVectors>
HWY_INLINE void ScanColumns(const HeadTokens& head, float* state, size_t p) {
  size_t n = 0;
  for (; n + kRows <= head.N; n += kRows) ScanTile<kRows, kVectors>(head, state, n, p);
  for (; n < head.N; ++n) ScanTile<1, kVectors>(head, state, n, p);
}

// Several tokens.
HWY_INLINE void ScanHead(const HeadTokens& head, float* state) {
  const FloatTag d;
  for (size_t t = 0; t < head.count; ++t) {
    for (size_t p = 0; p < head.width; p += kLanes) {
      hn::StoreU(hn::Mul(hn::Set(d, head.D), hn::LoadU(d, head.x + t * head.x_stride + p)), d,
                 head.y + t * head.y_stride + p);
    }
  }
  // Rows of the register tile: 16 of AVX-512's and NEON's 32 registers hold S, 8 of the 16 elsewhere.
#if HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64
  constexpr size_t kRows = 8;
#else
  constexpr size_t kRows = 4;
#endif
  size_t p = 0;
  for (; p + 2 * kLanes <= head.width; p += 2 * kLanes) ScanColumns<kRows, 2>(head, state, p);
  for (; p < head.width; p += kLanes) ScanColumns<2 * kRows, 1>(head, state, p);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#endif  // PLANISH_KERNELS_SSM_SCAN_INL_H_
