// SPDX-License-Identifier: Apache-2.0
#include "kernels/adamw.h"

#include <algorithm>
#include <cmath>

#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/adamw.cc"
#include "hwy/foreach_target.h"
#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

HWY_INLINE FloatVec LoadMoment(FloatTag d, const float* m) { return hn::LoadU(d, m); }
HWY_INLINE void StoreMoment(FloatTag d, FloatVec value, float* m) { hn::StoreU(value, d, m); }

HWY_INLINE FloatVec LoadMoment(FloatTag d, const uint16_t* m) {
  const hn::Repartition<uint32_t, FloatTag> du;
  const hn::Rebind<uint16_t, FloatTag> dh;
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(du, hn::LoadU(dh, m))));
}
HWY_INLINE void StoreMoment(FloatTag, FloatVec value, uint16_t* m) {
  const hn::Repartition<uint32_t, FloatTag> du;
  const hn::Repartition<int32_t, FloatTag> di;
  const hn::Rebind<uint16_t, FloatTag> dh;
  const auto bits = hn::BitCast(du, value);
  const auto last_kept = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(hn::Set(du, 0x7FFFu), last_kept)));
  hn::StoreU(hn::DemoteTo(dh, hn::BitCast(di, rounded)), dh, m);
}

struct Constants {
  explicit Constants(const AdamWStep& step)
      : grad_scale(hn::Set(FloatTag(), step.grad_scale)),
        beta1(hn::Set(FloatTag(), step.beta1)),
        one_minus_beta1(hn::Set(FloatTag(), step.one_minus_beta1)),
        beta2(hn::Set(FloatTag(), step.beta2)),
        one_minus_beta2(hn::Set(FloatTag(), step.one_minus_beta2)),
        epsilon(hn::Set(FloatTag(), step.epsilon)),
        step_size(hn::Set(FloatTag(), step.step_size)),
        second_correction(hn::Set(FloatTag(), step.second_correction)),
        decay(hn::Set(FloatTag(), step.decay)) {}
  FloatVec grad_scale, beta1, one_minus_beta1, beta2, one_minus_beta2, epsilon, step_size,
      second_correction, decay;
};

// One vector of elements.
template <typename Moment>
HWY_INLINE void Update(const Constants& c, const float* grad, float* value, Moment* m, float* v) {
  const FloatTag d;
  const FloatVec g = hn::Mul(hn::LoadU(d, grad), c.grad_scale);
  const FloatVec first = hn::MulAdd(c.beta1, LoadMoment(d, m), hn::Mul(c.one_minus_beta1, g));
  const FloatVec second =
      hn::MulAdd(c.beta2, hn::LoadU(d, v), hn::Mul(hn::Mul(c.one_minus_beta2, g), g));
  const FloatVec root = hn::MulAdd(hn::Sqrt(second), c.second_correction, c.epsilon);
  const FloatVec old = hn::LoadU(d, value);
  const FloatVec change = hn::MulAdd(c.decay, old, hn::Div(hn::Mul(c.step_size, first), root));
  hn::StoreU(hn::Sub(old, change), d, value);
  StoreMoment(d, first, m);
  hn::StoreU(second, d, v);
}

template <typename Moment>
void UpdateAll(const AdamWStep& step, const float* grad, size_t n, float* value, Moment* m,
               float* v) {
  const Constants constants(step);
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Update(constants, grad + i, value + i, m + i, v + i);
  const size_t rest = n - i;
  if (rest == 0) return;
  // The same instructions over a copy, so that an element's place does not show in its bits.
  float grads[kLanes] = {}, values[kLanes] = {}, seconds[kLanes] = {};
  Moment moments[kLanes] = {};
  std::copy_n(grad + i, rest, grads);
  std::copy_n(value + i, rest, values);
  std::copy_n(m + i, rest, moments);
  std::copy_n(v + i, rest, seconds);
  Update(constants, grads, values, moments, seconds);
  std::copy_n(values, rest, value + i);
  std::copy_n(moments, rest, m + i);
  std::copy_n(seconds, rest, v + i);
}

void UpdateF32(const AdamWStep& step, const float* grad, size_t n, float* value, float* m,
               float* v) {
  UpdateAll(step, grad, n, value, m, v);
}
void UpdateBf16(const AdamWStep& step, const float* grad, size_t n, float* value, uint16_t* m,
                float* v) {
  UpdateAll(step, grad, n, value, m, v);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {

HWY_EXPORT(UpdateF32);
HWY_EXPORT(UpdateBf16);

AdamWStep MakeAdamWStep(const AdamWConstants& constants, uint64_t k, double lr, double weight_decay,
                        double grad_scale) {
  const double steps = static_cast<double>(k);
  return {.grad_scale = static_cast<float>(grad_scale),
          .beta1 = static_cast<float>(constants.beta1),
          .one_minus_beta1 = static_cast<float>(1.0 - constants.beta1),
          .beta2 = static_cast<float>(constants.beta2),
          .one_minus_beta2 = static_cast<float>(1.0 - constants.beta2),
          .epsilon = static_cast<float>(constants.epsilon),
          .step_size = static_cast<float>(lr / (1.0 - std::pow(constants.beta1, steps))),
          .second_correction =
              static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(constants.beta2, steps))),
          .decay = static_cast<float>(lr * weight_decay)};
}

void AdamW(const AdamWStep& step, const float* grad, size_t n, float* value, float* m,
           float* v) noexcept {
  HWY_DYNAMIC_DISPATCH(UpdateF32)(step, grad, n, value, m, v);
}
void AdamW(const AdamWStep& step, const float* grad, size_t n, float* value, uint16_t* m,
           float* v) noexcept {
  HWY_DYNAMIC_DISPATCH(UpdateBf16)(step, grad, n, value, m, v);
}

}  // namespace planish
#endif  // HWY_ONCE
