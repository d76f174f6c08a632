// SPDX-License-Identifier: Apache-2.0
// Internal to quantize_report: the parts on mixed precision and on ways to run the model.
#pragma once

#include "compress/quantize_report.h"

namespace planish {

Json MixedJson(const MixedPrecision& mixed);
Json ModesJson(const std::vector<QuantizedMode>& modes);
// KL over size with what was chosen, and the types of each layer's matrices.
std::string MixedHtml(const MixedPrecision& mixed);
std::string ModesHtml(const std::vector<QuantizedMode>& modes);
std::string ModesText(const std::vector<QuantizedMode>& modes);

}  // namespace planish
