// SPDX-License-Identifier: Apache-2.0
#include "train/train_cost.h"

#include "model/mixer.h"

namespace planish {
ForwardFlops ForwardFlopsOf(const ModelConfig& config) {
  const double D = static_cast<double>(config.hidden_size);
  ForwardFlops flops{.per_token = 2.0 * static_cast<double>(config.vocab_size) * D};
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

}  // namespace planish
