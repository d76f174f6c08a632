// SPDX-License-Identifier: Apache-2.0
// The greatest value of a row and where it first stands. Included once per target.
#if defined(PLANISH_KERNELS_ROW_MAXIMUM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PLANISH_KERNELS_ROW_MAXIMUM_INL_H_
#undef PLANISH_KERNELS_ROW_MAXIMUM_INL_H_
#else
#define PLANISH_KERNELS_ROW_MAXIMUM_INL_H_
#endif

#include <algorithm>
#include <cmath>

#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

// The greatest of n > 0 values; NaN if there is a NaN.
HWY_INLINE float MaximumOf(const float* x, size_t n) {
  const FloatTag d;
  FloatVec best = hn::Set(d, x[0]), nans = hn::Zero(d);
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const FloatVec v = hn::LoadU(d, x + i);
    best = hn::Max(best, v);
    nans = hn::IfThenElse(hn::IsNaN(v), v, nans);
  }
  float max = hn::GetLane(hn::MaxOfLanes(d, best)), nan = hn::GetLane(hn::SumOfLanes(d, nans));
  for (; i < n; ++i) {
    max = std::max(max, x[i]);
    if (std::isnan(x[i])) nan = x[i];
  }
  return std::isnan(nan) ? nan : max;
}

// The first place of `value`; n if there is none.
HWY_INLINE size_t FirstOf(const float* x, size_t n, float value) {
  const FloatTag d;
  const FloatVec wanted = hn::Set(d, value);
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    if (!hn::AllFalse(d, hn::Eq(hn::LoadU(d, x + i), wanted))) break;
  while (i < n && x[i] != value) ++i;
  return i;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#endif  // PLANISH_KERNELS_ROW_MAXIMUM_INL_H_
