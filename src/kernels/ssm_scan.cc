// SPDX-License-Identifier: Apache-2.0
// The recurrent form of the Mamba-2 state-space layer, and its time step; see ssd.h. Rows of S stay in registers over
// a block of tokens (one token: they stream through, in place). Both ways do the same operations in the same order on
// every element, which is what makes any cut of the tokens give the same bits.
#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/parallel.h"
#include "kernels/scratch.h"
#include "kernels/simd_targets.h"
#include "kernels/ssd.h"
#include "kernels/team_work.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ssm_scan.cc"
#include "hwy/foreach_target.h"
#include "kernels/vector_math-inl.h"

#ifndef PLANISH_KERNELS_SSM_SCAN_CC_ONCE
#define PLANISH_KERNELS_SSM_SCAN_CC_ONCE
namespace planish {
namespace {
constexpr size_t kScanTokens =
    32;  // tokens per block: B and C of a block (32 KB at N = 128) stay in L1
}  // namespace
}  // namespace planish
#endif  // PLANISH_KERNELS_SSM_SCAN_CC_ONCE

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

// Tokens [0, count) of one head; N is a multiple of kLanes here.
struct ScanBlock {
  size_t count, P, N;
  const float* x;  // [count, P]
  size_t x_stride;
  const float* B;  // [count, N]
  size_t b_stride;
  const float* C;  // [count, N]
  size_t c_stride;
  const float* decay;  // [count] exp(dt A)
  const float* dt;     // [count]
  float D;
  float* state;  // [P, N]
  float* y;      // [count, P]
  size_t y_stride;
};

HWY_INLINE FloatVec Advance(FloatVec decay, FloatVec input, FloatVec b, FloatVec s) {
  return hn::MulAdd(input, b, hn::Mul(decay, s));
}

// y of kLanes tokens (or rows) from their lane sums, one by one: the last product is rounded by itself everywhere.
HWY_INLINE void FinishY(const float* lane_sums, const float* x, size_t x_stride, float D,
                        size_t count, float* y, size_t y_stride) {
  const FloatTag d;
  HWY_ALIGN float sums[kLanes];
  hn::Store(SumEach(d, lane_sums, kLanes), d, sums);
  for (size_t i = 0; i < count; ++i) y[i * y_stride] = sums[i] + D * x[i * x_stride];
}

// kRows rows of S, of kVectors vectors each, live in registers over the block.
template <size_t kRows, size_t kVectors>
HWY_INLINE void ScanRows(const ScanBlock& block, size_t p) {
  const FloatTag d;
  HWY_ALIGN float lane_sums[kRows][kScanTokens * kLanes];
  FloatVec s[kRows][kVectors];
#pragma GCC unroll 16
  for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (size_t v = 0; v < kVectors; ++v) {
      s[r][v] = hn::LoadU(d, block.state + (p + r) * block.N + v * kLanes);
    }
  }
  for (size_t t = 0; t < block.count; ++t) {
    const FloatVec decay = hn::Set(d, block.decay[t]);
    const float* b = block.B + t * block.b_stride;
    const float* c = block.C + t * block.c_stride;
    FloatVec input[kRows], sum[kRows];
#pragma GCC unroll 16
    for (size_t r = 0; r < kRows; ++r) {
      input[r] = hn::Set(d, block.dt[t] * block.x[t * block.x_stride + p + r]);
    }
#pragma GCC unroll 16
    for (size_t v = 0; v < kVectors; ++v) {
      const FloatVec bv = hn::LoadU(d, b + v * kLanes), cv = hn::LoadU(d, c + v * kLanes);
#pragma GCC unroll 16
      for (size_t r = 0; r < kRows; ++r) {
        s[r][v] = Advance(decay, input[r], bv, s[r][v]);
        sum[r] = v == 0 ? hn::Mul(s[r][v], cv) : hn::MulAdd(s[r][v], cv, sum[r]);
      }
    }
#pragma GCC unroll 16
    for (size_t r = 0; r < kRows; ++r) hn::Store(sum[r], d, &lane_sums[r][t * kLanes]);
  }
#pragma GCC unroll 16
  for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (size_t v = 0; v < kVectors; ++v) {
      hn::StoreU(s[r][v], d, block.state + (p + r) * block.N + v * kLanes);
    }
    for (size_t t = 0; t < block.count; t += kLanes) {
      const size_t n = std::min(kLanes, block.count - t);
      std::fill(&lane_sums[r][(t + n) * kLanes], &lane_sums[r][(t + kLanes) * kLanes], 0.0f);
      FinishY(&lane_sums[r][t * kLanes], block.x + t * block.x_stride + p + r, block.x_stride,
              block.D, n, block.y + t * block.y_stride + p + r, block.y_stride);
    }
  }
}

