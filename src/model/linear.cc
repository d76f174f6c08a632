// SPDX-License-Identifier: Apache-2.0
#include "model/linear.h"

#include "base/phases.h"
#include "kernels/matmul.h"

namespace planish {

void Linear::Forward(const SeqLayout& layout, const float* x, float* y, Workspace*,
                     std::unique_ptr<Saved>* saved) const {
  const size_t T = layout.tokens();
  const PhaseScope scope(Phase::kMatMulLinear);
  MatMul(weight_, x, T, y);
  if (saved != nullptr) {
    auto keep = std::make_unique<LinearSaved>();
    keep->x = KeepRows(x, T, hidden_size_);
    *saved = std::move(keep);
  }
}

void Linear::Step(const StepBatch& batch, const float* x, float* y, Workspace*) const {
  const PhaseScope scope(Phase::kMatMulLinear);
  MatMul(weight_, x, batch.rows, y);
}

void Linear::VisitParams(const ParamVisitor& visit) {
  visit({.name = "weight",
         .shape = {hidden_size_, hidden_size_},
         .role = ParamRole::kOutput,
         .weight = &weight_});
}

}  // namespace planish
