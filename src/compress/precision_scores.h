// SPDX-License-Identifier: Apache-2.0
// What each matrix of a model costs in each of some types: the KL of the model in which it alone is rounded to the smallest of
// them, on rows of text, and for the other types that KL times the ratio of the errors of the matrix's outputs (of its weights,
// for embedding and head): to second order the KL is quadratic in the error.
#pragma once

#include <functional>
#include <vector>

#include "compress/calibration.h"
#include "compress/precision_choice.h"
#include "model/pretrained.h"

namespace planish {

struct PrecisionScoreOptions {
  std::vector<DType> types;  // block types; rows that do not fill one get WritableType's
  std::map<std::string, StorageType> kept;  // matrices whose type is no question
  ScaleRule rule = ScaleRule::kFitted;      // of the rounding that is measured
  Precision precision = Precision::kBf16;   // of the passes that gather inputs; scores are in float
  std::function<void(size_t done, size_t total)> progress;  // in matrices
};

// Every matrix with its types by bytes, not scored yet.
std::vector<MatrixPrecisions> ListPrecisions(Model* model, const PrecisionScoreOptions& options);

// data: what errors of outputs are measured on; rows: what the KL is. The model is as before afterwards.
std::vector<MatrixPrecisions> ScorePrecisions(Pretrained* opened, const CalibrationRows& data,
                                              const CalibrationRows& rows,
                                              const PrecisionScoreOptions& options);

}  // namespace planish
