// SPDX-License-Identifier: Apache-2.0
// Passes over a row of student and teacher that stay in the second-level cache: maxima; sums; gradients. Exponentials are
// computed anew in the last one: two more rows in memory would cost more than they.
#include "kernels/distillation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/error.h"
#include "base/parallel.h"
#include "kernels/simd_targets.h"
#include "tensor/dtype.h"

// Shared by all levels, hence outside of them.
#ifndef PLANISH_KERNELS_DISTILLATION_CC_
#define PLANISH_KERNELS_DISTILLATION_CC_
namespace planish {
namespace {

struct RowScale {
  float student_max, teacher_max, inverse_temperature;
};

// With w = (x - max x) / tau, u = (y - max y) / tau.
struct RowSums {
  double student = 0, teacher = 0;  // of exp(w), exp(u)
  double forward = 0;               // of exp(u) (u - w)
  double reverse = 0;               // of exp(w) (w - u)
  double untempered = 0;            // of exp(x - max x)
};

// gradient = student exp(w) - teacher exp(u) + reverse exp(w) (w - u + shift) + untempered exp(x - max x).
struct RowFactors {
  float student = 0, teacher = 0, reverse = 0, shift = 0, untempered = 0;
};

}  // namespace
}  // namespace planish
#endif  // PLANISH_KERNELS_DISTILLATION_CC_

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/distillation.cc"
#include "hwy/foreach_target.h"
#include "kernels/rounding-inl.h"
#include "kernels/row_maximum-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

constexpr size_t kSumBlock = 1024;

float GreatestIn(const float* x, size_t n, size_t* place) {
  const float max = MaximumOf(x, n);
  *place = FirstOf(x, n, max);
  return max;
}

// exp(v) for v <= 0, 0 below -86.
HWY_INLINE FloatVec Probability(FloatVec v) {
  const FloatTag d;
  return hn::IfThenElseZero(hn::Ge(v, hn::Set(d, -86.0f)), ClampedExp(d, v));
}

// Lanes of a vector at i of n that are there: those beyond the end count 0 in sums.
HWY_INLINE hn::Mask<FloatTag> LanesWithin(size_t i, size_t n) {
  return hn::FirstN(FloatTag(), std::min(kLanes, n - i));
}

HWY_INLINE FloatVec LoadUpTo(const float* p, size_t count) {
  return count >= kLanes ? hn::LoadU(FloatTag(), p) : LoadTail(FloatTag(), p, count);
}

HWY_INLINE double SumLanes(FloatVec v) {
  return static_cast<double>(hn::GetLane(hn::SumOfLanes(FloatTag(), v)));
}

template <bool kReverse, bool kTempered>
RowSums SumBoth(const float* x, const float* y, size_t n, const RowScale& scale) {
  const FloatTag d;
  const FloatVec x_max = hn::Set(d, scale.student_max), y_max = hn::Set(d, scale.teacher_max),
                 inverse = hn::Set(d, scale.inverse_temperature);
  RowSums sums;
  for (size_t begin = 0; begin < n; begin += kSumBlock) {
    const size_t end = std::min(n, begin + kSumBlock);
    FloatVec s = hn::Zero(d), t = s, f = s, r = s, one = s;
    for (size_t i = begin; i < end; i += kLanes) {
      const auto within = LanesWithin(i, end);
      const FloatVec dx = hn::Sub(LoadUpTo(x + i, end - i), x_max);
      const FloatVec w = kTempered ? hn::Mul(dx, inverse) : dx;
      const FloatVec dy = hn::Sub(LoadUpTo(y + i, end - i), y_max);
      const FloatVec u = kTempered ? hn::Mul(dy, inverse) : dy;
      const FloatVec es = hn::IfThenElseZero(within, Probability(w));
      const FloatVec et = hn::IfThenElseZero(within, Probability(u));
      s = hn::Add(s, es);
      t = hn::Add(t, et);
      // 0 times an infinite difference is 0 here.
      const FloatVec difference = hn::Sub(u, w);
      const auto counts = hn::Ne(et, hn::Zero(d));
      f = hn::MulAdd(et, hn::IfThenElseZero(counts, difference), f);
      if constexpr (kReverse) {
        const auto reverse_counts = hn::Ne(es, hn::Zero(d));
        r = hn::NegMulAdd(es, hn::IfThenElseZero(reverse_counts, difference), r);
      }
      if constexpr (kTempered) one = hn::Add(one, hn::IfThenElseZero(within, Probability(dx)));
    }
    sums.student += SumLanes(s);
    sums.teacher += SumLanes(t);
    sums.forward += SumLanes(f);
    if (kReverse) sums.reverse += SumLanes(r);
    if (kTempered) sums.untempered += SumLanes(one);
  }
  return sums;
}

