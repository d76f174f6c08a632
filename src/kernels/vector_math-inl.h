// SPDX-License-Identifier: Apache-2.0
// SIMD helpers shared by the float kernels: loads and stores of fewer lanes than a vector that touch no byte beyond
// them, SiLU, and sums of many vectors at once. Included by kernels/*.cc only, once per target (hence the guard).
#if defined(PLANISH_KERNELS_VECTOR_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PLANISH_KERNELS_VECTOR_MATH_INL_H_
#undef PLANISH_KERNELS_VECTOR_MATH_INL_H_
#else
#define PLANISH_KERNELS_VECTOR_MATH_INL_H_
#endif

#include <cstddef>

#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using FloatVec = hn::Vec<FloatTag>;
inline constexpr size_t kLanes = HWY_LANES(float);  // exact: see simd_targets.h

// count < Lanes(d) floats from p, zeros above. Masked loads of older targets read the whole vector, so those copy.
HWY_INLINE FloatVec LoadTail(FloatTag d, const float* p, size_t count) {
#if HWY_TARGET <= HWY_AVX2
  return hn::MaskedLoad(hn::FirstN(d, count), d, p);
#else
  HWY_ALIGN float lanes[kLanes] = {};
  for (size_t i = 0; i < count; ++i) lanes[i] = p[i];
  return hn::Load(d, lanes);
#endif
}

HWY_INLINE void StoreTail(FloatTag d, FloatVec v, float* p, size_t count) {
#if HWY_TARGET <= HWY_AVX2
  hn::BlendedStore(v, hn::FirstN(d, count), d, p);
#else
  HWY_ALIGN float lanes[kLanes];
  hn::Store(v, d, lanes);
  for (size_t i = 0; i < count; ++i) p[i] = lanes[i];
#endif
}

// Calls op(vector of inputs..., index) over [0, n); `op` loads through `load(p)` and stores through `store(v, p)`, which
// are whole vectors inside and partial ones at the end.
template <class Op>
HWY_INLINE void ForEachVector(size_t n, const Op& op) {
  const FloatTag d;
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    op(
        i, [d](const float* p) HWY_ATTR { return hn::LoadU(d, p); },
        [d](FloatVec v, float* p) HWY_ATTR { hn::StoreU(v, d, p); });
  }
  if (i < n) {
    const size_t rest = n - i;
    op(
        i, [d, rest](const float* p) HWY_ATTR { return LoadTail(d, p, rest); },
        [d, rest](FloatVec v, float* p) HWY_ATTR { StoreTail(d, v, p, rest); });
  }
}

// exp(x) for |x| <= 86, its value at the border beyond (NaN included); within 1.5 ulp. Half the instructions of hn::Exp:
// x = n ln 2 + r with |r| <= ln(2)/2, a polynomial of least relative error in r (our own fit, 2^-28.9), and n added to the
// exponent's bits.
HWY_INLINE FloatVec ClampedExp(FloatTag d, FloatVec x) {
  const hn::RebindToSigned<FloatTag> di;
  x = hn::Min(hn::Max(x, hn::Set(d, -86.0f)), hn::Set(d, 86.0f));
  const FloatVec magic =
      hn::Set(d, 12582912.0f);  // 1.5 * 2^23: n stands in the low bits of the sum
  const FloatVec shifted = hn::MulAdd(x, hn::Set(d, 1.44269504f), magic);
  const FloatVec n = hn::Sub(shifted, magic);
  FloatVec r = hn::NegMulAdd(n, hn::Set(d, 0.693359375f), x);
  r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4f), r);
  FloatVec p = hn::MulAdd(hn::Set(d, 0.001384364441f), r, hn::Set(d, 0.008374163881f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.04166800156f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.1666643173f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.4999999404f));
  p = hn::MulAdd(hn::Mul(p, r), r, hn::Add(r, hn::Set(d, 1.0f)));
  return hn::BitCast(d, hn::Add(hn::BitCast(di, p), hn::ShiftLeft<23>(hn::BitCast(di, shifted))));
}

// 1 / x for x in [1, 2^125].
HWY_INLINE FloatVec ReciprocalOf(FloatTag d, FloatVec x) {
#if HWY_TARGET <= HWY_AVX3
  // 14 bits, doubled by a Newton step: a division takes 16 cycles a vector.
  const FloatVec guess = hn::ApproximateReciprocal(x);
  return hn::MulAdd(guess, hn::NegMulAdd(x, guess, hn::Set(d, 1.0f)), guess);
#else
  return hn::Div(hn::Set(d, 1.0f), x);
#endif
}

// 1 / (1 + exp(-x)); not NaN for NaN.
HWY_INLINE FloatVec SigmoidOf(FloatTag d, FloatVec x) {
  return ReciprocalOf(d, hn::Add(ClampedExp(d, hn::Neg(x)), hn::Set(d, 1.0f)));
}

// x / (1 + exp(-x)); -0 below -86, where the true value is under 4e-36. NaN stays NaN.
HWY_INLINE FloatVec SiluOf(FloatTag d, FloatVec x) {
  const FloatVec e = ClampedExp(d, hn::Neg(x));
  const FloatVec sigmoid = ReciprocalOf(d, hn::Add(e, hn::Set(d, 1.0f)));
  return hn::Mul(x, hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -86.0f)), sigmoid));
}

// log(1 + exp(x)), x itself above 20 (there they differ by less than a rounding). NaN stays NaN: Exp would hide it.
HWY_INLINE FloatVec SoftplusOf(FloatTag d, FloatVec x) {
  const FloatVec threshold = hn::Set(d, 20.0f);
  const FloatVec soft = hn::Log1p(d, hn::Exp(d, hn::Min(x, threshold)));
  return hn::IfThenElse(hn::Le(x, threshold), soft, x);
}

#if HWY_TARGET == HWY_SCALAR
HWY_INLINE FloatVec SumEach(FloatTag d, const float* vectors, size_t) {
  return hn::LoadU(d, vectors);
}
#else
// Both halves of the lanes added in neighbouring pairs: sums of lo in the lower half, of hi in the upper half.
HWY_INLINE FloatVec PairSums(FloatTag d, FloatVec hi, FloatVec lo) {
  return hn::Add(hn::ConcatEven(d, hi, lo), hn::ConcatOdd(d, hi, lo));
}

// Lane i of the result is the sum of the lanes of the vector at vectors + i * stride, for Lanes(d) vectors. Each sum is
// the same balanced tree over neighbouring lanes wherever it stands, so its bits do not depend on the other vectors.
HWY_INLINE FloatVec SumEach(FloatTag d, const float* vectors, size_t stride) {
  FloatVec sums[kLanes / 2];
#pragma GCC unroll 16
  for (size_t i = 0; i < kLanes / 2; ++i) {
    sums[i] = PairSums(d, hn::LoadU(d, vectors + (2 * i + 1) * stride),
                       hn::LoadU(d, vectors + 2 * i * stride));
  }
#pragma GCC unroll 16
  for (size_t count = kLanes / 4; count >= 1; count /= 2) {
#pragma GCC unroll 16
    for (size_t i = 0; i < count; ++i) sums[i] = PairSums(d, sums[2 * i + 1], sums[2 * i]);
  }
  return sums[0];
}
#endif

// Row lengths in scratch are rounded up to whole vectors.
HWY_INLINE size_t PaddedColumns(size_t columns) { return (columns + kLanes - 1) / kLanes * kLanes; }

}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#endif  // PLANISH_KERNELS_VECTOR_MATH_INL_H_
