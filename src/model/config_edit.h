// SPDX-License-Identifier: Apache-2.0
// A model's config with blocks changed, removed or put in: what pruning, search and fusion make out of a parent's. The result
// is a config.json that this program opens again to the same blocks, in the most widely known spelling that can say it:
// the parent's family while all blocks of a kind are equal and none is missing; DeciLM (`block_configs`) for Llama parents
// otherwise; Nemotron-H keeps its pattern (missing blocks leave no letter) and lists unequal blocks under the key
// `planish_block_configs`, which other readers ignore.
#pragma once

#include <optional>
#include <vector>

#include "model/config.h"

namespace planish {

struct ConfigEdit {
  size_t hidden_size = 0;  // 0: the parent's
  // For each block of the parent: what stands there now; nullopt: nothing (a no-op).
  std::vector<std::optional<MixerConfig>> blocks;
  // Layers that lost all their blocks stay as empty entries under their number: DeciLM can say that, and Llama then becomes it.
  bool keeps_empty_layers = false;
};

struct EditedConfig {
  ModelConfig config;
  std::vector<size_t> parent_of;  // [child's blocks]: the parent's block in whose place each stands
};

// Layers that have no block left are dropped and the rest numbered anew, except in DeciLM models, where they stay as empty
// entries as long as one of a layer's two places is taken. Error(kUsage) naming block and reason for what no config can say
// (a Mamba-2 block in a Llama model), or that breaks a rule of the mixer (heads that the groups do not divide).
EditedConfig EditConfig(const ModelConfig& parent, const ConfigEdit& edit);

}  // namespace planish
