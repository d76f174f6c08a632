// SPDX-License-Identifier: Apache-2.0
// Divergences and their gradients against the formula in double. Bounds: an exponential is off by 1.5 ulp and by the roundings
// of (x - max) / tau, three half ulps of it; sums of at most 1024 floats as in cross_entropy_test.cc.
#include "kernels/distillation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/kernel_testing.h"
#include "tensor/dtype.h"

namespace planish {
namespace {

// log softmax(x / tau) in double.
std::vector<double> LogSoftmax(const float* x, size_t V, double tau) {
  double max = -INFINITY, sum = 0;
  std::vector<double> log_p(V);
  for (size_t v = 0; v < V; ++v) max = std::max(max, x[v] / tau);
  for (size_t v = 0; v < V; ++v) sum += std::exp(x[v] / tau - max);
  for (size_t v = 0; v < V; ++v) log_p[v] = x[v] / tau - max - std::log(sum);
  return log_p;
}

double Spread(const float* x, size_t V, double tau) {
  const auto [low, high] = std::minmax_element(x, x + V);
  return std::min((static_cast<double>(*high) - *low) / tau, 86.0);
}

struct Wanted {
  DistillationRow row;
  double forward_bound = 0, reverse_bound = 0, ce_bound = 0, teacher_bound = 0, loss_bound = 0;
  std::vector<double> gradient, bound;
};

Wanted Formula(const float* x, const float* y, size_t V, size_t target,
               const DistillationTerms& terms) {
  const double tau = terms.temperature;
  const std::vector<double> log_q = LogSoftmax(x, V, tau), log_p = LogSoftmax(y, V, tau),
                            log_one = LogSoftmax(x, V, 1);
  const double spread = std::max({Spread(x, V, tau), Spread(y, V, tau), Spread(x, V, 1)});
  const double relative = (3 * spread + 3 + 74) * kRoundoff;
  const double lost = 200 * static_cast<double>(V) * std::exp(-86.0);
  Wanted wanted;
  double f_size = 0, r_size = 0;
  for (size_t v = 0; v < V; ++v) {
    const double p = std::exp(log_p[v]), q = std::exp(log_q[v]), ratio = log_p[v] - log_q[v];
    const double places = std::abs(log_p[v]) + std::abs(log_q[v]);
    wanted.row.forward += p * ratio;
    wanted.row.reverse -= q * ratio;
    f_size += p * (std::abs(ratio) * 2 * relative + 6 * kRoundoff * (places + 4));
    r_size += q * (std::abs(ratio) * 2 * relative + 6 * kRoundoff * (places + 4));
  }
  wanted.row.ce = -log_one[target];
  wanted.ce_bound = relative + lost + 1e-15 * std::abs(log_one[target]);
  wanted.row.teacher_ce = -log_p[target];
  wanted.teacher_bound = relative + lost + 4 * kRoundoff * std::abs(log_p[target]);
  wanted.forward_bound = f_size + 2 * relative + lost;
  wanted.reverse_bound = r_size + 2 * relative + lost;
  wanted.row.loss =
      terms.ce * wanted.row.ce +
      tau * tau * (terms.forward * wanted.row.forward + terms.reverse * wanted.row.reverse);
  wanted.loss_bound =
      std::abs(terms.ce) * wanted.ce_bound +
      tau * tau * (terms.forward * wanted.forward_bound + terms.reverse * wanted.reverse_bound);
  for (size_t v = 0; v < V; ++v) {
    const double p = std::exp(log_p[v]), q = std::exp(log_q[v]), ratio = log_q[v] - log_p[v];
    const double one = std::exp(log_one[v]);
    const double g = terms.ce * (one - (v == target)) + terms.forward * tau * (q - p) +
                     terms.reverse * tau * q * (ratio - wanted.row.reverse);
    const double factor = 2 * relative + 8 * kRoundoff;
    const double reverse =
        q * ((std::abs(ratio) + std::abs(wanted.row.reverse)) * factor + wanted.reverse_bound +
             2 * relative + 6 * kRoundoff * (std::abs(log_p[v]) + std::abs(log_q[v]) + 4));
    wanted.gradient.push_back(g);
    wanted.bound.push_back(terms.ce * (one + (v == target)) * factor +
                           terms.forward * tau * (p + q) * factor + terms.reverse * tau * reverse +
                           kRoundoff * std::abs(g) + (1 + tau) * lost + 1e-37);
  }
  return wanted;
}

struct Case {
  size_t R, V;
  double scale;
  DistillationTerms terms;
};

void ExpectRows(const Case& c) {
  SCOPED_TRACE(testing::Message() << c.R << " x " << c.V << ", scale " << c.scale << ", ce "
                                  << c.terms.ce << " forward " << c.terms.forward << " reverse "
                                  << c.terms.reverse << " tau " << c.terms.temperature);
  Random random(c.R * 1000 + c.V);
  const size_t stride = c.V + 3;
  const std::vector<float> student = RandomFloats(random, c.R * stride + 1, c.scale);
  const std::vector<float> teacher = RandomFloats(random, c.R * c.V + 1, c.scale);
  std::vector<int32_t> targets(c.R);
  for (int32_t& target : targets) target = static_cast<int32_t>(random.Bits() % c.V);
  std::vector<float> f32 = student, bf16 = student, none = student;
  std::vector<DistillationRow> results(c.R), other(c.R);
  DistillationRows rows = {.teacher = teacher.data() + 1, .stride = stride};
  rows.targets = targets.data();
  rows.terms = c.terms;
  rows.R = c.R;
  rows.V = c.V;
  rows.student = f32.data() + 1;
  rows.results = results.data();
  Distillation(rows, CrossEntropyGradient::kF32);
  rows.results = other.data();
  rows.student = none.data() + 1;
  Distillation(rows, CrossEntropyGradient::kNone);
  rows.student = bf16.data() + 1;
  Distillation(rows, CrossEntropyGradient::kBf16);
  for (size_t r = 0; r < c.R; ++r) {
    const float* x = student.data() + 1 + r * stride;
    const float* y = teacher.data() + 1 + r * c.V;
    const Wanted wanted = Formula(x, y, c.V, static_cast<size_t>(targets[r]), c.terms);
    EXPECT_EQ(results[r].loss, other[r].loss);
    EXPECT_NEAR(results[r].ce, wanted.row.ce, wanted.ce_bound);
    EXPECT_NEAR(results[r].teacher_ce, wanted.row.teacher_ce, wanted.teacher_bound);
    EXPECT_NEAR(results[r].forward, wanted.row.forward, wanted.forward_bound);
    if (c.terms.reverse != 0) {
      EXPECT_NEAR(results[r].reverse, wanted.row.reverse, wanted.reverse_bound);
    }
    EXPECT_NEAR(results[r].loss, wanted.row.loss, wanted.loss_bound);
    EXPECT_EQ(results[r].agrees,
              std::max_element(x, x + c.V) - x == std::max_element(y, y + c.V) - y);
    const float* g = f32.data() + 1 + r * stride;
    ExpectWithin(
        g, wanted.gradient, [&](size_t v) { return wanted.bound[v]; }, "gradient");
    const auto* half = reinterpret_cast<const uint16_t*>(bf16.data() + 1 + r * stride);
    for (size_t v = 0; v < c.V; ++v)
      ASSERT_EQ(FloatFromBF16(half[v]), FloatFromBF16(BF16FromFloat(g[v]))) << v;
    for (size_t v = c.V; v < stride && 1 + r * stride + v < f32.size(); ++v)
      ASSERT_EQ(f32[1 + r * stride + v], student[1 + r * stride + v]) << "between rows";
  }
}

TEST(Distillation, DivergencesAndGradientsMatchTheFormulaAtEveryLevel) {
  ForEachSimdLevel([] {
    for (const size_t V : kTestSizes) {
      ExpectRows({3, V, 2.0, {}});
      ExpectRows({2, V, 2.0, {.ce = 0.3f, .forward = 0.2f, .reverse = 0.5f, .temperature = 2}});
    }
    for (const float tau : {1.0f, 0.7f, 3.0f}) {
      ExpectRows({2, 2500, 3.0, {.temperature = tau}});
      ExpectRows({2, 1100, 3.0, {.ce = 0.5f, .forward = 0.5f, .temperature = tau}});
      ExpectRows({2, 1100, 3.0, {.forward = 0, .reverse = 1, .temperature = tau}});
      ExpectRows({3, 33, 40.0, {.ce = 1, .reverse = 0.5f, .temperature = tau}});  // beyond 86
      ExpectRows({3, 31, 500.0, {.temperature = tau}});  // exp(x) overflows
    }
  });
}

TEST(Distillation, EqualRowsHaveNoDivergenceAndNoGradient) {
  ForEachSimdLevel([] {
    for (const size_t V : {1, 17, 1500}) {
      for (const float tau : {1.0f, 1.7f}) {
        Random random(V);
        const std::vector<float> teacher = RandomFloats(random, V, 4.0);
        std::vector<float> student = teacher;
        const int32_t target = 0;
        DistillationRow result;
        DistillationRows rows = {.student = student.data(), .teacher = teacher.data()};
        rows.stride = rows.V = V;
        rows.R = 1;
        rows.targets = &target;
        rows.terms = {.forward = 0.5f, .reverse = 0.5f, .temperature = tau};
        rows.results = &result;
        Distillation(rows, CrossEntropyGradient::kF32);
        EXPECT_EQ(result.forward, 0);
        EXPECT_EQ(result.reverse, 0);
        EXPECT_TRUE(result.agrees);
        for (const float g : student) ASSERT_EQ(g, 0);
      }
    }
  });
}

// The bucketed divergence in double, from the stored log-probabilities.
void ExpectLikeliest(size_t V, size_t k, const DistillationTerms& terms) {
  SCOPED_TRACE(testing::Message() << V << " ids, k " << k << " tau " << terms.temperature);
  Random random(V * 100 + k);
  const double tau = terms.temperature;
  const std::vector<float> x = RandomFloats(random, V, 3.0), y = RandomFloats(random, V, 3.0);
  const int32_t target = static_cast<int32_t>(random.Bits() % V);
  std::vector<uint32_t> ids(k);
  std::vector<float> log_probs(k), scratch(k);
  const auto rest = static_cast<float>(
      LikeliestOf(y.data(), V, terms.temperature, k, ids.data(), log_probs.data()));
  const std::vector<double> log_p = LogSoftmax(y.data(), V, tau);
  for (size_t i = 0; i < k; ++i) {
    ASSERT_NEAR(log_probs[i], log_p[ids[i]], 200 * kRoundoff + kRoundoff * std::abs(log_p[ids[i]]));
    if (i > 0) {
      ASSERT_LE(y[ids[i]], y[ids[i - 1]]);
    }
  }
  double teacher = rest;
  for (const float l : log_probs) teacher += std::exp(static_cast<double>(l));
  EXPECT_NEAR(teacher, 1.0, 400 * kRoundoff);
  const std::vector<double> log_q = LogSoftmax(x.data(), V, tau),
                            log_one = LogSoftmax(x.data(), V, 1);
  std::vector<double> gradient(V);
  double kl = 0, q_rest = 1, size = 0;
  std::vector<bool> is_kept(V, false);
  for (size_t i = 0; i < k; ++i) is_kept[ids[i]] = true;
  q_rest = 0;
  for (size_t v = 0; v < V; ++v) q_rest += is_kept[v] ? 0 : std::exp(log_q[v]);
  const double r = rest / teacher;
  if (r > 0) kl += r * std::log(r / q_rest);
  for (size_t v = 0; v < V; ++v)
    gradient[v] = is_kept[v] ? 0 : tau * terms.forward * std::exp(log_q[v]) * (1 - r / q_rest);
  for (size_t i = 0; i < k; ++i) {
    const double p = std::exp(static_cast<double>(log_probs[i])) / teacher;
    kl += p * (std::log(p) - log_q[ids[i]]);
    size += p * (std::abs(std::log(p)) + std::abs(log_q[ids[i]]));
    gradient[ids[i]] = tau * terms.forward * (std::exp(log_q[ids[i]]) - p);
  }
  for (size_t v = 0; v < V; ++v)
    gradient[v] += terms.ce * (std::exp(log_one[v]) - (static_cast<int32_t>(v) == target));

  std::vector<float> f32 = x, bf16 = x;
  DistillationRow result;
  DistillationRows rows = {.student = f32.data(),
                           .likeliest = {.k = k,
                                         .ids = ids.data(),
                                         .log_probs = log_probs.data(),
                                         .rest = &rest,
                                         .scratch = scratch.data()}};
  rows.stride = rows.V = V;
  rows.R = 1;
  rows.targets = &target;
  rows.terms = terms;
  rows.results = &result;
  Distillation(rows, CrossEntropyGradient::kF32);
  rows.student = bf16.data();
  Distillation(rows, CrossEntropyGradient::kBf16);
  const double relative =
      (3 * std::max(Spread(x.data(), V, tau), Spread(x.data(), V, 1)) + 77) * kRoundoff;
  EXPECT_NEAR(result.forward, kl, 3 * relative + 4 * kRoundoff * size);
  EXPECT_NEAR(result.ce, -log_one[static_cast<size_t>(target)], relative);
  EXPECT_NEAR(result.loss, terms.ce * result.ce + tau * tau * terms.forward * result.forward,
              1e-12);
  EXPECT_EQ(result.agrees, std::max_element(x.begin(), x.end()) - x.begin() ==
                               std::max_element(y.begin(), y.end()) - y.begin());
  const double ratio = q_rest > 0 ? r / q_rest : 0;
  ExpectWithin(
      f32.data(), gradient,
      [&](size_t v) {
        const double q = std::exp(log_q[v]), p = is_kept[v] ? std::exp(log_p[v]) : q * ratio;
        return 4 * relative *
               (tau * terms.forward * (q + p) + terms.ce * (std::exp(log_one[v]) + 1));
      },
      "gradient");
  const auto* half = reinterpret_cast<const uint16_t*>(bf16.data());
  for (size_t v = 0; v < V; ++v)
    ASSERT_EQ(FloatFromBF16(half[v]), FloatFromBF16(BF16FromFloat(f32[v]))) << v;
}

TEST(Distillation, LikeliestIdsAndTheRestAreTheBucketsOfTheFormulaAtEveryLevel) {
  ForEachSimdLevel([] {
    for (const size_t V : {1, 2, 3, 16, 17, 67, 1280}) {
      for (const size_t k : {size_t{1}, size_t{2}, V / 2, V - 1, V}) {
        if (k == 0 || k > V) continue;
        ExpectLikeliest(V, k, {});
        ExpectLikeliest(V, k, {.ce = 0.4f, .forward = 0.6f, .temperature = 1.5f});
      }
    }
  });
}

TEST(Distillation, AllIdsKeptIsTheWholeDivergence) {
  constexpr size_t V = 300;
  Random random(7);
  const std::vector<float> x = RandomFloats(random, V, 3.0), y = RandomFloats(random, V, 3.0);
  const int32_t target = 5;
  std::vector<uint32_t> ids(V);
  std::vector<float> log_probs(V), scratch(V), dense = x, bucketed = x;
  const auto rest =
      static_cast<float>(LikeliestOf(y.data(), V, 1, V, ids.data(), log_probs.data()));
  EXPECT_EQ(rest, 0);
  DistillationRow a, b;
  DistillationRows rows = {.student = dense.data(), .teacher = y.data()};
  rows.stride = rows.V = V;
  rows.R = 1;
  rows.targets = &target;
  rows.results = &a;
  Distillation(rows, CrossEntropyGradient::kF32);
  rows.student = bucketed.data();
  rows.teacher = nullptr;
  rows.likeliest = {V, ids.data(), log_probs.data(), &rest, scratch.data()};
  rows.results = &b;
  Distillation(rows, CrossEntropyGradient::kF32);
  EXPECT_NEAR(a.forward, b.forward, 300 * kRoundoff * std::abs(a.forward) + 300 * kRoundoff);
  for (size_t v = 0; v < V; ++v) ASSERT_NEAR(dense[v], bucketed[v], 300 * kRoundoff) << v;
}

TEST(Distillation, RowsDoNotDependOnThreadsOrNeighbours) {
  constexpr size_t R = 120, V = 700;
  Random random(1);
  const std::vector<float> x = RandomFloats(random, R * V), y = RandomFloats(random, R * V);
  const std::vector<int32_t> targets(R, 5);
  const auto run = [&](size_t begin, size_t count) {
    std::vector<float> student(x.begin() + begin * V, x.begin() + (begin + count) * V);
    std::vector<DistillationRow> results(count);
    DistillationRows rows = {.student = student.data(), .teacher = y.data() + begin * V};
    rows.stride = rows.V = V;
    rows.R = count;
    rows.targets = targets.data();
    rows.terms = {.ce = 0.5f, .forward = 0.5f, .reverse = 0.5f, .temperature = 2};
    rows.results = results.data();
    Distillation(rows, CrossEntropyGradient::kF32);
    student.push_back(static_cast<float>(results.back().loss));
    return student;
  };
  std::vector<float> first;
  for (const int threads : {1, 2, 3}) {
    const ThreadCountScope scope(threads);
    const std::vector<float> all = run(0, R);
    if (threads == 1) first = all;
    ExpectSameBits(all, first, "gradient");
  }
  std::vector<float> one = run(77, 1);
  one.pop_back();
  ExpectSameBits(one, {first.begin() + 77 * V, first.begin() + 78 * V}, "row 77");
}

TEST(Distillation, WhatIsNotFiniteShowsInTheLossAndMinusInfinityIsAProbabilityOfZero) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  ForEachSimdLevel([&] {
    for (const size_t V : {size_t{3}, size_t{40}}) {
      for (const bool in_teacher : {false, true}) {
        for (const float bad : {std::nanf(""), kInf, -kInf}) {
          Random random(V);
          std::vector<float> x = RandomFloats(random, V), y = RandomFloats(random, V);
          (in_teacher ? y : x)[V - 1] = bad;
          const int32_t target = 0;
          DistillationRow result;
          DistillationRows rows = {.student = x.data(), .teacher = y.data()};
          rows.stride = rows.V = V;
          rows.R = 1;
          rows.targets = &target;
          rows.results = &result;
          Distillation(rows, CrossEntropyGradient::kF32);
          if (bad == -kInf && in_teacher) {
            EXPECT_TRUE(std::isfinite(result.loss));
            EXPECT_GT(x[V - 1], 0) << "all of the student's own";
          } else if (bad == -kInf) {
            EXPECT_EQ(result.loss, kInf) << "what the teacher holds possible the student excludes";
          } else {
            EXPECT_TRUE(std::isnan(result.loss));
            for (const float g : x) EXPECT_TRUE(std::isnan(g));
          }
        }
      }
    }
  });
}

}  // namespace
}  // namespace planish
