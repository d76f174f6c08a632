// SPDX-License-Identifier: Apache-2.0
// What `planish quantize` did, as JSON and as a page: sizes, errors of every matrix, and what the model lost on text that it
// was not calibrated on.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "compress/mixed_precision.h"
#include "compress/quantize_model.h"
#include "eval/divergence.h"

namespace planish {

// The written model as it would be run.
struct QuantizedMode {
  std::string act, kv, ssm;
  Divergence divergence;    // token by token, as decoding does
  double tokens_per_s = 0;  // decode, one sequence, median
};

struct QuantizeReport {
  std::string version, model, output, type;
  QuantizeMethod method = QuantizeMethod::kRtn;
  Json options;             // as the user set them, seeds too
  std::string calibration;  // of the rows; empty: none
  uint64_t calibration_hash = 0;
  std::vector<QuantizedTensor> tensors;
  std::optional<MixedPrecision> mixed;
  std::vector<QuantizedMode> modes;
  uint64_t source_bytes = 0, bytes = 0;  // of the model's files
  std::string held_out;                  // of the rows that `divergence` is over
  std::optional<Divergence> divergence;  // exact arithmetic on both sides
  double seconds = 0, evaluation_seconds = 0;

  double bits_per_weight() const;  // of the matrices
  // (CE - CE of the reference) / CE of the reference.
  double loss_change() const;
};

Json ReportJson(const QuantizeReport& report);
std::string ReportPage(const QuantizeReport& report);
// A few lines for people.
std::string ReportText(const QuantizeReport& report);

}  // namespace planish