// Of the student alone.
RowSums SumStudent(const float* x, size_t n, float max, float inverse_temperature) {
  const FloatTag d;
  const FloatVec x_max = hn::Set(d, max), inverse = hn::Set(d, inverse_temperature);
  RowSums sums;
  for (size_t begin = 0; begin < n; begin += kSumBlock) {
    const size_t end = std::min(n, begin + kSumBlock);
    FloatVec s = hn::Zero(d), one = s;
    for (size_t i = begin; i < end; i += kLanes) {
      const auto within = LanesWithin(i, end);
      const FloatVec dx = hn::Sub(LoadUpTo(x + i, end - i), x_max);
      s = hn::Add(s, hn::IfThenElseZero(within, Probability(hn::Mul(dx, inverse))));
      one = hn::Add(one, hn::IfThenElseZero(within, Probability(dx)));
    }
    sums.student += SumLanes(s);
    sums.untempered += SumLanes(one);
  }
  return sums;
}

// Gradients over x, as floats, or bf16 from the front (what is written has been read).
template <bool kReverse, bool kTempered, bool kHasTeacher, class T>
HWY_INLINE void GradientInto(const float* x, const float* y, size_t n, const RowScale& scale,
                             const RowFactors& factors, T* to) {
  const FloatTag d;
  const FloatVec x_max = hn::Set(d, scale.student_max), y_max = hn::Set(d, scale.teacher_max),
                 inverse = hn::Set(d, scale.inverse_temperature),
                 student = hn::Set(d, factors.student), teacher = hn::Set(d, factors.teacher),
                 reverse = hn::Set(d, factors.reverse), shift = hn::Set(d, factors.shift),
                 untempered = hn::Set(d, factors.untempered);
  ForEachTyped(n, [=](size_t i, auto load, auto store) HWY_ATTR {
    const FloatVec dx = hn::Sub(load(x + i), x_max);
    const FloatVec w = kTempered ? hn::Mul(dx, inverse) : dx;
    const FloatVec es = Probability(w);
    FloatVec g = hn::Mul(student, es);
    if constexpr (kHasTeacher) {
      const FloatVec dy = hn::Sub(load(y + i), y_max);
      const FloatVec u = kTempered ? hn::Mul(dy, inverse) : dy;
      g = hn::Sub(g, hn::Mul(teacher, Probability(u)));
      if constexpr (kReverse) {
        const FloatVec ratio = hn::Add(hn::Sub(w, u), shift);
        const FloatVec term = hn::Mul(hn::Mul(reverse, es), ratio);
        g = hn::Add(g, hn::IfThenElseZero(hn::Ne(es, hn::Zero(d)), term));
      }
    }
    if constexpr (kTempered) g = hn::MulAdd(untempered, Probability(dx), g);
    store(g, to + i);
  });
}

template <bool kReverse, bool kTempered, bool kHasTeacher>
void Gradient(float* x, const float* y, size_t n, const RowScale& scale, const RowFactors& factors,
              bool is_bf16) {
  if (is_bf16)
    GradientInto<kReverse, kTempered, kHasTeacher>(x, y, n, scale, factors,
                                                   reinterpret_cast<uint16_t*>(x));
  else
    GradientInto<kReverse, kTempered, kHasTeacher>(x, y, n, scale, factors, x);
}

