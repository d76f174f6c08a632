// SPDX-License-Identifier: Apache-2.0
#include "kernels/time_step_backward.h"

#include <algorithm>

#include "base/parallel.h"
#include "kernels/scratch.h"
#include "kernels/simd_targets.h"
#include "kernels/team_work.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/time_step_backward.cc"
#include "hwy/foreach_target.h"
#include "kernels/rounding-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

// dbias: [H] sums of these rows.
template <class Elem>
void StepRowsOf(const TimeStepGradient& g, size_t begin, size_t end, size_t H, float* dbias) {
  const FloatTag d;
  const FloatVec low = hn::Set(d, g.lo), high = hn::Set(d, g.hi);
  for (size_t t = begin; t < end; ++t) {
    const float* raw = g.raw + t * g.raw_stride;
    const float* dt = g.dt + t * H;
    const float* ddt = g.ddt + t * H;
    Elem* draw = static_cast<Elem*>(g.draw) + t * g.draw_stride;
    ForEachTyped(H, [&](size_t h, auto load, auto store) HWY_ATTR {
      const FloatVec step = load(dt + h);
      const FloatVec slope = SigmoidOf(d, hn::Add(load(raw + h), load(g.bias + h)));
      const FloatVec value = hn::IfThenElseZero(hn::And(hn::Gt(step, low), hn::Lt(step, high)),
                                                hn::Mul(load(ddt + h), slope));
      store(value, draw + h);
      store(hn::Add(load(dbias + h), value), dbias + h);
    });
  }
}

void StepRows(const TimeStepGradient& g, size_t begin, size_t end, size_t H, float* dbias) {
  std::fill_n(dbias, H, 0.0f);
  if (g.type == DType::kF32) {
    StepRowsOf<float>(g, begin, end, H, dbias);
  } else {
    StepRowsOf<uint16_t>(g, begin, end, H, dbias);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {

HWY_EXPORT(StepRows);

void PrepareDtBackward(const TimeStepGradient& gradient, size_t T, size_t H, float* dbias) {
  if (T == 0 || H == 0) return;
  constexpr size_t kRows = 64;
  static thread_local Scratch memory;
  const size_t blocks = (T + kRows - 1) / kRows, stride = RoundUpToLine(H);
  float* sums = memory.Floats(blocks * stride);
  ParallelForWork(blocks, T * H * 16, [&](size_t block, int) {
    HWY_DYNAMIC_DISPATCH(StepRows)
    (gradient, block * kRows, std::min(T, (block + 1) * kRows), H, sums + block * stride);
  });
  for (size_t h = 0; h < H; ++h) {
    double sum = 0;
    for (size_t block = 0; block < blocks; ++block) sum += sums[block * stride + h];
    dbias[h] += static_cast<float>(sum);
  }
}

}  // namespace planish
#endif  // HWY_ONCE
