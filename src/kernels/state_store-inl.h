// SPDX-License-Identifier: Apache-2.0
// How a recurrent state lies in memory: float, or bf16 with stochastic rounding (a state that decays by less than half a
// bf16 step a token would never decay under rounding to nearest). The random bits are a function of (position, head,
// element) alone, so results stay reproducible. Included once per target.
#if defined(PLANISH_KERNELS_STATE_STORE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PLANISH_KERNELS_STATE_STORE_INL_H_
#undef PLANISH_KERNELS_STATE_STORE_INL_H_
#else
#define PLANISH_KERNELS_STATE_STORE_INL_H_
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "hwy/cache_control.h"
#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

using WordTag = hn::Rebind<uint32_t, FloatTag>;
using WordVec = hn::Vec<WordTag>;
using HalfTag = hn::Rebind<uint16_t, FloatTag>;

// A stream of random 16-bit numbers in every lane: a counter in golden-ratio steps whose lanes start at hashed places, each
// value stirred once. (The multiplication stands outside the chain from one number to the next.)
class RoundingNoise {
 public:
  HWY_INLINE RoundingNoise(size_t position, size_t head) {
    const WordTag d;
    const uint32_t key =
        static_cast<uint32_t>(position) * 0x9E3779B9u + static_cast<uint32_t>(head) * 0x85EBCA6Bu;
    state_ = Mix(hn::Add(hn::Set(d, key), hn::Mul(hn::Iota(d, 1), hn::Set(d, 0xC2B2AE35u))));
  }
  HWY_INLINE WordVec Next() {
    const WordTag d;
    state_ = hn::Add(state_, hn::Set(d, 0x9E3779B9u));
    const WordVec stirred = hn::Xor(state_, hn::ShiftRight<15>(state_));
    return hn::ShiftRight<16>(hn::Mul(stirred, hn::Set(d, 0x2C1B3C6Du)));
  }

 private:
  // The finaliser of MurmurHash3: every bit of the key moves every bit of the result.
  static HWY_INLINE WordVec Mix(WordVec v) {
    const WordTag d;
    v = hn::Mul(hn::Xor(v, hn::ShiftRight<16>(v)), hn::Set(d, 0x85EBCA6Bu));
    v = hn::Mul(hn::Xor(v, hn::ShiftRight<13>(v)), hn::Set(d, 0xC2B2AE35u));
    return hn::Xor(v, hn::ShiftRight<16>(v));
  }
  WordVec state_;
};

class FloatState {
 public:
  explicit HWY_INLINE FloatState(float* s) : s_(s) {}
  HWY_INLINE FloatVec Load(size_t i) const { return hn::LoadU(FloatTag(), s_ + i); }
  HWY_INLINE void Store(FloatVec v, size_t i) { hn::StoreU(v, FloatTag(), s_ + i); }
  HWY_INLINE void Prefetch(size_t i, size_t bytes) const {
    hwy::Prefetch(reinterpret_cast<const char*>(s_ + i) + bytes);
  }

 private:
  float* s_;
};

class Bf16State {
 public:
  HWY_INLINE Bf16State(uint16_t* s, const RoundingNoise& noise) : s_(s), noise_(noise) {}
  HWY_INLINE FloatVec Load(size_t i) const {
    const WordTag words;
    const auto halves = hn::LoadU(HalfTag(), s_ + i);
    return hn::BitCast(FloatTag(), hn::ShiftLeft<16>(hn::PromoteTo(words, halves)));
  }
  // Up with the probability of the discarded fraction. Infinities stay (their fraction is zero, and noise is below one
  // step); a NaN whose upper payload bits are all ones could wrap, which no operation produces.
  HWY_INLINE void Store(FloatVec v, size_t i) {
    const WordTag words;
    const WordVec rounded = hn::Add(hn::BitCast(words, v), noise_.Next());
    hn::StoreU(Upper(rounded), HalfTag(), s_ + i);
  }
  HWY_INLINE void Prefetch(size_t i, size_t bytes) const {
    hwy::Prefetch(reinterpret_cast<const char*>(s_ + i) + bytes);
  }

 private:
  static HWY_INLINE hn::Vec<HalfTag> Upper(WordVec v) {
    return hn::TruncateTo(HalfTag(), hn::ShiftRight<16>(v));
  }
  uint16_t* s_;
  RoundingNoise noise_;
};

// rows x columns floats from one row stride to another; beyond the columns nothing is touched.
HWY_INLINE void CopyRows(const float* from, size_t from_stride, size_t columns, size_t rows,
                         float* to, size_t to_stride) {
  for (size_t i = 0; i < rows; ++i)
    std::memcpy(to + i * to_stride, from + i * from_stride, columns * sizeof(float));
}

// A bf16 state [N, P] to floats [N, width], width: P in whole vectors; and back.
HWY_INLINE void WidenState(const uint16_t* stored, size_t N, size_t P, float* state, size_t width) {
  const size_t whole = P / kLanes * kLanes;
  for (size_t n = 0; n < N; ++n, stored += P, state += width) {
    for (size_t p = 0; p < whole; p += kLanes) {
      hn::StoreU(hn::BitCast(FloatTag(), hn::ShiftLeft<16>(hn::PromoteTo(
                                             WordTag(), hn::LoadU(HalfTag(), stored + p)))),
                 FloatTag(), state + p);
    }
    for (size_t p = whole; p < P; ++p) {
      const uint32_t bits = static_cast<uint32_t>(stored[p]) << 16;
      std::memcpy(state + p, &bits, sizeof(bits));
    }
  }
}

HWY_INLINE void RoundState(const float* state, size_t width, size_t N, size_t P,
                           RoundingNoise noise, uint16_t* stored) {
  HWY_ALIGN uint16_t halves[kLanes];
  const size_t whole = P / kLanes * kLanes;
  const auto next = [&](const float* from) HWY_ATTR {
    const WordVec bits = hn::Add(hn::BitCast(WordTag(), hn::LoadU(FloatTag(), from)), noise.Next());
    return hn::TruncateTo(HalfTag(), hn::ShiftRight<16>(bits));
  };
  for (size_t n = 0; n < N; ++n, stored += P, state += width) {
    for (size_t p = 0; p < whole; p += kLanes) hn::StoreU(next(state + p), HalfTag(), stored + p);
    if (whole == P) continue;
    hn::Store(next(state + whole), HalfTag(), halves);
    std::memcpy(stored + whole, halves, (P - whole) * sizeof(uint16_t));
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#endif  // PLANISH_KERNELS_STATE_STORE_INL_H_
