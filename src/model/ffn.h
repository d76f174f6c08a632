// SPDX-License-Identifier: Apache-2.0
// Feed-forward block: down(relu(up x)^2) (Nemotron-H) or down(silu(gate x) * up x) (SwiGLU: Llama, DeciLM, Qwen3, Mistral).
// FFN fusion is a wider one.
#pragma once

#include "model/mixer.h"

namespace planish {

struct FfnSaved : Saved {
  Tensor x;     // [T, D]
  Tensor gate;  // [T, F] before the activation; empty for relu^2
  Tensor up;    // [T, F] before the activation
};

class Ffn : public Mixer {
 public:
  Ffn(const ModelConfig& config, const FfnConfig& ffn)
      : ffn_(ffn), hidden_size_(config.hidden_size) {}
  void Forward(const SeqLayout& layout, const float* x, float* y, Workspace* workspace,
               std::unique_ptr<Saved>* saved) const override;
  void Step(const StepBatch& batch, const float* x, float* y, Workspace* workspace) const override;
  void VisitParams(const ParamVisitor& visit) override;
  MixerCost Cost() const override { return CostOf(ffn_, hidden_size_); }

 private:
  void Run(const Rows& rows, const float* x, float* y, Workspace* workspace, FfnSaved* saved) const;

  FfnConfig ffn_;
  size_t hidden_size_;
  Weight gate_;  // [F, D], SwiGLU only
  Weight up_;    // [F, D]
  Weight down_;  // [D, F]
};

}  // namespace planish
