// SPDX-License-Identifier: Apache-2.0
// Work of training, from the config alone: models.md section 7, with the triangles of causal attention and of
// SSD chunks counted once, as they are computed; whatever is computed again is not counted.
#pragma once

#include <string>
#include <vector>

#include "model/config.h"

namespace planish {

struct Flops {
  double per_token = 0;    // matrices, head, conv and SSD
  double per_context = 0;  // for each (token, token it attends to) pair, summed over layers
};
Flops ForwardFlopsOf(const ModelConfig& config);

// Forward and backward: three times forward; with adapters (rank above 0, on projections whose names end in one of `modules`,
// or on all) twice for the frozen matrices, which get no gradient, and three times for the adapters.
Flops StepFlopsOf(const ModelConfig& config, uint64_t lora_rank = 0,
                  const std::vector<std::string>& modules = {});

}  // namespace planish
