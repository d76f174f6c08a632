// SPDX-License-Identifier: Apache-2.0
// A low-rank adapter of a linear layer (LoRA, Hu et al., arXiv 2106.09685): y += scale (x A^T) B^T with A [r, in], B [out, r].
// Trained beside a frozen weight of any type. Backward: dx += scale (dy B) A, dA += scale (dy B)^T x, dB += scale dy^T (x A^T).
#pragma once

#include <cstdint>
#include <string>

#include "model/param.h"
#include "model/pass.h"
#include "model/rows_view.h"

namespace planish {

class LowRank {
 public:
  // alpha: the adapter's strength; scale = alpha / r, or alpha / sqrt(r) when rank_stabilised (Kalajdzievski, arXiv 2312.03732).
  LowRank(size_t out, size_t in, size_t rank, double alpha, bool rank_stabilised = false);

  size_t rank() const { return a.out(); }
  // A uniform in +-1/sqrt(in), a function of (seed, name, place); B zero, so that the adapter changes nothing at first.
  void Initialise(uint64_t seed, const std::string& name);

  void Forward(const Pass& pass, size_t T, const RowsView& x, float* y) const;          // y +=
  void BackwardInput(const Pass& pass, size_t T, const RowsView& dy, float* dx) const;  // dx +=
  void BackwardWeight(const Pass& pass, size_t T, const RowsView& x, const RowsView& dy) const;
  // The engine's rows, always in float: y +=.
  void Step(size_t T, const float* x, float* y) const;
  // "q_proj.lora_A.weight" and "q_proj.lora_B.weight" for a projection "q_proj.weight".
  void Visit(const std::string& projection, const ParamVisitor& visit);
  // weight += scale B A; weight: [out, in] floats.
  void AddTo(float* weight) const;

  Weight a, b;  // float
  float scale;
  float *d_a = nullptr, *d_b = nullptr;

 private:
  void Down(const Pass& pass, size_t T, const RowsView& x, float* low) const;
  void DownGradient(const Pass& pass, size_t T, const RowsView& dy, float* d_low) const;
};

}  // namespace planish
