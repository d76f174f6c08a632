// SPDX-License-Identifier: Apache-2.0
#include "model/ffn.h"

#include "base/phases.h"
#include "kernels/activation.h"
#include "kernels/matmul.h"

namespace planish {

void Ffn::Run(const Rows& rows, const float* x, float* y, Workspace* workspace,
              FfnSaved* saved) const {
  const Workspace::Scope scope(*workspace);
  const PhaseScope phase(Phase::kMatMulFfn);
  const size_t T = rows.total, F = ffn_.intermediate_size;
  float* up = workspace->Take(T * F);  // [T, F]
  float* gate = nullptr;               // [T, F]
  if (ffn_.kind == FfnKind::kSwiGlu) {
    gate = workspace->Take(T * F);
    const Weight* weights[] = {&gate_, &up_};
    float* outputs[] = {gate, up};
    MatMulMany(weights, x, rows, outputs);
  } else {
    MatMul(up_, x, rows, up);
  }
  if (saved != nullptr) {
    saved->x = KeepRows(x, T, hidden_size_);
    saved->up = KeepRows(up, T, F);
    if (gate != nullptr) saved->gate = KeepRows(gate, T, F);
  }
  {
    const PhaseScope activation(Phase::kActivation);
    if (gate != nullptr)
      SiluMul(gate, up, up, T * F);
    else
      ReluSquared(up, T * F);
  }
  MatMul(down_, up, rows, y);
}

void Ffn::Forward(const SeqLayout& layout, const float* x, float* y, Workspace* workspace,
                  std::unique_ptr<Saved>* saved) const {
  std::unique_ptr<FfnSaved> keep = saved != nullptr ? std::make_unique<FfnSaved>() : nullptr;
  Run(layout.tokens(), x, y, workspace, keep.get());
  if (saved != nullptr) *saved = std::move(keep);
}

void Ffn::Step(const StepBatch& batch, const float* x, float* y, Workspace* workspace) const {
  Run(batch.rows, x, y, workspace, nullptr);
}

void Ffn::VisitParams(const ParamVisitor& visit) {
  const size_t F = ffn_.intermediate_size;
  if (ffn_.kind == FfnKind::kSwiGlu) {
    visit({.name = "gate_proj.weight",
           .shape = {F, hidden_size_},
           .role = ParamRole::kInput,
           .weight = &gate_});
  }
  visit({.name = "up_proj.weight",
         .shape = {F, hidden_size_},
         .role = ParamRole::kInput,
         .weight = &up_});
  visit({.name = "down_proj.weight",
         .shape = {hidden_size_, F},
         .role = ParamRole::kOutput,
         .weight = &down_});
}

}  // namespace planish
