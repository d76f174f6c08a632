// SPDX-License-Identifier: Apache-2.0
// AdamW against its formula in double under a computed bound, tails, bf16 moments, bias corrections.
#include "kernels/adamw.h"

#include "kernels/kernel_testing.h"
#include "tensor/dtype.h"

namespace planish {
namespace {

struct State {
  std::vector<float> grad, value, m, v;
};

State RandomState(size_t n, uint64_t seed) {
  Random random(seed);
  State state{RandomFloats(random, n, 1e3), RandomFloats(random, n), RandomFloats(random, n, 1e-2),
              RandomFloats(random, n, 1e-2)};
  for (float& v : state.v) v *= v;
  if (n > 3) {  // the first step of a run, and of a parameter that saw no gradient yet
    state.m[1] = state.v[1] = 0;
    state.m[2] = state.v[2] = state.grad[2] = 0;
  }
  return state;
}

const AdamWStep kStep = MakeAdamWStep({.beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8}, 7, 3e-3, 0.1,
                                      /*grad_scale=*/1e-5);

// The formula on the step's own constants, with a bound for each result. Roundings counted in units of `u`, doubled for
// levels without a fused multiply-add.
struct Expected {
  std::vector<double> value, m, v, value_bound, m_bound, v_bound;
};
Expected Reference(const AdamWStep& step, const State& s) {
  Expected want;
  constexpr double u = 2 * kRoundoff;
  for (size_t i = 0; i < s.grad.size(); ++i) {
    const double g = double{s.grad[i]} * step.grad_scale;
    const double m = double{step.beta1} * s.m[i] + double{step.one_minus_beta1} * g;
    const double v = double{step.beta2} * s.v[i] + double{step.one_minus_beta2} * g * g;
    const double root = std::sqrt(v) * step.second_correction + step.epsilon;
    const double adam = step.step_size * m / root, decay = double{step.decay} * s.value[i];
    const double m_bound =
        3 * u * (std::abs(double{step.beta1} * s.m[i]) + std::abs(step.one_minus_beta1 * g));
    want.m.push_back(m);
    want.m_bound.push_back(m_bound);
    want.v.push_back(v);
    want.v_bound.push_back(5 * u * v);
    want.value.push_back(s.value[i] - (adam + decay));
    // root is off by 5u relatively (half of v's error, a square root, a product, a sum), the quotient by 2u more.
    want.value_bound.push_back(step.step_size * m_bound / root + 7 * u * std::abs(adam) +
                               2 * u * (std::abs(adam) + std::abs(decay)) +
                               u * std::abs(s.value[i]));
  }
  return want;
}

void ExpectNear(const State& got, const Expected& want) {
  ExpectWithin(
      got.value.data(), want.value, [&](size_t i) { return want.value_bound[i]; }, "value");
  ExpectWithin(
      got.m.data(), want.m, [&](size_t i) { return want.m_bound[i]; }, "m");
  ExpectWithin(
      got.v.data(), want.v, [&](size_t i) { return want.v_bound[i]; }, "v");
}

TEST(AdamW, FollowsTheFormulaAtEverySizeAndLevel) {
  ForEachSimdLevel([] {
    AdamW(kStep, nullptr, 0, nullptr, static_cast<float*>(nullptr), nullptr);
    for (const size_t n : kTestSizes) {
      State state = RandomState(n, n);
      const Expected want = Reference(kStep, state);
      AdamW(kStep, state.grad.data(), n, state.value.data(), state.m.data(), state.v.data());
      ExpectNear(state, want);
    }
  });
}

TEST(AdamW, AnElementsBitsDoNotDependOnItsPlaceNorDoOthersChange) {
  ForEachSimdLevel([] {
    const size_t n = 133;
    const State start = RandomState(n, 5);
    State whole = start;
    AdamW(kStep, whole.grad.data(), n, whole.value.data(), whole.m.data(), whole.v.data());
    for (const size_t cut : {1, 3, 16, 31, 100, 132}) {  // unaligned pieces with tails
      State parts = start;
      for (size_t begin = 0; begin < n; begin += cut) {
        const size_t count = std::min(cut, n - begin);
        AdamW(kStep, parts.grad.data() + begin, count, parts.value.data() + begin,
              parts.m.data() + begin, parts.v.data() + begin);
      }
      ExpectSameBits(parts.value, whole.value, "value");
      ExpectSameBits(parts.m, whole.m, "m");
      ExpectSameBits(parts.v, whole.v, "v");
    }
    State one = start;
    AdamW(kStep, one.grad.data(), 5, one.value.data(), one.m.data(), one.v.data());
    for (size_t i = 5; i < n; ++i) {
      ASSERT_EQ(one.value[i], start.value[i]);
      ASSERT_EQ(one.m[i], start.m[i]);
      ASSERT_EQ(one.v[i], start.v[i]);
    }
  });
}

TEST(AdamW, Bf16MomentsAreRoundedToNearestEvenAfterTheStep) {
  ForEachSimdLevel([] {
    for (const size_t n : kTestSizes) {
      State state = RandomState(n, n + 100);
      std::vector<uint16_t> m(n);
      for (size_t i = 0; i < n; ++i) {
        m[i] = BF16FromFloat(state.m[i]);
        state.m[i] = FloatFromBF16(m[i]);
      }
      State twin = state;  // the same step with float moments
      AdamW(kStep, twin.grad.data(), n, twin.value.data(), twin.m.data(), twin.v.data());
      AdamW(kStep, state.grad.data(), n, state.value.data(), m.data(), state.v.data());
      ExpectSameBits(state.value, twin.value, "value");
      ExpectSameBits(state.v, twin.v, "v");
      for (size_t i = 0; i < n; ++i) ASSERT_EQ(m[i], BF16FromFloat(twin.m[i])) << i << " of " << n;
    }
  });
}

TEST(AdamW, ConstantsFollowTheBiasCorrections) {
  const double lr = 1e-3, wd = 0.1;
  for (const uint64_t k : {1, 2, 10, 1000, 1000000}) {
    const AdamWStep step =
        MakeAdamWStep({.beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8}, k, lr, wd, 0.5);
    double power1 = 1, power2 = 1;
    for (uint64_t i = 0; i < std::min<uint64_t>(k, 5000); ++i) {
      power1 *= 0.9;
      power2 *= 0.95;
    }
    EXPECT_NEAR(step.step_size, lr / (1 - power1), 1e-7 * lr / (1 - power1)) << k;
    EXPECT_NEAR(step.second_correction, 1 / std::sqrt(1 - power2), 1e-6) << k;
    EXPECT_FLOAT_EQ(step.decay, static_cast<float>(lr * wd));
    EXPECT_FLOAT_EQ(step.one_minus_beta2, 0.05f);  // not 1 - 0.95f
    EXPECT_EQ(step.grad_scale, 0.5f);
  }
}

TEST(AdamW, TheFirstStepMovesByTheRateAgainstTheSignOfTheGradient) {
  const AdamWStep step = MakeAdamWStep({}, 1, 0.01, 0.0, 1.0);
  float grad[] = {3e-3f, -5.0f, 0.0f}, value[] = {1.0f, 1.0f, 1.0f}, m[3] = {}, v[3] = {};
  AdamW(step, grad, 3, value, m, v);
  EXPECT_NEAR(value[0], 0.99f, 1e-6);
  EXPECT_NEAR(value[1], 1.01f, 1e-6);
  EXPECT_EQ(value[2], 1.0f);
}

}  // namespace
}  // namespace planish
