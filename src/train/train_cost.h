// SPDX-License-Identifier: Apache-2.0
// Work and memory of training, from the config alone. Work: models.md section 7, with the triangles of causal attention and of
// SSD chunks counted once, as they are computed; a step counts three times its forward pass, whatever is computed again.
#pragma once

#include <string>

#include "model/activations.h"
#include "model/config.h"
#include "model/pass.h"

namespace planish {

struct ForwardFlops {
  double per_token = 0;    // matrices, head, conv and SSD
  double per_context = 0;  // for each (token, token it attends to) pair, summed over layers
};
ForwardFlops ForwardFlopsOf(const ModelConfig& config);

struct TrainPlanRequest {
  uint64_t micro_tokens = 0;   // T of one pass
  uint64_t micro_batches = 1;  // of one step
  Precision precision = Precision::kBf16;
  Recompute recompute;
  bool has_async_checkpoints = true;  // a copy of masters and moments while one is written
};

// Bytes at the peak of a step.
struct TrainPlan {
  uint64_t masters = 0;      // f32 weights
  uint64_t gradients = 0;    // f32, one buffer a live partial sum of the tree
  uint64_t moments = 0;      // AdamW's m and v
  uint64_t snapshot = 0;     // of a checkpoint being written
  uint64_t activations = 0;  // kept from the forward to the backward pass
  uint64_t scratch =
      0;  // the workspace at its largest: a block, or the head with the logits of a chunk of rows
  uint64_t program = 0;
  uint64_t total() const {
    return masters + gradients + moments + snapshot + activations + scratch + program;
  }
};
TrainPlan PlanTraining(const ModelConfig& config, const TrainPlanRequest& request);

// "weights 1.2 GiB, gradients ..., total ...".
std::string Describe(const TrainPlan& plan);

}  // namespace planish
