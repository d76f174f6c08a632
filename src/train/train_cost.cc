// SPDX-License-Identifier: Apache-2.0
#include "train/train_cost.h"

#include "model/adapter.h"
#include "model/mixer.h"
#include "model/model.h"

namespace planish {

Flops ForwardFlopsOf(const ModelConfig& config) {
  const double D = static_cast<double>(config.hidden_size);
  Flops flops{.per_token = 2.0 * static_cast<double>(config.vocab_size) * D};
  for (const BlockConfig& block : config.blocks) {
    const MixerCost cost = CostOf(block.mixer, config.hidden_size);
    flops.per_token += cost.flops_per_token;
    flops.per_context += cost.attention_flops_per_token_and_context;
    if (const auto* m = std::get_if<Mamba2Config>(&block.mixer)) {
      // Chunks in place of the recurrence's 5 P N H: half of 2 Q N G + 2 Q P H, and 4 P N H.
      const double state = static_cast<double>(m->inner() * m->state_size);
      const double chunk = static_cast<double>(m->chunk_size);
      flops.per_token += 4.0 * state - 5.0 * state +
                         chunk * static_cast<double>(m->state_size * m->n_groups + m->inner());
    }
  }
  return flops;
}

Flops StepFlopsOf(const ModelConfig& config, uint64_t lora_rank,
                  const std::vector<std::string>& modules) {
  const Flops forward = ForwardFlopsOf(config);
  Flops step{3 * forward.per_token, 3 * forward.per_context};
  if (lora_rank == 0) return step;
  step.per_token -= 2.0 * static_cast<double>(config.vocab_size * config.hidden_size);
  const AdapterConfig adapter{.rank = lora_rank, .target_modules = modules};
  Model(config).VisitParams([&](const Param& param) {
    if (param.projection == nullptr) return;
    const size_t out = param.shape[0], in = param.shape[1];
    step.per_token -= 2.0 * static_cast<double>(out * in);
    if (IsTarget(adapter, param.name))
      step.per_token += 3 * 2.0 * static_cast<double>(lora_rank * (out + in));
  });
  return step;
}

}  // namespace planish
