// SPDX-License-Identifier: Apache-2.0
// RMSNorm and the gated grouped RMSNorm of Mamba-2; see norm.h.
#include "kernels/norm.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/parallel.h"
#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/norm.cc"
#include "hwy/foreach_target.h"
#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

HWY_INLINE float SumOfSquares(const float* x, size_t n) {
  const FloatTag d;
  constexpr size_t lanes = kLanes;
  FloatVec sum0 = hn::Zero(d), sum1 = sum0, sum2 = sum0, sum3 = sum0;
  size_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    const FloatVec x0 = hn::LoadU(d, x + i);
    const FloatVec x1 = hn::LoadU(d, x + i + lanes);
    const FloatVec x2 = hn::LoadU(d, x + i + 2 * lanes);
    const FloatVec x3 = hn::LoadU(d, x + i + 3 * lanes);
    sum0 = hn::MulAdd(x0, x0, sum0);
    sum1 = hn::MulAdd(x1, x1, sum1);
    sum2 = hn::MulAdd(x2, x2, sum2);
    sum3 = hn::MulAdd(x3, x3, sum3);
  }
  for (; i + lanes <= n; i += lanes) {
    const FloatVec v = hn::LoadU(d, x + i);
    sum0 = hn::MulAdd(v, v, sum0);
  }
  if (i < n) {
    const FloatVec v = LoadTail(d, x + i, n - i);
    sum1 = hn::MulAdd(v, v, sum1);
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3))));
}

HWY_INLINE void NormOneRow(const float* x, const float* w, size_t n, float eps, float* y) {
  const FloatTag d;
  const float mean = SumOfSquares(x, n) / static_cast<float>(n);
  const FloatVec r = hn::Set(d, 1.0f / std::sqrt(mean + eps));
  ForEachVector(n, [=](size_t i, auto load, auto store)
                       HWY_ATTR { store(hn::Mul(hn::Mul(load(x + i), r), load(w + i)), y + i); });
}

void NormRows(const float* x, const float* w, size_t T, size_t D, float eps, float* y) {
  for (size_t t = 0; t < T; ++t) NormOneRow(x + t * D, w, D, eps, y + t * D);
}

// One group of one row. u goes through `out`, which may be y or z: each element is read before it is written.
void GatedNormGroup(const float* y, const float* z, const float* w, size_t n, float eps,
                    float* out) {
  const FloatTag d;
  ForEachVector(n, [=](size_t i, auto load, auto store)
                       HWY_ATTR { store(hn::Mul(load(y + i), SiluOf(d, load(z + i))), out + i); });
  NormOneRow(out, w, n, eps, out);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {

HWY_EXPORT(NormRows);
HWY_EXPORT(GatedNormGroup);

namespace {
// Floats per task: about the size at which entering a parallel region (some microseconds) pays.
constexpr size_t kTaskFloats = size_t{1} << 15;
}  // namespace

void RmsNorm(const float* x, const float* w, size_t T, size_t D, float eps, float* y) noexcept {
  if (T == 0 || D == 0) return;
  const size_t task_rows = std::max<size_t>(1, kTaskFloats / D);
  ParallelFor((T + task_rows - 1) / task_rows, [&](size_t task, int) {
    const size_t begin = task * task_rows;
    const size_t rows = std::min(task_rows, T - begin);
    HWY_DYNAMIC_DISPATCH(NormRows)(x + begin * D, w, rows, D, eps, y + begin * D);
  });
}

void GatedGroupRmsNorm(const float* y, size_t y_stride, const float* z, size_t z_stride,
                       const float* w, size_t T, size_t d_in, size_t groups, float eps,
                       float* out) noexcept {
  if (T == 0 || d_in == 0) return;
  PLANISH_DCHECK(groups > 0 && d_in % groups == 0);
  const size_t n = d_in / groups;
  // The exponential makes an element about eight times as dear as in RmsNorm.
  const size_t task_groups = std::max<size_t>(1, kTaskFloats / 8 / n);
  const size_t total = T * groups;
  ParallelFor((total + task_groups - 1) / task_groups, [&](size_t task, int) {
    const size_t end = std::min(total, (task + 1) * task_groups);
    for (size_t i = task * task_groups; i < end; ++i) {
      const size_t t = i / groups, offset = i % groups * n;
      HWY_DYNAMIC_DISPATCH(GatedNormGroup)
      (y + t * y_stride + offset, z + t * z_stride + offset, w + offset, n, eps,
       out + t * d_in + offset);
    }
  });
}

}  // namespace planish
#endif  // HWY_ONCE
