// SPDX-License-Identifier: Apache-2.0
#include "kernels/residual.h"

#include <algorithm>

#include "kernels/norm.h"
#include "kernels/simd_targets.h"
#include "kernels/team_work.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/residual.cc"
#include "hwy/foreach_target.h"
#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

void AddTo(const float* y, size_t n, float* h) {
  ForEachVector(n, [=](size_t i, auto load, auto store)
                       HWY_ATTR { store(hn::Add(load(h + i), load(y + i)), h + i); });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {

HWY_EXPORT(AddTo);

void AddRmsNorm(const float* y, const float* w, size_t T, size_t D, float eps, float* h,
                float* normed) noexcept {
  if (T == 0 || D == 0) return;
  constexpr size_t kTaskFloats = size_t{1} << 14;  // three streams of them stay in L2
  const size_t task_rows = std::max<size_t>(1, kTaskFloats / D);
  ParallelForWork((T + task_rows - 1) / task_rows, 4 * T * D, [&](size_t task, int) {
    const size_t begin = task * task_rows * D;
    const size_t rows = std::min(task_rows, T - task * task_rows);
    HWY_DYNAMIC_DISPATCH(AddTo)(y + begin, rows * D, h + begin);
    RmsNorm(h + begin, w, rows, D, eps, normed + begin);
  });
}

}  // namespace planish
#endif  // HWY_ONCE
