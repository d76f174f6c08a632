// SPDX-License-Identifier: Apache-2.0
// RMSNorm and the gated grouped RMSNorm of Mamba-2; see norm.h.
#include "kernels/norm.h"

#include <algorithm>

#include "base/error.h"
#include "base/parallel.h"
#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/norm.cc"
#include "hwy/foreach_target.h"
#include "kernels/norm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

void NormRows(const float* x, const float* w, size_t T, size_t D, float eps, float* y) {
  for (size_t t = 0; t < T; ++t) NormOneRow(x + t * D, w, D, eps, y + t * D);
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
