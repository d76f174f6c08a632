// SPDX-License-Identifier: Apache-2.0
// Learning rate as a function of progress, which is counted in samples or tokens (never in steps), so that a change of batch
// size does not move the curve. Formulas: Megatron-LM, core/optimizer_param_scheduler.py. With progress n, warm-up W, end D:
//   n < W         init + (max - init) n / W
//   after that    min + c (max - min), r = (n - W) / (D - W):
//     constant 1 | linear 1 - r | cosine (1 + cos(pi r)) / 2
//     WSD: 1 until D - Wd; then, rho = (n - (D - Wd)) / Wd: linear 1 - rho | cosine (1 + cos(pi rho)) / 2 |
//          minus_sqrt 1 - sqrt(rho) | exponential 2 * 0.5^rho - 1
//     inverse_sqrt: max sqrt(max(W, 1) / n), at least min
//   n > D         min (constant and inverse_sqrt go on)
#pragma once

#include <cstdint>
#include <string>

namespace planish {

enum class ScheduleKind { kConstant, kLinear, kCosine, kWsd, kInverseSqrt };
enum class DecayShape { kLinear, kCosine, kMinusSqrt, kExponential };

struct Schedule {
  ScheduleKind kind = ScheduleKind::kWsd;
  double max_lr = 0, min_lr = 0, init_lr = 0;
  uint64_t warmup = 0;                        // W
  uint64_t total = 0;                         // D
  uint64_t decay = 0;                         // Wd, of WSD
  DecayShape shape = DecayShape::kMinusSqrt;  // of WSD's decay
  bool operator==(const Schedule&) const = default;
};

// "constant", "linear", "cosine", "wsd", "inverse_sqrt"; "linear", "cosine", "minus_sqrt", "exponential".
// Error(kUsage) with the known names.
ScheduleKind ScheduleKindFromName(const std::string& name);
DecayShape DecayShapeFromName(const std::string& name);
const char* Name(ScheduleKind kind);
const char* Name(DecayShape shape);

// Error(kUsage) saying what contradicts what: rates out of order, phases longer than the whole.
void CheckSchedule(const Schedule& schedule);

// The rate at progress n, as above.
double LearningRate(const Schedule& schedule, uint64_t n);

// The rate of the step that brings progress from `begin` to `end`. A step of the warm-up has the rate at its end, later ones
// the rate at their beginning: no step is wasted at a rate of init = 0 or on the last point of a decay to 0.
double LearningRateOfStep(const Schedule& schedule, uint64_t begin, uint64_t end);

// WSD's product feature: leave the stable phase of `stable` at progress `at`, and decay over the next `length`. Error(kUsage)
// if `at` is in the warm-up or the decay has begun there; a constant schedule may be branched likewise.
Schedule BranchDecay(const Schedule& stable, uint64_t at, uint64_t length, DecayShape shape);

}  // namespace planish
