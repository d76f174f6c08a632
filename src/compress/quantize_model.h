// SPDX-License-Identifier: Apache-2.0
// Quantises a model block by block: the calibration rows' residual streams run through what is quantised already, so each
// block is fitted to the inputs that it will see. Memory: the streams, one block in floats, and the quantised matrices.
#pragma once

#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "compress/calibration.h"
#include "compress/storage_plan.h"
#include "model/pass.h"
#include "model/pretrained.h"

namespace planish {

enum class QuantizeMethod {
  kRtn,  // round to nearest, scales by the largest value: ggml's bytes where ggml has a rule; no data
  kClip,  // scales by least squares, clipping where that pays; with data errors count by their inputs' energy
  kAwq,          // AWQ's channel scales, then as kClip with data
  kGptq,         // GPTQ
  kAwqGptq,      // AWQ's channel scales, then GPTQ
  kSmoothQuant,  // SmoothQuant's channel scales, then round to nearest
};
const char* Name(QuantizeMethod method);  // "awq-gptq"
bool NeedsData(QuantizeMethod method);

struct QuantizeOptions {
  QuantizeMethod method = QuantizeMethod::kRtn;
  std::map<std::string, StorageType> storage;  // of every matrix
  double smooth_alpha = 0.5;
  size_t awq_steps = 20;
  double damping = 0.01;
  Precision precision = Precision::kBf16;                   // of the calibration passes
  std::function<void(size_t done, size_t total)> progress;  // in blocks
};

struct QuantizedTensor {
  std::string name;
  Shape shape;
  StorageType storage;
  uint64_t bytes = 0, source_bytes = 0;
  double weight_sqnr = 0;  // decibels; infinity: exact
  double product_sqnr =
      std::numeric_limits<double>::quiet_NaN();  // of its outputs on the data; NaN without data
  double alpha =
      std::numeric_limits<double>::quiet_NaN();  // of the channel scale; NaN if none was looked for
};

// Changes the opened model's matrices, and its norms where channel scales went there. Error(kUsage) if the method cannot make
// one of the types; `data` may be null for methods that need none.
std::vector<QuantizedTensor> QuantizeModel(Pretrained* opened, const QuantizeOptions& options,
                                           const CalibrationRows* data);

}  // namespace planish