// One row through one token, in memory.
HWY_INLINE FloatVec StepRow(const ScanBlock& block, size_t p, size_t t) {
  const FloatTag d;
  const FloatVec decay = hn::Set(d, block.decay[t]);
  const FloatVec input = hn::Set(d, block.dt[t] * block.x[t * block.x_stride + p]);
  const float* b = block.B + t * block.b_stride;
  const float* c = block.C + t * block.c_stride;
  float* s = block.state + p * block.N;
  FloatVec sum = hn::Zero(d);
  for (size_t n = 0; n < block.N; n += kLanes) {
    const FloatVec next = Advance(decay, input, hn::LoadU(d, b + n), hn::LoadU(d, s + n));
    hn::StoreU(next, d, s + n);
    const FloatVec cv = hn::LoadU(d, c + n);
    sum = n == 0 ? hn::Mul(next, cv) : hn::MulAdd(next, cv, sum);
  }
  return sum;
}

// One token: the lane sums of kLanes rows are added up together.
HWY_INLINE void ScanOneToken(const ScanBlock& block) {
  const FloatTag d;
  HWY_ALIGN float lane_sums[kLanes * kLanes] = {};
  for (size_t p = 0; p < block.P; p += kLanes) {
    const size_t n = std::min(kLanes, block.P - p);
    for (size_t i = 0; i < n; ++i) hn::Store(StepRow(block, p + i, 0), d, lane_sums + i * kLanes);
    FinishY(lane_sums, block.x + p, 1, block.D, n, block.y + p, 1);
  }
}

// Any N: a row of S stays in L1 over the block.
HWY_INLINE void ScanLongRow(const ScanBlock& block, size_t p) {
  const FloatTag d;
  HWY_ALIGN float lane_sums[kLanes * kLanes] = {};
  for (size_t t = 0; t < block.count; t += kLanes) {
    const size_t n = std::min(kLanes, block.count - t);
    for (size_t i = 0; i < n; ++i) hn::Store(StepRow(block, p, t + i), d, lane_sums + i * kLanes);
    FinishY(lane_sums, block.x + t * block.x_stride + p, block.x_stride, block.D, n,
            block.y + t * block.y_stride + p, block.y_stride);
  }
}

template <size_t kRows, size_t kVectors>
HWY_INLINE void ScanAllRows(const ScanBlock& block) {
  size_t p = 0;
  for (; p + kRows <= block.P; p += kRows) ScanRows<kRows, kVectors>(block, p);
  for (; p < block.P; ++p) ScanRows<1, kVectors>(block, p);
}

HWY_INLINE void Scan(const ScanBlock& block) {
  if (block.count == 1) return ScanOneToken(block);
    // Rows by vectors held in registers: 16 of AVX-512's and NEON's 32, 8 of the 16 elsewhere.
#if HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64
  constexpr size_t kWide = 2;
#else
  constexpr size_t kWide = 1;
#endif
  switch (block.N / kLanes) {
    case 1:
      return ScanAllRows<4, 1>(block);
    case 2:
      return ScanAllRows<4, 2>(block);
    case 4:
      return ScanAllRows<2 * kWide, 4>(block);
    case 8:
      return ScanAllRows<kWide, 8>(block);
    default:
      for (size_t p = 0; p < block.P; ++p) ScanLongRow(block, p);
  }
}

HWY_INLINE void PadRows(const float* rows, size_t stride, size_t count, size_t n, size_t width,
                        float* padded) {
  for (size_t i = 0; i < count; ++i) {
    std::memcpy(padded + i * width, rows + i * stride, n * sizeof(float));
    std::fill(padded + i * width + n, padded + (i + 1) * width, 0.0f);
  }
}

