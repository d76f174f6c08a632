// SPDX-License-Identifier: Apache-2.0
// Work of training, from the config alone: models.md section 7, with the triangles of causal attention and of
// SSD chunks counted once, as they are computed; a step counts three times its forward pass, whatever is computed again.
#pragma once

#include "model/config.h"

namespace planish {

struct ForwardFlops {
  double per_token = 0;    // matrices, head, conv and SSD
  double per_context = 0;  // for each (token, token it attends to) pair, summed over layers
};
ForwardFlops ForwardFlopsOf(const ModelConfig& config);

}  // namespace planish
