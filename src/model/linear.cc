// SPDX-License-Identifier: Apache-2.0
#include "model/linear.h"

#include "base/phases.h"

namespace planish {

void Linear::Forward(const Pass& pass, const float* x, float* y,
                     std::unique_ptr<Saved>* saved) const {
  const PhaseScope scope(Phase::kMatMulLinear);
  weight_.Forward(pass, pass.tokens(), x, y);
  if (saved != nullptr) *saved = std::make_unique<LinearSaved>();
}

void Linear::Backward(const Pass& pass, const float* x, const Saved&, const float* dy,
                      float* dx) const {
  const PhaseScope scope(Phase::kMatMulLinear);
  weight_.BackwardWeight(pass, pass.tokens(), x, dy);
  weight_.BackwardInput(pass, pass.tokens(), dy, dx);
}

void Linear::Step(const StepBatch& batch, const float* x, float* y, Workspace*) const {
  const PhaseScope scope(Phase::kMatMulLinear);
  weight_.Step(batch.rows, x, y);
}

void Linear::VisitParams(const ParamVisitor& visit) {
  weight_.Visit("weight", hidden_size_, hidden_size_, ParamRole::kOutput, visit);
}

}  // namespace planish
