// SPDX-License-Identifier: Apache-2.0
#include "kernels/ssm_scan.h"

#include <algorithm>

#include "base/error.h"
#include "base/parallel.h"
#include "kernels/scratch.h"
#include "kernels/simd_targets.h"
#include "kernels/team_work.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ssm_scan.cc"
#include "hwy/foreach_target.h"
#include "kernels/ssm_scan-inl.h"
#include "kernels/time_step-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

// All tokens of one head. scratch: (N + 2 kScanTokens) * padded P floats.
void ScanTask(const SsmDims& dims, const SsmInput& in, size_t T, size_t h, float* states, float* y,
              size_t y_stride, float* scratch) {
  const FloatTag d;
  const size_t P = dims.head_dim, N = dims.state, width = PaddedColumns(P);
  const size_t group = h / (dims.heads / dims.groups);
  float* state = scratch;
  float* padded_x = state + N * width;
  float* padded_y = padded_x + kScanTokens * width;
  CopyRows(states + h * N * P, P, P, N, state, width);
  HWY_ALIGN float decay[kScanTokens], dt[kScanTokens] = {};
  for (size_t begin = 0; begin < T; begin += kScanTokens) {
    const size_t count = std::min(kScanTokens, T - begin);
    for (size_t t = 0; t < count; ++t) dt[t] = in.dt[(begin + t) * in.dt_stride + h];
    for (size_t t = 0; t < count; t += kLanes)
      hn::Store(hn::Exp(d, hn::Mul(hn::Load(d, dt + t), hn::Set(d, in.A[h]))), d, decay + t);
    CopyRows(in.x + begin * in.x_stride + h * P, in.x_stride, P, count, padded_x, width);
    const HeadTokens tokens{.count = count,
                            .N = N,
                            .width = width,
                            .x = padded_x,
                            .x_stride = width,
                            .B = in.B + begin * in.b_stride + group * N,
                            .b_stride = in.b_stride,
                            .C = in.C + begin * in.c_stride + group * N,
                            .c_stride = in.c_stride,
                            .decay = decay,
                            .dt = dt,
                            .D = in.D[h],
                            .y = padded_y,
                            .y_stride = width};
    if (count == 1) {
      StepHead(tokens, FloatState(state));
    } else {
      ScanHead(tokens, state);
    }
    CopyRows(padded_y, width, P, count, y + begin * y_stride + h * P, y_stride);
  }
  CopyRows(state, width, P, N, states + h * N * P, P);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {

HWY_EXPORT(ScanTask);
HWY_EXPORT(TimeSteps);

void SsmScan(const SsmDims& dims, const SsmInput& input, size_t T, float* state, float* y,
             size_t y_stride) {
  PLANISH_DCHECK(dims.groups > 0 && dims.heads % dims.groups == 0);
  if (T == 0 || dims.StateSize() == 0) return;
  static thread_local Scratch memory;
  const size_t floats = (dims.state + 2 * 32) * RoundUpToLine(dims.head_dim);
  float* scratch = memory.Floats(static_cast<size_t>(ThreadCount()) * floats);
  ParallelForWork(dims.heads, T * dims.StateSize() * 3, [&](size_t head, int thread) {
    HWY_DYNAMIC_DISPATCH(ScanTask)
    (dims, input, T, head, state, y, y_stride, scratch + static_cast<size_t>(thread) * floats);
  });
}

void PrepareDt(const float* dt_raw, size_t stride, const float* dt_bias, size_t T, size_t H,
               float lo, float hi, float* dt) noexcept {
  ParallelForWork(T, T * H * 32, [&](size_t t, int) {
    HWY_DYNAMIC_DISPATCH(TimeSteps)(dt_raw + t * stride, dt_bias, H, lo, hi, dt + t * H);
  });
}

}  // namespace planish
#endif  // HWY_ONCE
