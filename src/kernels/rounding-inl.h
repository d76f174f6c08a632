// SPDX-License-Identifier: Apache-2.0
// Vectors of floats from and to bf16 in memory. Included once per target.
#if defined(PLANISH_KERNELS_ROUNDING_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PLANISH_KERNELS_ROUNDING_INL_H_
#undef PLANISH_KERNELS_ROUNDING_INL_H_
#else
#define PLANISH_KERNELS_ROUNDING_INL_H_
#endif

#include <cstdint>
#include <cstring>

#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

using Bf16WordTag = hn::Rebind<uint32_t, FloatTag>;
using Bf16HalfTag = hn::Rebind<uint16_t, FloatTag>;

// The bf16 nearest to each lane (ties to even), as float bits with zero lower halves. A NaN keeps its upper payload and is
// made quiet.
HWY_INLINE hn::Vec<Bf16WordTag> Bf16Bits(FloatVec v) {
  const FloatTag d;
  const Bf16WordTag words;
  const auto bits = hn::BitCast(words, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(words, 1u));
  const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(words, 0x7FFFu)));
  const auto quiet = hn::Or(bits, hn::Set(words, 0x00400000u));
  const auto is_nan = hn::RebindMask(words, hn::IsNaN(v));
  (void)d;
  return hn::And(hn::IfThenElse(is_nan, quiet, rounded), hn::Set(words, 0xFFFF0000u));
}

HWY_INLINE FloatVec RoundToBf16(FloatVec v) { return hn::BitCast(FloatTag(), Bf16Bits(v)); }

// Storage of T (float or uint16_t holding bf16) as float vectors, whole or the first `n` lanes.
HWY_INLINE FloatVec LoadAs(const float* p) { return hn::LoadU(FloatTag(), p); }
HWY_INLINE FloatVec LoadAs(const uint16_t* p) {
  const auto halves = hn::LoadU(Bf16HalfTag(), p);
  return hn::BitCast(FloatTag(), hn::ShiftLeft<16>(hn::PromoteTo(Bf16WordTag(), halves)));
}
HWY_INLINE void StoreAs(FloatVec v, float* p) { hn::StoreU(v, FloatTag(), p); }
HWY_INLINE void StoreAs(FloatVec v, uint16_t* p) {
  hn::StoreU(hn::DemoteTo(Bf16HalfTag(), hn::BitCast(hn::Rebind<int32_t, FloatTag>(),
                                                     hn::ShiftRight<16>(Bf16Bits(v)))),
             Bf16HalfTag(), p);
}
template <class T>
HWY_INLINE FloatVec LoadTailAs(const T* p, size_t n) {
  T lanes[kLanes] = {};
  std::memcpy(lanes, p, n * sizeof(T));
  return LoadAs(lanes);
}
template <class T>
HWY_INLINE void StoreTailAs(FloatVec v, T* p, size_t n) {
  T lanes[kLanes];
  StoreAs(v, lanes);
  std::memcpy(p, lanes, n * sizeof(T));
}

// body(i, load, store) over n elements, load(p) and store(v, p) for pointers of either type.
template <class Body>
HWY_INLINE void ForEachTyped(size_t n, const Body& body) {
  constexpr size_t lanes = kLanes;
  size_t i = 0;
  for (; i + lanes <= n; i += lanes)
    body(
        i, [](const auto* p) HWY_ATTR { return LoadAs(p); },
        [](FloatVec v, auto* p) HWY_ATTR { StoreAs(v, p); });
  if (i < n) {
    const size_t rest = n - i;
    body(
        i, [rest](const auto* p) HWY_ATTR { return LoadTailAs(p, rest); },
        [rest](FloatVec v, auto* p) HWY_ATTR { StoreTailAs(v, p, rest); });
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#endif  // PLANISH_KERNELS_ROUNDING_INL_H_
