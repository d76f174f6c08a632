// SPDX-License-Identifier: Apache-2.0
// Mixed precision by the integer program of the search (compress.md section 7): which type each matrix gets so that the summed
// scores are least and the bytes stay within a limit.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "compress/round_matrix.h"

namespace planish {

struct PrecisionOption {
  DType type = DType::kF32;
  uint64_t bytes = 0;
  double score = 0;  // what the model loses when this matrix alone has the type, nats of KL a token
};

struct MatrixPrecisions {
  std::string name;
  Shape shape;
  double measured_kl = 0;                // of the type with the largest error
  std::vector<PrecisionOption> options;  // more bytes, smaller score; at least one
};

struct PrecisionPlan {
  std::map<std::string, StorageType> storage;  // by name
  uint64_t bytes = 0;                          // of the matrices
  double score = 0;                            // summed
  double bound = 0;                            // no plan scores less
};

// Leaves out options that cost as much as another one of at most its score, or more; by bytes then.
void KeepBestOptions(std::vector<PrecisionOption>* options);

uint64_t LeastBytes(const std::vector<MatrixPrecisions>& matrices);
uint64_t MostBytes(const std::vector<MatrixPrecisions>& matrices);
// `bytes` is at least LeastBytes (checked).
PrecisionPlan ChoosePrecisions(const std::vector<MatrixPrecisions>& matrices, uint64_t bytes);
// Plans of the least and the most bytes and some between, by bytes.
std::vector<PrecisionPlan> PrecisionCurve(const std::vector<MatrixPrecisions>& matrices);

}  // namespace planish
