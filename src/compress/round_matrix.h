// SPDX-License-Identifier: Apache-2.0
// A matrix of floats rounded to a stored type, each value by itself (round to nearest), and what that costs: signal to noise of
// the weights, and of the products they are used in.
#pragma once

#include <string>

#include "tensor/tensor.h"
#include "tensor/weight.h"

namespace planish {

// How a matrix is stored.
struct StorageType {
  static constexpr size_t kRow = ~size_t{0};
  DType type = DType::kF32;  // block types, floats, F8_E4M3
  // Inputs that share one scale: 0: as many as a block of the type has; a multiple of the block; kRow: all of a row. Of FP8: the
  // side of square tiles, or kRow.
  size_t shared = 0;
};
std::string Describe(
    const StorageType& storage);  // "q8_0", "q8_0, one scale a row", "f8_e4m3, tiles of 128"

enum class ScaleRule {
  kLargest,  // the largest magnitude decides, as ggml's reference quantiser and most papers do
  kFitted,  // least squared error (tensor/block_grid.h); values beyond the grid's ends are clipped where that pays
};

// w: [out, in] floats; importance: [in] weights of squared errors for kFitted, or null. Types without a rule of their own (K
// types) are always fitted. Rows are spread over the thread team.
Weight RoundMatrix(const std::string& name, const Tensor& w, const StorageType& storage,
                   ScaleRule rule, const float* importance);

// Values of a weight of any type, scales applied: [out, in].
Tensor ValuesOf(const Weight& weight);

// sum a^2 and sum (a - b)^2, in double, of two [n] ranges; and of what they make of inputs with Gram matrix gram [in, in]:
// tr(A G A^T). `rows`: at most so many rows, spread over the matrix, stand for all.
struct SignalAndNoise {
  double signal = 0, noise = 0;
  double decibels() const;  // 10 log10(signal / noise); infinity without noise
};
SignalAndNoise WeightNoise(const Tensor& exact, const Tensor& rounded);
SignalAndNoise ProductNoise(const Tensor& exact, const Tensor& rounded, const Tensor& gram,
                            size_t rows = ~size_t{0});

}  // namespace planish
