// SPDX-License-Identifier: Apache-2.0
// Types for a model's matrices so that its GGUF file stays within a size: scored, chosen by the integer program, and known to
// the byte before anything is quantised.
#pragma once

#include <vector>

#include "compress/precision_scores.h"

namespace planish {

// One of them is given.
struct PrecisionTarget {
  uint64_t file_bytes = 0;
  double bits = 0;  // a weight, mean over all matrices
};

// What the integer program had to choose from, and what it chose.
struct MixedPrecision {
  PrecisionTarget target;
  uint64_t predicted_bytes = 0;  // of the file
  std::vector<MatrixPrecisions> matrices;
  PrecisionPlan plan;
  std::vector<PrecisionPlan> curve;  // of other sizes
};

// Error(kUsage), with what would be possible, if no choice reaches the target. The other arguments as for ScorePrecisions.
MixedPrecision MixPrecisions(Pretrained* opened, const CalibrationRows& data,
                             const CalibrationRows& rows, const PrecisionTarget& target,
                             const PrecisionScoreOptions& options);

}  // namespace planish