// All tokens of one head of one job. scratch: (P + 2 * kScanTokens) * padded N floats.
void ScanHead(const SsmDims& dims, const SsmJob& job, size_t head, float* scratch) {
  const FloatTag d;
  const SsmInput& in = job.input;
  const size_t P = dims.head_dim, N = dims.state, width = PaddedColumns(N);
  const size_t group = head / (dims.heads / dims.groups);
  float* state = job.state + head * P * N;
  float* padded_state = scratch;
  float* padded_b = padded_state + P * width;
  float* padded_c = padded_b + kScanTokens * width;
  if (width != N) PadRows(state, N, P, N, width, padded_state);

  HWY_ALIGN float decay[kScanTokens + kLanes] = {};
  HWY_ALIGN float dt[kScanTokens + kLanes] = {};
  for (size_t t0 = 0; t0 < job.T; t0 += kScanTokens) {
    const size_t count = std::min(kScanTokens, job.T - t0);
    for (size_t t = 0; t < count; ++t) dt[t] = in.dt[(t0 + t) * in.dt_stride + head];
    const FloatVec a = hn::Set(d, in.A[head]);
    for (size_t t = 0; t < count; t += kLanes) {
      hn::Store(hn::Exp(d, hn::Mul(hn::Load(d, dt + t), a)), d, decay + t);
    }
    ScanBlock block{count,
                    P,
                    width,
                    in.x + t0 * in.x_stride + head * P,
                    in.x_stride,
                    in.B + t0 * in.b_stride + group * N,
                    in.b_stride,
                    in.C + t0 * in.c_stride + group * N,
                    in.c_stride,
                    decay,
                    dt,
                    in.D[head],
                    width == N ? state : padded_state,
                    job.y + t0 * job.y_stride + head * P,
                    job.y_stride};
    if (width != N) {
      PadRows(block.B, in.b_stride, count, N, width, padded_b);
      PadRows(block.C, in.c_stride, count, N, width, padded_c);
      block.B = padded_b;
      block.C = padded_c;
      block.b_stride = block.c_stride = width;
    }
    Scan(block);
  }
  if (width != N) {
    for (size_t p = 0; p < P; ++p) {
      std::memcpy(state + p * N, padded_state + p * width, N * sizeof(float));
    }
  }
}

void PrepareDtRow(const float* raw, const float* bias, size_t H, float lo, float hi, float* dt) {
  const FloatTag d;
  const FloatVec low = hn::Set(d, lo), high = hn::Set(d, hi);
  ForEachVector(H, [=](size_t h, auto load, auto store) HWY_ATTR {
    FloatVec v = SoftplusOf(d, hn::Add(load(raw + h), load(bias + h)));
    v = hn::IfThenElse(hn::Lt(v, low), low, v);  // not Min and Max, which may drop a NaN
    v = hn::IfThenElse(hn::Gt(v, high), high, v);
    store(v, dt + h);
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {

HWY_EXPORT(ScanHead);
HWY_EXPORT(PrepareDtRow);

void SsmScan(const SsmDims& dims, std::span<const SsmJob> jobs) {
  PLANISH_DCHECK(dims.groups > 0 && dims.heads % dims.groups == 0);
  size_t most_tokens = 0, total_tokens = 0;
  for (const SsmJob& job : jobs) {
    most_tokens = std::max(most_tokens, job.T);
    total_tokens += job.T;
  }
  if (most_tokens == 0 || dims.StateSize() == 0) return;
  // Heads per task: about 32 Ki state updates, some microseconds of work.
  const size_t head_work = dims.head_dim * dims.state * most_tokens;
  const size_t task_heads = std::clamp<size_t>((size_t{1} << 15) / head_work, 1, dims.heads);
  const size_t job_tasks = (dims.heads + task_heads - 1) / task_heads;

  static thread_local Scratch memory;
  const size_t padded_state = RoundUpToLine(dims.state);
  const size_t thread_floats =
      dims.state == padded_state ? 0 : (dims.head_dim + 2 * kScanTokens) * padded_state;
  float* scratch = memory.Floats(static_cast<size_t>(ThreadCount()) * thread_floats + 1);
  ParallelForWork(
      jobs.size() * job_tasks, total_tokens * dims.StateSize() * 3, [&](size_t task, int thread) {
        const SsmJob& job = jobs[task / job_tasks];
        const size_t begin = task % job_tasks * task_heads;
        for (size_t head = begin; head < std::min(dims.heads, begin + task_heads); ++head) {
          HWY_DYNAMIC_DISPATCH(ScanHead)
          (dims, job, head, scratch + static_cast<size_t>(thread) * thread_floats);
        }
      });
}

void SsmScan(const SsmDims& dims, const SsmInput& input, size_t T, float* state, float* y,
             size_t y_stride) {
  const SsmJob job{input, T, state, y, y_stride};
  SsmScan(dims, {&job, 1});
}

void PrepareDt(const float* dt_raw, size_t stride, const float* dt_bias, size_t T, size_t H,
               float lo, float hi, float* dt) noexcept {
  for (size_t t = 0; t < T; ++t) {
    HWY_DYNAMIC_DISPATCH(PrepareDtRow)(dt_raw + t * stride, dt_bias, H, lo, hi, dt + t * H);
  }
}

}  // namespace planish
#endif  // HWY_ONCE
