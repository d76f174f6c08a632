// SPDX-License-Identifier: Apache-2.0
// Projection: the linear layer of every mixer, y = x W^T, with its gradient: the one place where training arithmetic (float,
// bf16, FP8) meets a weight. Backward: dx = dy W, dW += dy^T x.
#pragma once

#include <memory>
#include <span>

#include "kernels/gemm_bf16.h"
#include "kernels/matmul.h"
#include "model/fp8_recipe.h"
#include "model/low_rank.h"

namespace planish {

class Projection {
 public:
  Weight weight;                     // [out, in]
  float* grad = nullptr;             // [out, in], not owned; null: frozen
  std::unique_ptr<LowRank> adapter;  // added to the product where there is one

  // y [T, out] = x [T, in] W^T. T is given where it is not the pass's: a slice of its rows.
  void Forward(const Pass& pass, size_t T, const RowsView& x, float* y) const;
  // The same in parts: to `sink` while they are in a cache where the arithmetic allows it, else by way of scratch.
  void ForwardTo(const Pass& pass, size_t T, const RowsView& x, const ProductSink& sink) const;
  // dx [T, in] = dy [T, out] W, or dx += that.
  void BackwardInput(const Pass& pass, size_t T, const RowsView& dy, float* dx,
                     bool accumulate = false) const;
  void BackwardInputTo(const Pass& pass, size_t T, const RowsView& dy,
                       const ProductSink& sink) const;
  // grad += dy^T x unless frozen.
  void BackwardWeight(const Pass& pass, size_t T, const RowsView& x, const RowsView& dy) const;
  // The engine's product (kernels/matmul.h).
  void Step(const Rows& rows, const float* x, float* y) const;

  // The weight, then those of the adapter. `name` ends in ".weight" or is "weight".
  void Visit(const char* name, size_t out, size_t in, ParamRole role, const ParamVisitor& visit);

 private:
  bool IsFp8(const Pass& pass) const;
  bool HandsOutParts(const Pass& pass) const;
  mutable Fp8Weight
      fp8_;  // the weight as codes, of the version last used; passes run one at a time
};

// Rows of a quantised weight [out, in] that become operands at a time.
size_t FrozenBlockRows(size_t out, size_t in);

// Projections of the same rows (q|k|v, gate|up); bits as one by one.
void ForwardMany(const Pass& pass, size_t T, std::span<const Projection* const> projections,
                 const RowsView& x, std::span<float* const> ys);
void StepMany(const Rows& rows, std::span<const Projection* const> projections, const float* x,
              std::span<float* const> ys);

}  // namespace planish
