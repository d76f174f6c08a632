// SPDX-License-Identifier: Apache-2.0
#include "train/schedule.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"

namespace planish {
namespace {

// Nemotron Nano 2 in millions of tokens: 20T, decay over the last 3.6T.
const Schedule kNano2 = {.kind = ScheduleKind::kWsd,
                         .max_lr = 4.5e-4,
                         .min_lr = 4.5e-6,
                         .warmup = 8000,
                         .total = 20'000'000,
                         .decay = 3'600'000,
                         .shape = DecayShape::kMinusSqrt};

Schedule Of(ScheduleKind kind) {
  Schedule schedule = kNano2;
  schedule.kind = kind;
  return schedule;
}

TEST(Schedule, WarmsUpLinearlyFromInitToMax) {
  Schedule schedule = kNano2;
  schedule.init_lr = 1e-5;
  EXPECT_DOUBLE_EQ(LearningRate(schedule, 0), 1e-5);
  EXPECT_DOUBLE_EQ(LearningRate(schedule, 2000), 1e-5 + (4.5e-4 - 1e-5) / 4);
  EXPECT_DOUBLE_EQ(LearningRate(schedule, 8000), 4.5e-4);
  schedule.warmup = 0;
  EXPECT_DOUBLE_EQ(LearningRate(schedule, 0), 4.5e-4);
}

TEST(Schedule, EveryShapeOfWsdHoldsThenFallsFromMaxToMin) {
  const uint64_t start = kNano2.total - kNano2.decay, half = start + kNano2.decay / 2,
                 quarter = start + kNano2.decay / 4;
  struct Case {
    DecayShape shape;
    double at_quarter, at_half;
  };
  for (const auto& [shape, at_quarter, at_half] :
       {Case{DecayShape::kLinear, 0.75, 0.5},
        Case{DecayShape::kCosine, 0.5 + std::sqrt(0.125), 0.5},
        Case{DecayShape::kMinusSqrt, 0.5, 1 - std::sqrt(0.5)},
        Case{DecayShape::kExponential, std::pow(2, 0.75) - 1, std::sqrt(2.0) - 1}}) {
    Schedule s = kNano2;
    s.shape = shape;
    const auto coefficient = [&](uint64_t n) {
      return (LearningRate(s, n) - s.min_lr) / (s.max_lr - s.min_lr);
    };
    EXPECT_NEAR(coefficient(s.warmup), 1, 1e-12) << Name(shape);
    EXPECT_NEAR(coefficient(start), 1, 1e-12) << Name(shape);
    EXPECT_NEAR(coefficient(quarter), at_quarter, 1e-12) << Name(shape);
    EXPECT_NEAR(coefficient(half), at_half, 1e-12) << Name(shape);
    EXPECT_NEAR(coefficient(s.total), 0, 1e-12) << Name(shape);
    EXPECT_EQ(LearningRate(s, s.total + 1), s.min_lr);
  }
}

TEST(Schedule, OtherKindsFollowTheirFormulas) {
  const uint64_t middle = (kNano2.warmup + kNano2.total) / 2;
  const double mean = (kNano2.max_lr + kNano2.min_lr) / 2;
  EXPECT_NEAR(LearningRate(Of(ScheduleKind::kLinear), middle), mean, 1e-15);
  EXPECT_NEAR(LearningRate(Of(ScheduleKind::kCosine), middle), mean, 1e-15);
  EXPECT_NEAR(LearningRate(Of(ScheduleKind::kLinear), kNano2.total), kNano2.min_lr, 1e-15);
  EXPECT_NEAR(LearningRate(Of(ScheduleKind::kCosine), kNano2.total), kNano2.min_lr, 1e-15);
  EXPECT_EQ(LearningRate(Of(ScheduleKind::kConstant), 2 * kNano2.total), kNano2.max_lr);
  const Schedule root = Of(ScheduleKind::kInverseSqrt);
  EXPECT_NEAR(LearningRate(root, 4 * root.warmup), root.max_lr / 2, 1e-15);
  EXPECT_EQ(LearningRate(root, uint64_t{1} << 62), root.min_lr);
  Schedule cold = root;
  cold.warmup = 0;
  EXPECT_EQ(LearningRate(cold, 0), cold.max_lr);
}

TEST(Schedule, StepsWasteNoRateOfZero) {
  Schedule s = {.kind = ScheduleKind::kWsd,
                .max_lr = 1.0,
                .warmup = 10,
                .total = 100,
                .decay = 20,
                .shape = DecayShape::kLinear};
  EXPECT_DOUBLE_EQ(LearningRateOfStep(s, 0, 5), 0.5);
  EXPECT_DOUBLE_EQ(LearningRateOfStep(s, 5, 10), 1.0);
  EXPECT_DOUBLE_EQ(LearningRateOfStep(s, 8, 13), 1.0);
  EXPECT_DOUBLE_EQ(LearningRateOfStep(s, 80, 85), 1.0);
  EXPECT_DOUBLE_EQ(LearningRateOfStep(s, 95, 100), 0.25);
  // Half the batch: the curve stays where it is.
  EXPECT_DOUBLE_EQ(LearningRateOfStep(s, 95, 97), 0.25);
}

TEST(Schedule, ABranchDecaysFromAnyPointOfTheStablePhase) {
  const Schedule branch = BranchDecay(kNano2, 5'000'000, 1'000'000, DecayShape::kLinear);
  for (const uint64_t n : {0, 4000, 8000, 1'000'000, 5'000'000})
    EXPECT_EQ(LearningRate(branch, n), LearningRate(kNano2, n)) << n;
  EXPECT_NEAR(LearningRate(branch, 5'500'000), (kNano2.max_lr + kNano2.min_lr) / 2, 1e-15);
  EXPECT_NEAR(LearningRate(branch, 6'000'000), kNano2.min_lr, 1e-18);
  CheckSchedule(branch);
  EXPECT_THROW(BranchDecay(kNano2, 7999, 10, DecayShape::kLinear), Error);
  EXPECT_THROW(BranchDecay(kNano2, 16'400'001, 10, DecayShape::kLinear), Error);
  EXPECT_THROW(BranchDecay(kNano2, 9000, 0, DecayShape::kLinear), Error);
  EXPECT_THROW(BranchDecay(Of(ScheduleKind::kCosine), 9000, 10, DecayShape::kLinear), Error);
  Schedule constant = Of(ScheduleKind::kConstant);
  constant.total = 0;
  EXPECT_NEAR(LearningRate(BranchDecay(constant, 9000, 1000, DecayShape::kCosine), 10'000),
              constant.min_lr, 1e-18);
}

TEST(Schedule, ContradictionsAreErrors) {
  CheckSchedule(kNano2);
  const auto refused = [](auto change) {
    Schedule schedule = kNano2;
    change(schedule);
    EXPECT_THROW(CheckSchedule(schedule), Error);
  };
  refused([](Schedule& s) { s.max_lr = 0; });
  refused([](Schedule& s) { s.max_lr = std::nan(""); });
  refused([](Schedule& s) { s.min_lr = 1; });
  refused([](Schedule& s) { s.init_lr = -1; });
  refused([](Schedule& s) { s.total = 0; });
  refused([](Schedule& s) { s.warmup = s.total + 1; });
  refused([](Schedule& s) { s.decay = s.total - s.warmup + 1; });
}

TEST(Schedule, NamesRoundTripAndUnknownOnesListTheKnown) {
  for (const ScheduleKind kind :
       {ScheduleKind::kConstant, ScheduleKind::kLinear, ScheduleKind::kCosine, ScheduleKind::kWsd,
        ScheduleKind::kInverseSqrt})
    EXPECT_EQ(ScheduleKindFromName(Name(kind)), kind);
  for (const DecayShape shape :
       {DecayShape::kLinear, DecayShape::kCosine, DecayShape::kMinusSqrt, DecayShape::kExponential})
    EXPECT_EQ(DecayShapeFromName(Name(shape)), shape);
  try {
    ScheduleKindFromName("cosin");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("cosine"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace planish
