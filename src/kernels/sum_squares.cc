// SPDX-License-Identifier: Apache-2.0
#include "kernels/sum_squares.h"

#include <algorithm>

#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/sum_squares.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

constexpr size_t kSums = 16;
using DoubleTag = hn::CappedTag<double, kSums>;
constexpr size_t kDoubles = HWY_LANES(double);
constexpr size_t kVectors = kSums / kDoubles;

double SumAll(const float* x, size_t n) {
  const DoubleTag d;
  const hn::Rebind<float, DoubleTag> df;
  hn::Vec<DoubleTag> sums[kVectors];
#pragma GCC unroll 16
  for (size_t j = 0; j < kVectors; ++j) sums[j] = hn::Zero(d);
  const auto add = [&](const float* block) HWY_ATTR {
#pragma GCC unroll 16
    for (size_t j = 0; j < kVectors; ++j) {
      const auto value = hn::PromoteTo(d, hn::LoadU(df, block + j * kDoubles));
      sums[j] = hn::MulAdd(value, value, sums[j]);
    }
  };
  size_t i = 0;
  for (; i + kSums <= n; i += kSums) add(x + i);
  if (i < n) {
    float rest[kSums] = {};
    std::copy(x + i, x + n, rest);
    add(rest);
  }
  double lanes[kSums];
#pragma GCC unroll 16
  for (size_t j = 0; j < kVectors; ++j) hn::StoreU(sums[j], d, lanes + j * kDoubles);
  double total = 0;
  for (const double lane : lanes) total += lane;
  return total;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {

HWY_EXPORT(SumAll);

double SumOfSquares(const float* x, size_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(SumAll)(x, n);
}

}  // namespace planish
#endif  // HWY_ONCE
