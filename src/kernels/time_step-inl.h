// SPDX-License-Identifier: Apache-2.0
// The time step of a Mamba-2 row: dt[h] = clamp(softplus(raw[h] + bias[h]), lo, hi). Included once per target.
#if defined(PLANISH_KERNELS_TIME_STEP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PLANISH_KERNELS_TIME_STEP_INL_H_
#undef PLANISH_KERNELS_TIME_STEP_INL_H_
#else
#define PLANISH_KERNELS_TIME_STEP_INL_H_
#endif

#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

void TimeSteps(const float* raw, const float* bias, size_t H, float lo, float hi, float* dt) {
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

#endif  // PLANISH_KERNELS_TIME_STEP_INL_H_
