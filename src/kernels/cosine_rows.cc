// SPDX-License-Identifier: Apache-2.0
#include "kernels/cosine_rows.h"

#include <algorithm>
#include <cmath>

#include "base/parallel.h"
#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cosine_rows.cc"
#include "hwy/foreach_target.h"
#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

void Products(const float* a, const float* b, size_t n, double* ab, double* aa, double* bb) {
  const FloatTag d;
  FloatVec sum_ab = hn::Zero(d), sum_aa = sum_ab, sum_bb = sum_ab;
  size_t i = 0;
  const auto add = [&](FloatVec x, FloatVec y) HWY_ATTR {
    sum_ab = hn::MulAdd(x, y, sum_ab);
    sum_aa = hn::MulAdd(x, x, sum_aa);
    sum_bb = hn::MulAdd(y, y, sum_bb);
  };
  for (; i + kLanes <= n; i += kLanes) add(hn::LoadU(d, a + i), hn::LoadU(d, b + i));
  if (i < n) add(LoadTail(d, a + i, n - i), LoadTail(d, b + i, n - i));
  *ab = static_cast<double>(hn::GetLane(hn::SumOfLanes(d, sum_ab)));
  *aa = static_cast<double>(hn::GetLane(hn::SumOfLanes(d, sum_aa)));
  *bb = static_cast<double>(hn::GetLane(hn::SumOfLanes(d, sum_bb)));
}

// da += of_a a + of_b b.
void AddBoth(const float* a, const float* b, size_t n, float of_a, float of_b, float* da) {
  const FloatTag d;
  const FloatVec fa = hn::Set(d, of_a), fb = hn::Set(d, of_b);
  ForEachVector(n, [=](size_t i, auto load, auto store) HWY_ATTR {
    const FloatVec change = hn::MulAdd(fa, load(a + i), hn::Mul(fb, load(b + i)));
    store(hn::Add(load(da + i), change), da + i);
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {
namespace {

HWY_EXPORT(Products);
HWY_EXPORT(AddBoth);

}  // namespace

void CosineRows(const float* a, const float* b, const uint8_t* mask, size_t T, size_t D,
                double weight, double* losses, float* da) noexcept {
  constexpr size_t kTaskFloats = size_t{1} << 14;
  const size_t step = std::max<size_t>(1, kTaskFloats / std::max<size_t>(D, 1));
  ParallelFor((T + step - 1) / step, [&](size_t task, int) {
    for (size_t t = task * step; t < std::min(T, (task + 1) * step); ++t) {
      losses[t] = 0;
      if (mask != nullptr && mask[t] == 0) continue;
      double ab, aa, bb;
      HWY_DYNAMIC_DISPATCH(Products)(a + t * D, b + t * D, D, &ab, &aa, &bb);
      const double norms = std::sqrt(aa) * std::sqrt(bb);
      losses[t] = norms == 0 ? 1 : 1 - ab / norms;
      if (da == nullptr || norms == 0) continue;
      HWY_DYNAMIC_DISPATCH(AddBoth)
      (a + t * D, b + t * D, D, static_cast<float>(weight * ab / aa / norms),
       static_cast<float>(-weight / norms), da + t * D);
    }
  });
}

}  // namespace planish
#endif  // HWY_ONCE
