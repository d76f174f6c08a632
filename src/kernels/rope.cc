// SPDX-License-Identifier: Apache-2.0
// Rotary position embedding; see rope.h.
#include "kernels/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "base/parallel.h"
#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rope.cc"
#include "hwy/foreach_target.h"
#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

// One token: x: [heads, head_dim]; cosine, sine: [half].
void RotateHeads(float* x, size_t heads, size_t head_dim, const float* cosine, const float* sine,
                 size_t half) {
  for (size_t head = 0; head < heads; ++head, x += head_dim) {
    ForEachVector(half, [=](size_t i, auto load, auto store) HWY_ATTR {
      const FloatVec a = load(x + i), b = load(x + half + i);
      const FloatVec c = load(cosine + i), s = load(sine + i);
      store(hn::NegMulAdd(b, s, hn::Mul(a, c)), x + i);
      store(hn::MulAdd(a, s, hn::Mul(b, c)), x + half + i);
    });
  }
}

// By the negative angle.
void RotateHeadsBack(float* x, size_t heads, size_t head_dim, const float* cosine,
                     const float* sine, size_t half) {
  for (size_t head = 0; head < heads; ++head, x += head_dim) {
    ForEachVector(half, [=](size_t i, auto load, auto store) HWY_ATTR {
      const FloatVec a = load(x + i), b = load(x + half + i);
      const FloatVec c = load(cosine + i), s = load(sine + i);
      store(hn::MulAdd(b, s, hn::Mul(a, c)), x + i);
      store(hn::NegMulAdd(a, s, hn::Mul(b, c)), x + half + i);
    });
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {

HWY_EXPORT(RotateHeads);
HWY_EXPORT(RotateHeadsBack);

std::vector<float> RopeInverseFrequencies(size_t rotary_dim, double theta,
                                          const RopeScaling& scaling) {
  PLANISH_CHECK(rotary_dim % 2 == 0, "rotary_dim {}", rotary_dim);
  std::vector<float> frequencies(rotary_dim / 2);
  const float factor = static_cast<float>(scaling.factor);
  const float low = static_cast<float>(scaling.low_freq_factor);
  const float high = static_cast<float>(scaling.high_freq_factor);
  const float original = static_cast<float>(scaling.original_max_position);
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(rotary_dim);
    float f = 1.0f / static_cast<float>(std::pow(theta, static_cast<double>(exponent)));
    if (scaling.kind == RopeScaling::Kind::kLinear) {
      f /= factor;
    } else if (scaling.kind == RopeScaling::Kind::kLlama3) {
      const float wavelength = static_cast<float>(2 * std::numbers::pi) / f;
      if (wavelength > original / low) {
        f /= factor;
      } else if (wavelength >= original / high) {
        const float smooth = (original / wavelength - low) / (high - low);
        f = (1.0f - smooth) * f / factor + smooth * f;
      }
    }
    frequencies[i] = f;
  }
  return frequencies;
}

std::vector<float> RopeTable(std::span<const float> inv_freq, const int32_t* positions, size_t T) {
  const size_t half = inv_freq.size();
  std::vector<float> table(T * 2 * half);
  // A pair of double-precision sine and cosine costs some 40 ns, so 16 tokens are a few tens of microseconds.
  constexpr size_t kTaskTokens = 16;
  ParallelFor((T + kTaskTokens - 1) / kTaskTokens, [&](size_t task, int) {
    const size_t end = std::min(T, (task + 1) * kTaskTokens);
    for (size_t t = task * kTaskTokens; t < end; ++t) {
      float* cosine = table.data() + t * 2 * half;
      for (size_t i = 0; i < half; ++i) {
        // The angle is a float as in the oracle; double arguments keep the reduction exact at large angles.
        const double angle = static_cast<float>(positions[t]) * inv_freq[i];
        cosine[i] = static_cast<float>(std::cos(angle));
        cosine[half + i] = static_cast<float>(std::sin(angle));
      }
    }
  });
  return table;
}

std::span<const float> RopeTableCache::Get(std::span<const float> inv_freq,
                                           std::span<const int32_t> positions) {
  if (!std::ranges::equal(positions, positions_) || !std::ranges::equal(inv_freq, inv_freq_)) {
    table_ = RopeTable(inv_freq, positions.data(), positions.size());
    positions_.assign(positions.begin(), positions.end());
    inv_freq_.assign(inv_freq.begin(), inv_freq.end());
  }
  return table_;
}

void ApplyRope(float* x, size_t stride, size_t T, size_t heads, size_t head_dim, const float* table,
               size_t half) noexcept {
  PLANISH_DCHECK(2 * half <= head_dim);
  for (size_t t = 0; t < T; ++t) {
    const float* cosine = table + t * 2 * half;
    HWY_DYNAMIC_DISPATCH(RotateHeads)
    (x + t * stride, heads, head_dim, cosine, cosine + half, half);
  }
}

void ApplyRopeBackward(float* dx, size_t stride, size_t T, size_t heads, size_t head_dim,
                       const float* table, size_t half) noexcept {
  PLANISH_DCHECK(2 * half <= head_dim);
  for (size_t t = 0; t < T; ++t) {
    const float* cosine = table + t * 2 * half;
    HWY_DYNAMIC_DISPATCH(RotateHeadsBack)
    (dx + t * stride, heads, head_dim, cosine, cosine + half, half);
  }
}

}  // namespace planish
#endif  // HWY_ONCE
