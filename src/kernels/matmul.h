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

// In what the activations are multiplied. f32 is exact (weights dequantised on the fly); bf16 rounds activations to bfloat16;
// int8 quantises them in groups of 32 and multiplies with the 4- or 8-bit codes of the weight.
enum class ActMode : uint8_t { kF32, kBf16, kInt8 };

// The rows of a product and how to multiply them. The first `decode` rows come one from each sequence, the others from prompt
// slices: a fast mode may treat the two kinds in different arithmetic, so that each is fast, yet a row's bits depend on its
// kind and not on how many rows there are.
struct Rows {
  Rows() = default;
  Rows(size_t all, size_t decode_rows = 0, ActMode mode = ActMode::kF32)  // NOLINT: a count is Rows
      : total(all), decode(decode_rows), act(mode) {}
  size_t total = 0;
  size_t decode = 0;
  ActMode act = ActMode::kF32;
};

// x: [rows.total, w.in()], y: [rows.total, w.out()], rows contiguous; y must not overlap x. Runs on the thread team.
void MatMul(const Weight& w, const float* x, const Rows& rows, float* y);

// ys[i] = x ws[i]^T for weights of the same in(), in one parallel region (q|k|v, gate|up); the bits
// of ys[i] are those of MatMul.
void MatMulMany(std::span<const Weight* const> ws, const float* x, const Rows& rows,
                std::span<float* const> ys);

// out: [rows.size(), w.in()], row i = row rows[i] of w as floats, scales applied (embedding
// lookup). Every index must be in [0, w.out()).
void GatherRows(const Weight& w, std::span<const int32_t> rows, float* out);

// out[0, n) = elements [begin, begin + n) of row r as floats, scales applied; begin and n multiples of the type's block. May
// write zeros up to the next multiple of 16 elements of `out`.
void DecodeRowPart(const Weight& w, size_t r, size_t begin, size_t n, float* out);

}  // namespace planish
