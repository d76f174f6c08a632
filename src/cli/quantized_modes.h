// SPDX-License-Identifier: Apache-2.0
// A quantised file as it would be run: what 8-bit KV and bf16 states add to its distance from the original, and how fast it is.
#pragma once

#include "compress/calibration.h"
#include "compress/quantize_report.h"

namespace planish {

// Token by token over the rows, against the exact reference. bf16 states only for models that have states.
std::vector<QuantizedMode> MeasureModes(const std::string& path, const Pretrained& reference,
                                        const CalibrationRows& rows);

}  // namespace planish
