// SPDX-License-Identifier: Apache-2.0
// GPTQ (Frantar et al., arXiv 2210.17323): columns of a matrix are rounded one after another, and the error of each is taken up
// by the columns that are still to come, as the inputs' correlations say: with H = X X^T + damping,
//   e = (w_j - round(w_j)) / U_jj,   w_k -= e U_jk for later k,   H^-1 = U^T U, U upper triangular.
// Blocks of the stored type come in descending order of their inputs' energy, and so do the columns of a block; a block's
// scales are fitted when its turn comes, to the weights as they then are, an error at column j counting 1 / U_jj^2.
#pragma once

#include <string>
#include <vector>

#include "tensor/tensor.h"
#include "tensor/weight.h"

namespace planish {

// What matrices of the same inputs share. Columns: `order` is a permutation of [0, in) that keeps blocks together.
struct GptqFactors {
  std::vector<uint32_t> order;  // [in]: column that comes p-th
  Tensor u;                     // [in, in] upper triangular, in that order
};
// gram: [in, in] sum of x x^T; block divides in. `damping` times the mean of the diagonal is added to it, more if rounding left
// the matrix without a Cholesky factor.
GptqFactors FactorGram(const Tensor& gram, size_t block, double damping);

// w: [out, in], a copy that is destroyed. A type with a BlockGrid.
Weight RoundByGptq(const std::string& name, Tensor w, const GptqFactors& factors, DType type);

}  // namespace planish