RowSums SumRows(const float* x, const float* y, size_t n, const RowScale& scale, bool has_reverse) {
  const bool is_tempered = scale.inverse_temperature != 1;
  if (has_reverse)
    return is_tempered ? SumBoth<true, true>(x, y, n, scale) : SumBoth<true, false>(x, y, n, scale);
  return is_tempered ? SumBoth<false, true>(x, y, n, scale) : SumBoth<false, false>(x, y, n, scale);
}

void GradientOfRows(float* x, const float* y, size_t n, const RowScale& scale,
                    const RowFactors& factors, bool is_bf16) {
  const bool is_tempered = scale.inverse_temperature != 1;
  if (y == nullptr) return Gradient<false, true, false>(x, y, n, scale, factors, is_bf16);
  if (factors.reverse != 0)
    return is_tempered ? Gradient<true, true, true>(x, y, n, scale, factors, is_bf16)
                       : Gradient<true, false, true>(x, y, n, scale, factors, is_bf16);
  return is_tempered ? Gradient<false, true, true>(x, y, n, scale, factors, is_bf16)
                     : Gradient<false, false, true>(x, y, n, scale, factors, is_bf16);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {
namespace {

HWY_EXPORT(GreatestIn);
HWY_EXPORT(SumRows);
HWY_EXPORT(SumStudent);
HWY_EXPORT(GradientOfRows);

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// One row of a call.
class Row {
 public:
  Row(const DistillationRows& rows, size_t r, CrossEntropyGradient gradient)
      : rows_(rows),
        r_(r),
        x_(rows.student + r * rows.stride),
        V_(rows.V),
        tau_(rows.terms.temperature),
        gradient_(gradient),
        target_(static_cast<size_t>(rows.targets[r])) {
    PLANISH_DCHECK(target_ < V_);
  }

  void Run() {
    size_t first = 0;
    scale_.student_max = HWY_DYNAMIC_DISPATCH(GreatestIn)(x_, V_, &first);
    scale_.inverse_temperature = 1 / rows_.terms.temperature;
    at_target_ = static_cast<double>(x_[target_]) - static_cast<double>(scale_.student_max);
    DistillationRow* result = rows_.results + r_;
    const bool is_fine =
        rows_.teacher != nullptr ? WithLogits(first, result) : WithLikeliest(first, result);
    if (is_fine) return;
    *result = {.loss = kNaN, .ce = kNaN, .forward = kNaN, .reverse = kNaN, .teacher_ce = kNaN};
    if (gradient_ != CrossEntropyGradient::kNone)
      for (size_t v = 0; v < V_; ++v) Put(v, std::numeric_limits<float>::quiet_NaN());
  }

 private:
  // x_v of the gradient, in its type.
  void Put(size_t v, float value) const {
    if (gradient_ == CrossEntropyGradient::kF32) {
      x_[v] = value;
    } else {
      const uint16_t bits = BF16FromFloat(value);
      std::memcpy(reinterpret_cast<std::byte*>(x_) + 2 * v, &bits, sizeof bits);
    }
  }

  bool WithLogits(size_t first, DistillationRow* result) {
    const DistillationTerms& terms = rows_.terms;
    const float* y = rows_.teacher + r_ * V_;
    size_t teacher_first = 0;
    scale_.teacher_max = HWY_DYNAMIC_DISPATCH(GreatestIn)(y, V_, &teacher_first);
    if (!std::isfinite(scale_.student_max) || !std::isfinite(scale_.teacher_max)) return false;
    const bool is_tempered = scale_.inverse_temperature != 1, has_reverse = terms.reverse != 0;
    RowSums sums = HWY_DYNAMIC_DISPATCH(SumRows)(x_, y, V_, scale_, has_reverse);
    if (!is_tempered) sums.untempered = sums.student;
    const double log_ratio = std::log(sums.student) - std::log(sums.teacher);
    result->ce = std::log(sums.untempered) - at_target_;
    result->forward = sums.forward / sums.teacher + log_ratio;
    result->reverse = has_reverse ? sums.reverse / sums.student - log_ratio : 0;
    result->loss =
        terms.ce * result->ce +
        tau_ * tau_ * (terms.forward * result->forward + terms.reverse * result->reverse);
    result->teacher_ce =
        std::log(sums.teacher) - (static_cast<double>(y[target_]) - scale_.teacher_max) *
                                     static_cast<double>(scale_.inverse_temperature);
    result->agrees = first == teacher_first;
    if (gradient_ == CrossEntropyGradient::kNone) return true;
    RowFactors factors;
    const double own = tau_ * terms.forward / sums.student;
    factors.student = static_cast<float>(own);
    factors.teacher = static_cast<float>(tau_ * terms.forward / sums.teacher);
    factors.reverse = static_cast<float>(tau_ * terms.reverse / sums.student);
    factors.shift = static_cast<float>(-log_ratio - result->reverse);
    const double ce = terms.ce / sums.untempered;
    if (is_tempered)
      factors.untempered = static_cast<float>(ce);
    else
      factors.student = static_cast<float>(own + ce);
    // What the target loses is subtracted before rounding to bf16.
    const float before = terms.ce != 0 ? TargetGradient(y, factors) : 0;
    HWY_DYNAMIC_DISPATCH(GradientOfRows)
    (x_, y, V_, scale_, factors, gradient_ == CrossEntropyGradient::kBf16);
    if (terms.ce != 0) Put(target_, before - terms.ce);
    return true;
  }

  // The gradient at the target but for the -ce.
  float TargetGradient(const float* y, const RowFactors& factors) const {
    const double dx = at_target_, dy = static_cast<double>(y[target_]) - scale_.teacher_max;
    const double w = dx / tau_, u = dy / tau_, student = std::exp(w);
    double g = factors.student * student - factors.teacher * std::exp(u) +
               factors.untempered * std::exp(dx);
    if (factors.reverse != 0 && student > 0)
      g += factors.reverse * student * (w - u + factors.shift);
    return static_cast<float>(g);
  }

  bool WithLikeliest(size_t first, DistillationRow* result) {
    const DistillationTerms& terms = rows_.terms;
    const LikeliestIds& likeliest = rows_.likeliest;
    const size_t k = likeliest.k;
    const uint32_t* ids = likeliest.ids + r_ * k;
    const float* log_probs = likeliest.log_probs + r_ * k;
    float* own = likeliest.scratch + r_ * k;  // the student's x - max x of those ids
    if (!std::isfinite(scale_.student_max)) return false;
    for (size_t i = 0; i < k; ++i) own[i] = x_[ids[i]] - scale_.student_max;
    // Out of the sums over the others: a difference of large sums would lose a small rest.
    for (size_t i = 0; i < k; ++i) x_[ids[i]] = -std::numeric_limits<float>::infinity();
    const RowSums others =
        HWY_DYNAMIC_DISPATCH(SumStudent)(x_, V_, scale_.student_max, scale_.inverse_temperature);
    double teacher = likeliest.rest[r_], student = others.student, untempered = others.untempered;
    for (size_t i = 0; i < k; ++i) {
      teacher += std::exp(static_cast<double>(log_probs[i]));
      student += std::exp(own[i] / tau_);
      untempered += std::exp(static_cast<double>(own[i]));
    }
    if (!std::isfinite(teacher) || !(teacher > 0)) return false;
    // Sums that lost digits on their way to the file are put right: probabilities add up to 1.
    const double rest = likeliest.rest[r_] / teacher;
    const double others_share =
        std::max(others.student / student, 1e-30);  // finite whatever the student gives them
    double kl = rest > 0 ? rest * std::log(rest / others_share) : 0;
    for (size_t i = 0; i < k; ++i) {
      const double log_p = log_probs[i] - std::log(teacher);
      kl += std::exp(log_p) * (log_p - (own[i] / tau_ - std::log(student)));
    }
    result->ce = std::log(untempered) - at_target_;
    result->forward = kl;
    result->reverse = 0;
    result->loss = terms.ce * result->ce + tau_ * tau_ * terms.forward * kl;
    result->agrees = k > 0 && first == ids[0];
    if (gradient_ == CrossEntropyGradient::kNone) return true;

    RowFactors factors;
    factors.student =
        static_cast<float>(tau_ * terms.forward * (1 - rest / others_share) / student);
    factors.untempered = static_cast<float>(terms.ce / untempered);
    const double target = factors.student * std::exp(at_target_ / tau_) +
                          factors.untempered * std::exp(at_target_) - terms.ce;
    HWY_DYNAMIC_DISPATCH(GradientOfRows)
    (x_, nullptr, V_, scale_, factors, gradient_ == CrossEntropyGradient::kBf16);
    if (terms.ce != 0) Put(target_, static_cast<float>(target));
    for (size_t i = 0; i < k; ++i) {
      const double q = std::exp(own[i] / tau_) / student,
                   p = std::exp(static_cast<double>(log_probs[i])) / teacher;
      const double ce = terms.ce * (std::exp(static_cast<double>(own[i])) / untempered -
                                    (ids[i] == target_ ? 1 : 0));
      Put(ids[i], static_cast<float>(tau_ * terms.forward * (q - p) + ce));
    }
    return true;
  }

  const DistillationRows& rows_;
  const size_t r_;
  float* const x_;
  const size_t V_;
  const double tau_;
  const CrossEntropyGradient gradient_;
  const size_t target_;
  double at_target_ = 0;  // x_t - max x
  RowScale scale_{};
};

}  // namespace

void Distillation(const DistillationRows& rows, CrossEntropyGradient gradient) noexcept {
  if (rows.V == 0) return;
  constexpr size_t kTaskFloats = size_t{1} << 14;
  const size_t step = std::max<size_t>(1, kTaskFloats / rows.V);
  ParallelFor((rows.R + step - 1) / step, [&](size_t task, int) {
    for (size_t r = task * step; r < std::min(rows.R, (task + 1) * step); ++r)
      Row(rows, r, gradient).Run();
  });
}

double LikeliestOf(const float* logits, size_t V, float temperature, size_t k, uint32_t* ids,
                   float* log_probs) {
  PLANISH_CHECK(k > 0 && k <= V, "{} of {} ids", k, V);
  // A heap of the k best with the worst on top: after the first few, one comparison an id.
  const auto is_likelier = [&](uint32_t a, uint32_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  };
  std::iota(ids, ids + k, 0u);
  std::make_heap(ids, ids + k, is_likelier);
  for (size_t v = k; v < V; ++v) {
    if (!(logits[v] > logits[ids[0]])) continue;
    std::pop_heap(ids, ids + k, is_likelier);
    ids[k - 1] = static_cast<uint32_t>(v);
    std::push_heap(ids, ids + k, is_likelier);
  }
  std::sort_heap(ids, ids + k, is_likelier);
  const float max = logits[ids[0]];
  std::vector<float> others(logits, logits + V);
  for (size_t i = 0; i < k; ++i) others[ids[i]] = -std::numeric_limits<float>::infinity();
  const float inverse = 1 / temperature;
  const double rest = HWY_DYNAMIC_DISPATCH(SumStudent)(others.data(), V, max, inverse).student;
  const auto scaled = [&](size_t i) {
    return (static_cast<double>(logits[ids[i]]) - static_cast<double>(max)) /
           static_cast<double>(temperature);
  };
  double sum = rest;
  for (size_t i = 0; i < k; ++i) sum += std::exp(scaled(i));
  for (size_t i = 0; i < k; ++i) log_probs[i] = static_cast<float>(scaled(i) - std::log(sum));
  return rest / sum;
}

}  // namespace planish
#endif  // HWY_ONCE
