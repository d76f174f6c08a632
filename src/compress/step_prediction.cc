// SPDX-License-Identifier: Apache-2.0
#include "compress/step_prediction.h"

namespace planish {

std::vector<Seconds> PredictSteps(std::span<const ModelConfig> configs,
                                  const PredictionConditions& conditions,
                                  const CostSetting& setting, const MeasureOptions& options) {
  std::vector<CostTable> tables;
  for (const ModelConfig& config : configs) {
    CostConditions here =
        ConditionsHere(config, conditions.weights, conditions.act, conditions.states, 0);
    here.reuse_bytes = StreamedBytes(config, here, setting);
    tables.emplace_back(std::move(here));
  }
  std::vector<CostRequest> requests;
  for (size_t i = 0; i < configs.size(); ++i) {
    requests.push_back({&configs[i], {}, &tables[i]});
    for (const BlockConfig& block : configs[i].blocks)
      requests.back().mixers.push_back(block.mixer);
  }
  MeasureCosts(requests, {&setting, 1}, options);
  std::vector<Seconds> steps;
  for (size_t i = 0; i < configs.size(); ++i) {
    const std::vector<std::optional<MixerConfig>> blocks(requests[i].mixers.begin(),
                                                         requests[i].mixers.end());
    steps.push_back(tables[i].Step(blocks, setting));
  }
  return steps;
}

}  // namespace planish
