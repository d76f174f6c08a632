// SPDX-License-Identifier: Apache-2.0
// Low-rank adapters of a whole model (LoRA): which projections carry one, and Hugging Face PEFT's folder of adapter_config.json
// and adapter_model.safetensors, read and written. Names in that file: base_model.model.NAME.lora_A.weight for a projection
// NAME.weight of the model.
#pragma once

#include <string>
#include <vector>

#include "model/model.h"

namespace planish {

struct AdapterConfig {
  size_t rank = 16;
  double alpha = 32;
  bool rank_stabilised = false;  // scale alpha / sqrt(rank)
  // Last parts of projection names ("q_proj", "in_proj"); empty: all of attention, FFN and Mamba-2.
  std::vector<std::string> target_modules;
  std::string base_model;  // name or path, for information
};

// Whether the config names the projection of this parameter ("...q_proj.weight").
bool IsTarget(const AdapterConfig& config, const std::string& param);

// Gives every projection that the config names an adapter which changes nothing yet. Error(kUsage) if a name fits none.
void AddAdapters(Model* model, const AdapterConfig& config, uint64_t seed);
bool HasAdapters(Model* model);

// Reads a PEFT folder and adds its adapters. Error(kBadFile) for what does not fit the model or is not supported (DoRA, other
// kinds, modules trained in full, per-module alphas).
AdapterConfig LoadAdapter(const std::string& folder, Model* model);
void SaveAdapter(const std::string& folder, Model* model, const AdapterConfig& config);

// weight += scale B A for every adapter, which is then dropped; such weights become owned floats.
void MergeAdapters(Model* model);

}  // namespace planish
