// SPDX-License-Identifier: Apache-2.0
// y[t, n] = sum_k x[t, k] * w[n, k]  (weights as stored: [out, in]), x and y float, w of any stored type.
// Weights are dequantised on the fly, block by block in registers or L1; a whole matrix never exists as floats.
// Every element is summed in the same order whatever T is and whoever shares the batch, so a row's bits depend on
// the row and the weight only (per ISA level). Sums are float, in lanes over k, then across lanes.
#pragma once

#include <cstddef>

#include "tensor/weight.h"

namespace planish {

// x: [T, w.in()], y: [T, w.out()], rows contiguous; y must not overlap x. Runs on the thread team.
void MatMul(const Weight& w, const float* x, size_t T, float* y);

}  // namespace planish
