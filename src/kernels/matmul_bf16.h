// SPDX-License-Identifier: Apache-2.0
// y[t, n] = sum_k bf16(x[t, k]) bf16(w[n, k]): the matrix product with bf16 operands and float sums, weights of any stored
// type (performance.md K4). Where the CPU has AMX this is the fastest product for many tokens, whatever the weights are.
// An element's bits depend on its row of x and of w only, never on T or the number of threads (per instruction-set level);
// what the bf16 units do with subnormal numbers is said in bf16_panels.h. On CPUs without such units the activations are
// rounded to bf16 and multiplied with the unrounded weights in float.
#pragma once

#include <cstddef>
#include <span>

#include "tensor/weight.h"

namespace planish {

// x: [T, in], ys[i]: [T, ws[i]->out()], rows contiguous; the weights have the same in(); outputs overlap nothing. In one parallel
// region after one that packs x. A weight with a fresh view under kPackedLayout is read from that view, not from its
// canonical data.
void MatMulBf16(std::span<const Weight* const> ws, const float* x, size_t T,
                std::span<float* const> ys);

}  // namespace planish
