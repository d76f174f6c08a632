// SPDX-License-Identifier: Apache-2.0
// How long a step takes in models that need not exist: their blocks are measured on this machine (cost_measure.h) and added up.
// No model is ever whole in memory, so shapes larger than the machine can be compared, too.
#pragma once

#include <span>
#include <vector>

#include "compress/cost_measure.h"

namespace planish {

struct PredictionConditions {
  DType weights = DType::kBF16;
  std::optional<ActMode> act;  // nullopt: what is fastest here
  StateTypes states;
};

// Of each config, in order. Blocks of all configs take turns where memory holds them together, so differences of a percent
// between configs are theirs. Error(kNoMemory) if not even two copies of a block fit.
std::vector<Seconds> PredictSteps(std::span<const ModelConfig> configs,
                                  const PredictionConditions& conditions,
                                  const CostSetting& setting, const MeasureOptions& options);

}  // namespace planish
