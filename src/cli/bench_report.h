// SPDX-License-Identifier: Apache-2.0
// What `planish bench` prints: the machine's peaks first, then each speed with its share of them.
#pragma once

#include <string>
#include <vector>

#include "infer/throughput.h"
#include "kernels/machine_peaks.h"
#include "kernels/matmul.h"

namespace planish {

// One measured row, and the peaks of the team that it ran on.
struct BenchRow {
  int threads = 0;
  ActMode act = ActMode::kF32;
  ThroughputResult result;
  double read_peak = 0;        // bytes a second
  double arithmetic_peak = 0;  // operations a second, in the type of `act`

  double share_of_read() const;        // of the time that moving work.bytes takes at best
  double share_of_arithmetic() const;  // likewise of work.flops
  double limit_ts() const;             // tokens a second if the slower of the two were all
  double share_of_limit() const { return result.median_ts() / limit_ts(); }
};

// Peak of the units that `act` multiplies in.
Rate ArithmeticPeak(const MachinePeaks& peaks, ActMode act);

std::string PeaksText(const MachinePeaks& peaks);  // lines "name  value"
std::string PatternsText(const std::vector<PatternRate>& patterns);
std::string TestName(const ThroughputTest& test);         // "pp512", "tg128 @ d8192 b4"
std::string RowsText(const std::vector<BenchRow>& rows);  // a Markdown table
std::string PhasesText(const BenchRow& row);              // a Markdown table; empty without phases
Json RowToJson(const BenchRow& row);

}  // namespace planish
