// SPDX-License-Identifier: Apache-2.0
// Largest values and normaliser of a row of logits; see sample.h.
#include "kernels/sample.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/sample.cc"
#include "hwy/foreach_target.h"
#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

// The largest value that is not NaN, -inf if there is none; *any_nan says whether there was a NaN.
float MaxIgnoringNaN(const float* x, size_t n, bool* any_nan) {
  const FloatTag d;
  const FloatVec lowest = hn::Set(d, -std::numeric_limits<float>::infinity());
  FloatVec largest = lowest;
  auto nan = hn::FirstN(d, 0);
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const FloatVec v = hn::LoadU(d, x + i);
    const auto is_nan = hn::IsNaN(v);
    nan = hn::Or(nan, is_nan);
    largest = hn::Max(largest, hn::IfThenElse(is_nan, lowest, v));
  }
  float result = hn::GetLane(hn::MaxOfLanes(d, largest));
  bool found = !hn::AllFalse(d, nan);
  for (; i < n; ++i) {
    found |= std::isnan(x[i]);
    if (x[i] > result) result = x[i];
  }
  *any_nan = found;
  return result;
}

// First index in [begin, n) whose value is >= bound (kStrict: > bound), n if none. NaN never qualifies.
template <bool kStrict>
HWY_INLINE size_t FindFrom(const float* x, size_t begin, size_t n, float bound) {
  const FloatTag d;
  const FloatVec limit = hn::Set(d, bound);
  size_t i = begin;
  for (; i + kLanes <= n; i += kLanes) {
    const FloatVec v = hn::LoadU(d, x + i);
    const auto found = kStrict ? hn::Gt(v, limit) : hn::Ge(v, limit);
    if (HWY_UNLIKELY(!hn::AllFalse(d, found))) {
      return i + static_cast<size_t>(hn::FindFirstTrue(d, found));
    }
  }
  for (; i < n; ++i) {
    if (kStrict ? x[i] > bound : x[i] >= bound) return i;
  }
  return n;
}
size_t FindAtLeast(const float* x, size_t begin, size_t n, float bound) {
  return FindFrom<false>(x, begin, n, bound);
}
size_t FindAbove(const float* x, size_t begin, size_t n, float bound) {
  return FindFrom<true>(x, begin, n, bound);
}

// sum_i exp(x[i] - largest), largest finite and >= every x[i].
double SumOfExponentials(const float* x, size_t n, float largest) {
  const FloatTag d;
#if HWY_TARGET == HWY_SCALAR
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += hn::GetLane(hn::Exp(d, hn::Set(d, x[i] - largest)));
  return sum;
#else
  const hn::ScalableTag<double> wide;
  const hn::Rebind<float, hn::ScalableTag<double> > half;
  const FloatVec shift = hn::Set(d, largest);
  auto low_sum = hn::Zero(wide), high_sum = low_sum;
  const auto add = [&](FloatVec e) HWY_ATTR {
    low_sum = hn::Add(low_sum, hn::PromoteTo(wide, hn::LowerHalf(half, e)));
    high_sum = hn::Add(high_sum, hn::PromoteTo(wide, hn::UpperHalf(half, e)));
  };
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    add(hn::Exp(d, hn::Sub(hn::LoadU(d, x + i), shift)));
  }
  if (i < n) {
    const FloatVec e = hn::Exp(d, hn::Sub(LoadTail(d, x + i, n - i), shift));
    add(hn::IfThenElseZero(hn::FirstN(d, n - i), e));
  }
  return hn::GetLane(hn::SumOfLanes(wide, hn::Add(low_sum, high_sum)));
#endif
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {

HWY_EXPORT(MaxIgnoringNaN);
HWY_EXPORT(FindAtLeast);
HWY_EXPORT(FindAbove);
HWY_EXPORT(SumOfExponentials);

size_t ArgMax(const float* x, size_t n) noexcept {
  PLANISH_DCHECK(n > 0);
  bool any_nan = false;
  const float largest = HWY_DYNAMIC_DISPATCH(MaxIgnoringNaN)(x, n, &any_nan);
  const size_t index = HWY_DYNAMIC_DISPATCH(FindAtLeast)(x, 0, n, largest);
  return index < n ? index : 0;
}

double LogSumExp(const float* x, size_t n) noexcept {
  bool any_nan = false;
  const float largest = HWY_DYNAMIC_DISPATCH(MaxIgnoringNaN)(x, n, &any_nan);
  if (any_nan) return std::numeric_limits<double>::quiet_NaN();
  if (std::isinf(largest)) return largest;
  return largest + std::log(HWY_DYNAMIC_DISPATCH(SumOfExponentials)(x, n, largest));
}

void LogSoftmaxAt(const float* x, size_t n, std::span<const int32_t> indices,
                  double* out) noexcept {
  const double normaliser = LogSumExp(x, n);
  for (size_t k = 0; k < indices.size(); ++k) {
    PLANISH_DCHECK(indices[k] >= 0 && static_cast<size_t>(indices[k]) < n);
    out[k] = x[indices[k]] - normaliser;
  }
}

std::vector<int32_t> TopK(const float* x, size_t n, size_t k) {
  PLANISH_CHECK(n <= static_cast<size_t>(std::numeric_limits<int32_t>::max()), "n {}", n);
  k = std::min(k, n);
  std::vector<int32_t> best;
  if (k == 0) return best;
  best.reserve(k);
  const auto is_better = [x](int32_t a, int32_t b) {
    return x[a] > x[b] || (x[a] == x[b] && a < b);
  };
  // A heap whose front is the worst kept. Later indices lose ties, so only larger values replace it; in a row of
  // logits that soon becomes rare, and the search for the next one is a vector comparison.
  size_t i = 0;
  for (; i < n && best.size() < k; ++i) {
    if (!std::isnan(x[i])) best.push_back(static_cast<int32_t>(i));
  }
  std::make_heap(best.begin(), best.end(), is_better);
  if (best.size() == k) {
    while ((i = HWY_DYNAMIC_DISPATCH(FindAbove)(x, i, n, x[best.front()])) < n) {
      std::pop_heap(best.begin(), best.end(), is_better);
      best.back() = static_cast<int32_t>(i++);
      std::push_heap(best.begin(), best.end(), is_better);
    }
  }
  std::sort_heap(best.begin(), best.end(), is_better);
  for (size_t j = 0; best.size() < k; ++j) {
    if (std::isnan(x[j])) best.push_back(static_cast<int32_t>(j));
  }
  return best;
}

}  // namespace planish
#endif  // HWY_ONCE
