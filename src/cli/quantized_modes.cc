// SPDX-License-Identifier: Apache-2.0
#include "cli/quantized_modes.h"

#include <algorithm>

#include "base/progress.h"
#include "cli/hidden_states.h"
#include "infer/throughput.h"

namespace planish {

std::vector<QuantizedMode> MeasureModes(const std::string& path, const Pretrained& reference,
                                        const CalibrationRows& rows) {
  constexpr size_t kSteps = 32, kRepetitions = 5;
  const std::vector<BlockConfig>& blocks = reference.config.blocks;
  const auto has = [&]<class Mixer>(std::type_identity<Mixer>) {
    return std::any_of(blocks.begin(), blocks.end(), [](const BlockConfig& block) {
      return std::holds_alternative<Mixer>(block.mixer);
    });
  };
  std::vector<RunMode> modes = {{.act = std::nullopt}};
  if (has(std::type_identity<AttentionConfig>()))
    modes.push_back({.act = std::nullopt, .kv = DType::kQ8_0});
  if (has(std::type_identity<Mamba2Config>()))
    modes.push_back({.act = std::nullopt, .ssm = DType::kBF16});
  std::vector<Tensor> expected;
  for (const auto& row : rows.rows)
    expected.push_back(HiddenStates(*reference.model, row, HiddenPath::kForward));
  Progress progress("as run", modes.size(), "modes");
  std::vector<QuantizedMode> results;
  for (const RunMode& mode : modes) {
    const Pretrained opened = OpenPretrained(path, {.needs_tokenizer = false, .run = mode});
    const StateTypes states = mode.state_types();
    QuantizedMode result{.act = Name(opened.model->act_mode()),
                         .kv = std::string(Name(states.kv)),
                         .ssm = std::string(Name(states.ssm))};
    for (size_t r = 0; r < rows.rows.size(); ++r) {
      const auto& row = rows.rows[r];
      const Tensor hidden = HiddenStates(*opened.model, row, HiddenPath::kDecode);
      result.divergence.Add(CompareHidden(*opened.model, hidden.f32(), *reference.model,
                                          expected[r].f32(), std::span(row).subspan(1)));
    }
    result.tokens_per_s = Throughput(opened.model.get(), 0, 1, kSteps)
                              .Measure({.n_gen = kSteps}, kRepetitions, /*with_phases=*/false)
                              .median_ts();
    progress.Update(results.size() + 1);
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace planish
