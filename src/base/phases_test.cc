// SPDX-License-Identifier: Apache-2.0
#include "base/phases.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/parallel.h"

namespace planish {
namespace {

const PhaseReport::Entry& Of(const PhaseReport& report, Phase phase) {
  return report.phases[static_cast<size_t>(phase)];
}

// Until the clock that phases use has moved.
void Pass() {
  const auto start = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() - start < std::chrono::microseconds(50)) {
  }
}

TEST(Phases, AnInnerScopeStopsTheClockOfTheOuterOne) {
  PhaseClock clock;
  const auto start = std::chrono::steady_clock::now();
  double inner_s = 0;
  {
    const PhaseScope outer(Phase::kAttention);
    Pass();
    const auto inner_start = std::chrono::steady_clock::now();
    {
      const PhaseScope inner(Phase::kNorm);
      Pass();
    }
    inner_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - inner_start).count();
    Pass();
  }
  Pass();
  const PhaseReport report = clock.Report();
  const double whole_s =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  EXPECT_EQ(Of(report, Phase::kAttention).calls, 1u);
  EXPECT_EQ(Of(report, Phase::kNorm).calls, 1u);
  EXPECT_GE(Of(report, Phase::kAttention).seconds, 100e-6);
  EXPECT_GE(Of(report, Phase::kNorm).seconds, 50e-6);
  EXPECT_LE(Of(report, Phase::kNorm).seconds, inner_s);
  EXPECT_GE(Of(report, Phase::kOther).seconds, 50e-6);
  EXPECT_LE(Of(report, Phase::kAttention).seconds + Of(report, Phase::kNorm).seconds, whole_s);
  EXPECT_DOUBLE_EQ(Of(report, Phase::kHead).seconds, 0.0);
}

TEST(Phases, ParallelRegionsAreCountedInThePhaseThatOpensThem) {
  const int before = ThreadCount();
  SetThreadCount(2);
  PhaseClock clock;
  {
    const PhaseScope scope(Phase::kMatMulFfn);
    for (int i = 0; i < 3; ++i) ParallelFor(8, [](size_t, int) {});
    ParallelFor(1, [](size_t, int) {});  // one piece of work opens no region
  }
  ParallelFor(8, [](size_t, int) {});
  const PhaseReport report = clock.Report();
  SetThreadCount(before);
  EXPECT_EQ(Of(report, Phase::kMatMulFfn).parallel_regions, 3u);
  EXPECT_EQ(Of(report, Phase::kOther).parallel_regions, 1u);
  EXPECT_EQ(report.parallel_regions(), 4u);
}

TEST(Phases, ScopesOfOtherThreadsAndWithoutAClockCountNothing) {
  { const PhaseScope scope(Phase::kScan); }
  PhaseClock clock;
  std::thread([] { const PhaseScope scope(Phase::kScan); }).join();
  EXPECT_EQ(Of(clock.Report(), Phase::kScan).calls, 0u);
}

TEST(Phases, EveryPhaseHasANameOfItsOwn) {
  for (size_t i = 0; i < kPhaseCount; ++i) {
    for (size_t j = 0; j < i; ++j)
      EXPECT_STRNE(Name(static_cast<Phase>(i)), Name(static_cast<Phase>(j)));
  }
}

}  // namespace
}  // namespace planish
