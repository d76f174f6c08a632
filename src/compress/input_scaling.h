// SPDX-License-Identifier: Apache-2.0
// Scales of input channels that move the difficulty of rounding: channels that carry much are made larger in the weights and
// smaller in the inputs, which changes nothing before rounding (product_inputs.h says where the other half goes).
//   AWQ (Lin et al., arXiv 2306.00978): s = mean|x|^alpha, alpha searched for the least error of the products after rounding.
//   SmoothQuant (Xiao et al., arXiv 2211.10438): s = max|x|^alpha / max|w|^(1 - alpha), for 8-bit activations.
#pragma once

#include <map>
#include <vector>

#include "compress/product_inputs.h"
#include "compress/round_matrix.h"

namespace planish {

// Matrices of a block as floats while it is quantised, by the Weight they come from.
using WorkMatrices = std::map<const Weight*, Tensor>;

struct ChannelScale {
  double alpha = 0;      // of the winner; 0: nothing is scaled
  std::vector<float> s;  // [in], their geometric middle is one; empty with alpha 0
};

// Tries alpha = 0, 1/steps, ..., 1. `storage`: of each product of the group. Errors are sums over the group's products,
// measured on at most 512 rows of each.
ChannelScale SearchAwqScale(const InputGroup& group, const InputStatistics& inputs,
                            const WorkMatrices& work, const std::vector<StorageType>& storage,
                            size_t steps);
ChannelScale SmoothScale(const InputGroup& group, const InputStatistics& inputs,
                         const WorkMatrices& work, double alpha);

// Columns of the group's matrices times s, and the layer before divided by it.
void ApplyScale(const InputGroup& group, const std::vector<float>& s, WorkMatrices* work);

}  // namespace planish
