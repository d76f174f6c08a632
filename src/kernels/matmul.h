// SPDX-License-Identifier: Apache-2.0
// y[t, n] = sum_k x[t, k] * w[n, k]  (weights as stored: [out, in]), x and y float, w of any stored
// type. Weights are dequantised on the fly, block by block in registers or L1; a whole matrix never
// exists as floats. Weights may be unaligned; nothing is read beyond their last byte. Every element
// is summed in the same order whatever T is and whoever shares the batch, so a row's bits depend on
// the row and the weight only (per ISA level). Sums are float, in lanes over k, then across lanes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/weight.h"

namespace planish {

// x: [T, w.in()], y: [T, w.out()], rows contiguous; y must not overlap x. Runs on the thread team.
void MatMul(const Weight& w, const float* x, size_t T, float* y);

// ys[i] = x ws[i]^T for weights of the same in(), in one parallel region (q|k|v, gate|up); the bits
// of ys[i] are those of MatMul.
void MatMulMany(std::span<const Weight* const> ws, const float* x, size_t T,
                std::span<float* const> ys);

// out: [rows.size(), w.in()], row i = row rows[i] of w as floats, scales applied (embedding
// lookup). Every index must be in [0, w.out()).
void GatherRows(const Weight& w, std::span<const int32_t> rows, float* out);

}  // namespace planish
