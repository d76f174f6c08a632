// SPDX-License-Identifier: Apache-2.0
#include "kernels/rounding.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/simd_targets.h"
#include "kernels/team_work.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rounding.cc"
#include "hwy/foreach_target.h"
#include "kernels/rounding-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

void RoundToHalves(const float* in, size_t n, uint16_t* out) {
  ForEachTyped(n, [=](size_t i, auto load, auto store) HWY_ATTR { store(load(in + i), out + i); });
}

void WidenHalves(const uint16_t* in, size_t n, float* out) {
  ForEachTyped(n, [=](size_t i, auto load, auto store) HWY_ATTR { store(load(in + i), out + i); });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {

HWY_EXPORT(RoundToHalves);
HWY_EXPORT(WidenHalves);

namespace {

constexpr size_t kTask = size_t{1} << 15;

template <class Body>
void ForTasks(size_t n, const Body& body) {
  ParallelForWork((n + kTask - 1) / kTask, n,
                  [&](size_t task, int) { body(task * kTask, std::min(kTask, n - task * kTask)); });
}

}  // namespace

void RoundRows(const float* in, size_t n, DType type, void* out) noexcept {
  PLANISH_CHECK(type == DType::kF32 || type == DType::kBF16);
  ForTasks(n, [=](size_t begin, size_t count) {
    if (type == DType::kF32)
      std::copy_n(in + begin, count, static_cast<float*>(out) + begin);
    else
      HWY_DYNAMIC_DISPATCH(RoundToHalves)
    (in + begin, count, static_cast<uint16_t*>(out) + begin);
  });
}

void RoundColumns(const float* in, size_t in_stride, size_t T, size_t columns, DType type,
                  void* out, size_t out_stride) noexcept {
  PLANISH_CHECK(type == DType::kF32 || type == DType::kBF16);
  if (T == 0 || columns == 0) return;
  const size_t rows = std::max<size_t>(1, kTask / columns);
  ParallelForWork((T + rows - 1) / rows, T * columns, [=](size_t task, int) {
    for (size_t t = task * rows; t < std::min(T, (task + 1) * rows); ++t) {
      if (type == DType::kF32)
        std::copy_n(in + t * in_stride, columns, static_cast<float*>(out) + t * out_stride);
      else
        HWY_DYNAMIC_DISPATCH(RoundToHalves)
      (in + t * in_stride, columns, static_cast<uint16_t*>(out) + t * out_stride);
    }
  });
}

void WidenRows(const void* in, DType type, size_t n, float* out) noexcept {
  PLANISH_CHECK(type == DType::kF32 || type == DType::kBF16);
  ForTasks(n, [=](size_t begin, size_t count) {
    if (type == DType::kF32)
      std::copy_n(static_cast<const float*>(in) + begin, count, out + begin);
    else
      HWY_DYNAMIC_DISPATCH(WidenHalves)
    (static_cast<const uint16_t*>(in) + begin, count, out + begin);
  });
}

}  // namespace planish
#endif  // HWY_ONCE
