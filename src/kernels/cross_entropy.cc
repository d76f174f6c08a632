// SPDX-License-Identifier: Apache-2.0
// Three passes over a row that stays in the second-level cache: maximum; exponentials, stored, and their sum; scaling.
#include "kernels/cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "base/parallel.h"
#include "kernels/simd_targets.h"
#include "tensor/dtype.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cross_entropy.cc"
#include "hwy/foreach_target.h"
#include "kernels/rounding-inl.h"
#include "kernels/row_maximum-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

float GreatestOf(const float* x, size_t n) { return MaximumOf(x, n); }

// exp(x - max) stored over x; returns the sum.
double Exponentials(float* x, size_t n, float max) {
  constexpr size_t kBlock = 1024;
  const FloatTag d;
  const FloatVec shift = hn::Set(d, max), least = hn::Set(d, -86.0f);
  const auto exp = [=](FloatVec v) HWY_ATTR {
    v = hn::Sub(v, shift);
    return hn::IfThenElseZero(hn::Ge(v, least), ClampedExp(d, v));
  };
  double total = 0;
  for (size_t i = 0; i < n;) {
    const size_t end = std::min(n, i + kBlock);
    FloatVec sum0 = hn::Zero(d), sum1 = sum0;
    for (; i + 2 * kLanes <= end; i += 2 * kLanes) {
      const FloatVec e0 = exp(hn::LoadU(d, x + i)), e1 = exp(hn::LoadU(d, x + i + kLanes));
      hn::StoreU(e0, d, x + i);
      hn::StoreU(e1, d, x + i + kLanes);
      sum0 = hn::Add(sum0, e0);
      sum1 = hn::Add(sum1, e1);
    }
    for (; i < end; i += kLanes) {  // at most one whole vector and one partial
      const size_t count = std::min(kLanes, end - i);
      const FloatVec v = count == kLanes ? hn::LoadU(d, x + i) : LoadTail(d, x + i, count);
      const FloatVec e = hn::IfThenElseZero(hn::FirstN(d, count), exp(v));
      if (count == kLanes)
        hn::StoreU(e, d, x + i);
      else
        StoreTail(d, e, x + i, count);
      sum0 = hn::Add(sum0, e);
    }
    i = end;
    total += static_cast<double>(hn::GetLane(hn::SumOfLanes(d, hn::Add(sum0, sum1))));
  }
  return total;
}

void ScaleRow(float* x, size_t n, float scale) {
  const FloatTag d;
  const FloatVec s = hn::Set(d, scale);
  ForEachVector(
      n, [=](size_t i, auto load, auto store) HWY_ATTR { store(hn::Mul(load(x + i), s), x + i); });
}

// The same, rounded to bf16, in place from the front: what is written has been read.
void ScaleRowToBf16(float* x, size_t n, float scale) {
  auto* to = reinterpret_cast<uint16_t*>(x);
  const FloatVec s = hn::Set(FloatTag(), scale);
  ForEachTyped(
      n, [=](size_t i, auto load, auto store) HWY_ATTR { store(hn::Mul(load(x + i), s), to + i); });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {
namespace {

HWY_EXPORT(GreatestOf);
HWY_EXPORT(Exponentials);
HWY_EXPORT(ScaleRow);
HWY_EXPORT(ScaleRowToBf16);

// All of a row's gradient.
void FillRow(float* x, size_t V, float value, CrossEntropyGradient gradient) {
  if (gradient == CrossEntropyGradient::kF32) std::fill_n(x, V, value);
  if (gradient != CrossEntropyGradient::kBf16) return;
  const uint16_t bits = BF16FromFloat(value);
  for (size_t v = 0; v < V; ++v) std::memcpy(reinterpret_cast<std::byte*>(x) + 2 * v, &bits, 2);
}

void OneRow(const CrossEntropyRows& rows, size_t r, CrossEntropyGradient gradient) {
  float* x = rows.logits + r * rows.stride;
  const auto target = static_cast<size_t>(rows.targets[r]);
  PLANISH_DCHECK(target < rows.V);
  const float max = HWY_DYNAMIC_DISPATCH(GreatestOf)(x, rows.V);
  const float at_target = x[target];
  double lse = std::numeric_limits<double>::quiet_NaN(), sum = 1;
  if (std::isfinite(max)) {
    sum = HWY_DYNAMIC_DISPATCH(Exponentials)(x, rows.V, max);
    lse = static_cast<double>(max) + std::log(sum);
  }
  rows.losses[r] = lse - static_cast<double>(at_target);
  if (rows.lse != nullptr) rows.lse[r] = lse;
  if (gradient == CrossEntropyGradient::kNone) return;
  const float weight = rows.weights == nullptr ? 1.0f : rows.weights[r];
  if (weight == 0) return FillRow(x, rows.V, 0.0f, gradient);
  if (std::isnan(lse)) return FillRow(x, rows.V, std::numeric_limits<float>::quiet_NaN(), gradient);
  const double scale = weight * (1 + 2 * static_cast<double>(rows.z_coef) * lse) / sum;
  const auto d_target = static_cast<float>(scale * static_cast<double>(x[target]) - weight);
  if (gradient == CrossEntropyGradient::kF32) {
    HWY_DYNAMIC_DISPATCH(ScaleRow)(x, rows.V, static_cast<float>(scale));
    x[target] = d_target;
  } else {
    HWY_DYNAMIC_DISPATCH(ScaleRowToBf16)(x, rows.V, static_cast<float>(scale));
    const uint16_t bits = BF16FromFloat(d_target);
    std::memcpy(reinterpret_cast<std::byte*>(x) + 2 * target, &bits, sizeof bits);
  }
}

}  // namespace

void CrossEntropy(const CrossEntropyRows& rows, CrossEntropyGradient gradient) noexcept {
  if (rows.V == 0) return;
  constexpr size_t kTaskFloats = size_t{1} << 14;
  const size_t step = std::max<size_t>(1, kTaskFloats / rows.V);
  ParallelFor((rows.R + step - 1) / step, [&](size_t task, int) {
    for (size_t r = task * step; r < std::min(rows.R, (task + 1) * step); ++r)
      OneRow(rows, r, gradient);
  });
}

}  // namespace planish
#endif  // HWY_ONCE
