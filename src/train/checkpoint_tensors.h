// SPDX-License-Identifier: Apache-2.0
// Internal to checkpoints: which tensors a checkpoint has, seen in place or copied.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "model/export.h"
#include "tensor/safetensors.h"
#include "train/checkpoint.h"

namespace planish {

inline constexpr const char* kMasterName = "master.safetensors";

// True for what master.safetensors holds: parameters that are float in memory of their own.
bool IsMaster(const Param& param);
const float* MasterValues(const Param& param);

struct CheckpointStore::Tensors {
  Tensors() = default;
  Tensors(const Tensors&) = delete;
  Tensors& operator=(const Tensors&) = delete;

  std::vector<TensorToWrite> masters, moments;  // moments may be empty: written as shards before
  Json moments_metadata = Json::MakeObject();
  std::map<std::string, const float*> values;  // of masters by name
  bool uses_team = true;
  std::vector<Tensor> copies;  // what the above point into, when copied

  void View(const CheckpointParts& parts);
  void Copy(const CheckpointParts& parts);  // all in memory of its own

  ParamRows Rows() const;  // for the model folder
  uint64_t bytes() const;  // of all files, nearly
};

// Optimizer::steps() of the shards in a folder being written.
uint64_t StepsOfShards(const std::string& folder);
void AddMoments(const Optimizer& optimizer, std::vector<TensorToWrite>* tensors, Json* metadata);

}  // namespace planish
