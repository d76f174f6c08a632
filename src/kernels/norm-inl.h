// SPDX-License-Identifier: Apache-2.0
// One row, or one group of a row, of the norms of norm.h. Included once per target.
#if defined(PLANISH_KERNELS_NORM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PLANISH_KERNELS_NORM_INL_H_
#undef PLANISH_KERNELS_NORM_INL_H_
#else
#define PLANISH_KERNELS_NORM_INL_H_
#endif

#include <cmath>
#include <cstdint>

#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

// Sum over i of value(i, load)^2: four sums in turn, then across lanes; value is called in ascending i.
template <class Value>
HWY_INLINE float SumOfSquaresOf(size_t n, const Value& value) {
  const FloatTag d;
  constexpr size_t lanes = kLanes;
  const auto load = [d](const float* p) HWY_ATTR { return hn::LoadU(d, p); };
  const auto store = [d](FloatVec v, float* p) HWY_ATTR { hn::StoreU(v, d, p); };
  FloatVec sum0 = hn::Zero(d), sum1 = sum0, sum2 = sum0, sum3 = sum0;
  size_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    const FloatVec v0 = value(i, load, store), v1 = value(i + lanes, load, store),
                   v2 = value(i + 2 * lanes, load, store), v3 = value(i + 3 * lanes, load, store);
    sum0 = hn::MulAdd(v0, v0, sum0);
    sum1 = hn::MulAdd(v1, v1, sum1);
    sum2 = hn::MulAdd(v2, v2, sum2);
    sum3 = hn::MulAdd(v3, v3, sum3);
  }
  for (; i + lanes <= n; i += lanes) {
    const FloatVec v = value(i, load, store);
    sum0 = hn::MulAdd(v, v, sum0);
  }
  if (i < n) {
    const size_t rest = n - i;
    const FloatVec v = value(
        i, [d, rest](const float* p) HWY_ATTR { return LoadTail(d, p, rest); },
        [d, rest](FloatVec u, float* p) HWY_ATTR { StoreTail(d, u, p, rest); });
    sum1 = hn::MulAdd(v, v, sum1);
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3))));
}

HWY_INLINE float RmsFactor(float sum, size_t n, float eps) {
  return 1.0f / std::sqrt(sum / static_cast<float>(n) + eps);
}

// y = x w / sqrt(sum / n + eps); y may be x.
HWY_INLINE void ScaleByRms(const float* x, const float* w, float sum, size_t n, float eps,
                           float* y) {
  const FloatTag d;
  const FloatVec r = hn::Set(d, RmsFactor(sum, n, eps));
  ForEachVector(n, [=](size_t i, auto load, auto store)
                       HWY_ATTR { store(hn::Mul(hn::Mul(load(x + i), r), load(w + i)), y + i); });
}

HWY_INLINE void NormOneRow(const float* x, const float* w, size_t n, float eps, float* y) {
  const float sum =
      SumOfSquaresOf(n, [=](size_t i, auto load, auto) HWY_ATTR { return load(x + i); });
  ScaleByRms(x, w, sum, n, eps, y);
}

// u = y silu(z) of one group of one row; u may be y or z. Returns the sum of its squares.
HWY_INLINE float GateGroup(const float* y, const float* z, size_t n, float* u) {
  const FloatTag d;
  return SumOfSquaresOf(n, [=](size_t i, auto load, auto store) HWY_ATTR {
    const FloatVec gated = hn::Mul(load(y + i), SiluOf(d, load(z + i)));
    store(gated, u + i);
    return gated;
  });
}

// One group of one row. u goes through `out`, which may be y or z: each element is read before it is written.
[[maybe_unused]] void GatedNormGroup(const float* y, const float* z, const float* w, size_t n,
                                     float eps, float* out) {
  ScaleByRms(out, w, GateGroup(y, z, n, out), n, eps, out);
}

// The same with u in y, and `out` written past the caches: for outputs that no cache keeps for their reader.
[[maybe_unused]] void GatedNormGroupPastCaches(float* y, const float* z, const float* w, size_t n,
                                               float eps, float* out) {
  const FloatTag d;
  const float sum = GateGroup(y, z, n, y);
  constexpr size_t kVectorBytes = kLanes * sizeof(float);
  if (n % kLanes != 0 || reinterpret_cast<uintptr_t>(out) % kVectorBytes != 0)
    return ScaleByRms(y, w, sum, n, eps, out);
  const FloatVec r = hn::Set(d, RmsFactor(sum, n, eps));
  for (size_t i = 0; i < n; i += kLanes)
    hn::Stream(hn::Mul(hn::Mul(hn::LoadU(d, y + i), r), hn::LoadU(d, w + i)), d, out + i);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#endif  // PLANISH_KERNELS_NORM_INL_H_
