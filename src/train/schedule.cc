// SPDX-License-Identifier: Apache-2.0
#include "train/schedule.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <string_view>

#include "base/error.h"

namespace planish {
namespace {

constexpr std::array<const char*, 5> kKinds = {"constant", "linear", "cosine", "wsd",
                                               "inverse_sqrt"};
constexpr std::array<const char*, 4> kShapes = {"linear", "cosine", "minus_sqrt", "exponential"};

template <typename Enum, size_t N>
Enum FromName(const std::array<const char*, N>& names, const std::string& name, const char* what) {
  for (size_t i = 0; i < N; ++i) {
    if (name == names[i]) return static_cast<Enum>(i);
  }
  std::string known;
  for (const char* item : names) known += fmt::format("{}{}", known.empty() ? "" : ", ", item);
  throw UsageError("{} is {}, expected one of {}", what, Quoted(name), known);
}

double CosineFrom1To0(double r) { return 0.5 * (1 + std::cos(std::numbers::pi * r)); }

double DecayCoefficient(DecayShape shape, double rho) {
  switch (shape) {
    case DecayShape::kLinear:
      return 1 - rho;
    case DecayShape::kCosine:
      return CosineFrom1To0(rho);
    case DecayShape::kMinusSqrt:
      return 1 - std::sqrt(rho);
    case DecayShape::kExponential:
      return 2 * std::pow(0.5, rho) - 1;
  }
  return 0;
}

// c of the formula, for W <= n <= D.
double Coefficient(const Schedule& s, uint64_t n) {
  const double r = s.total > s.warmup
                       ? static_cast<double>(n - s.warmup) / static_cast<double>(s.total - s.warmup)
                       : 1.0;
  switch (s.kind) {
    case ScheduleKind::kLinear:
      return 1 - r;
    case ScheduleKind::kCosine:
      return CosineFrom1To0(r);
    case ScheduleKind::kWsd: {
      const uint64_t stable_end = s.total - s.decay;
      if (n <= stable_end) return 1;
      return DecayCoefficient(s.shape,
                              static_cast<double>(n - stable_end) / static_cast<double>(s.decay));
    }
    default:
      return 1;
  }
}

}  // namespace

ScheduleKind ScheduleKindFromName(const std::string& name) {
  return FromName<ScheduleKind>(kKinds, name, "schedule");
}
DecayShape DecayShapeFromName(const std::string& name) {
  return FromName<DecayShape>(kShapes, name, "decay shape");
}
const char* Name(ScheduleKind kind) { return kKinds[static_cast<size_t>(kind)]; }
const char* Name(DecayShape shape) { return kShapes[static_cast<size_t>(shape)]; }

void CheckSchedule(const Schedule& s) {
  const auto is_rate = [](double rate) { return rate >= 0 && std::isfinite(rate); };
  if (!is_rate(s.max_lr) || s.max_lr == 0)
    throw UsageError("max_lr is {}, expected a positive number", s.max_lr);
  if (!is_rate(s.min_lr) || s.min_lr > s.max_lr)
    throw UsageError("min_lr is {}, expected a number in [0, max_lr = {}]", s.min_lr, s.max_lr);
  if (!is_rate(s.init_lr) || s.init_lr > s.max_lr)
    throw UsageError("init_lr is {}, expected a number in [0, max_lr = {}]", s.init_lr, s.max_lr);
  const bool has_end = s.kind != ScheduleKind::kConstant && s.kind != ScheduleKind::kInverseSqrt;
  if (has_end && s.total == 0) throw UsageError("a {} schedule needs its length", Name(s.kind));
  if (has_end && s.warmup > s.total)
    throw UsageError("warm-up of {} is longer than the whole schedule of {}", s.warmup, s.total);
  if (s.kind == ScheduleKind::kWsd && s.decay > s.total - s.warmup) {
    throw UsageError("warm-up of {} and decay of {} together are longer than the schedule of {}",
                     s.warmup, s.decay, s.total);
  }
}

double LearningRate(const Schedule& s, uint64_t n) {
  if (n < s.warmup) {
    return s.init_lr +
           (s.max_lr - s.init_lr) * static_cast<double>(n) / static_cast<double>(s.warmup);
  }
  if (s.kind == ScheduleKind::kConstant) return s.max_lr;
  if (s.kind == ScheduleKind::kInverseSqrt) {
    const double from = static_cast<double>(std::max<uint64_t>(s.warmup, 1));
    return std::max(s.min_lr, s.max_lr * std::sqrt(from / std::max(from, static_cast<double>(n))));
  }
  if (n > s.total) return s.min_lr;
  return s.min_lr + Coefficient(s, n) * (s.max_lr - s.min_lr);
}

double LearningRateOfStep(const Schedule& s, uint64_t begin, uint64_t end) {
  return LearningRate(s, end < s.warmup ? end : std::max(begin, s.warmup));
}

Schedule BranchDecay(const Schedule& stable, uint64_t at, uint64_t length, DecayShape shape) {
  if (stable.kind != ScheduleKind::kWsd && stable.kind != ScheduleKind::kConstant) {
    throw UsageError("a {} schedule has no stable phase to branch a decay from", Name(stable.kind));
  }
  if (at < stable.warmup)
    throw UsageError("cannot branch at {}: the warm-up lasts until {}", at, stable.warmup);
  if (stable.kind == ScheduleKind::kWsd && at > stable.total - stable.decay) {
    throw UsageError("cannot branch at {}: the stable phase ends at {}", at,
                     stable.total - stable.decay);
  }
  if (length == 0) throw UsageError("the length of the decay is 0");
  Schedule branch = stable;
  branch.kind = ScheduleKind::kWsd;
  branch.total = at + length;
  branch.decay = length;
  branch.shape = shape;
  return branch;
}

}  // namespace planish
