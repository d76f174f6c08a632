// SPDX-License-Identifier: Apache-2.0
// The FP8 recipe of Nemotron Nano 2 (train.md 6) on a linear layer: which values are quantised, how and when. The three products
// of training read E4M3 codes with a scale for each 128 x 128 of the weight and each 1 x 128 of activations and gradients along
// the dimension summed over; rows and gradients are quantised from their bf16 values, once for each direction, never from codes.
// The tensorwise variant (Nemotron-H) has one scale for a tensor and E5M2 gradients.
#pragma once

#include <array>
#include <vector>

#include "base/memory.h"
#include "kernels/fp8_quantize.h"
#include "model/pass.h"
#include "model/rows_view.h"
#include "tensor/weight.h"

namespace planish {

enum class Fp8Class : uint8_t { kWeights, kActivations, kGradients };
using Fp8ClassStatistics = std::array<Fp8Statistics, 3>;  // by Fp8Class
const char* Name(Fp8Class tensor_class);                  // "weights", "activations", "gradients"

struct Fp8Options {
  bool tensorwise = false;
  bool power_of_two = false;             // scales rounded up to powers of two
  size_t bf16_first = 2, bf16_last = 2;  // blocks at either end whose products stay bf16
  Fp8ClassStatistics* statistics =
      nullptr;  // added to, if not null; a weight counts when it is quantised
};

// A weight as codes: made when the weight's version or the options changed since.
class Fp8Weight {
 public:
  // [out, in] code values and the scales of tiles().
  void Update(const Weight& weight, const Fp8Options& options);
  const uint16_t* values() const { return reinterpret_cast<const uint16_t*>(values_.data()); }
  const float* scales() const { return scales_.data(); }
  Fp8Tiles tiles() const { return tensorwise_ ? Fp8Tiles::kTensor : Fp8Tiles::kBlocks; }

 private:
  uint64_t version_ = 0;  // 0: nothing yet
  bool tensorwise_ = false, power_of_two_ = false;
  AlignedBuffer values_;
  std::vector<float> scales_;
};

// Projection's products under Precision::kFp8, for weights of kF32 or kBF16.
// y [T, out] = x [T, in] W^T.
void Fp8Forward(const Pass& pass, const Weight& weight, Fp8Weight* codes, size_t T,
                const RowsView& x, float* y);
// dx [T, in] = dy [T, out] W, or dx += that.
void Fp8BackwardInput(const Pass& pass, const Weight& weight, Fp8Weight* codes, size_t T,
                      const RowsView& dy, bool accumulate, float* dx);
// grad [out, in] += dy^T x.
void Fp8BackwardWeight(const Pass& pass, size_t out, size_t in, size_t T, const RowsView& x,
                       const RowsView& dy, float* grad);

}  // namespace planish
