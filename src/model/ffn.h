// SPDX-License-Identifier: Apache-2.0
// Feed-forward block: down(relu(up x)^2) (Nemotron-H) or down(silu(gate x) * up x) (SwiGLU: Llama, DeciLM, Qwen3, Mistral).
// FFN fusion is a wider one. Training works through the tokens in slices, so that its scratch does not grow with the batch.
#pragma once

#include "model/mixer.h"
#include "model/projection.h"

namespace planish {

// Rows before the activation, rounded to the type in which they are kept (kernels/ffn_activation.h).
struct FfnSaved : Saved {
  Tensor gate;  // [T, F]; empty for relu^2
  Tensor up;    // [T, F]
  size_t bytes() const override { return gate.bytes() + up.bytes(); }
};

class Ffn : public Mixer {
 public:
  Ffn(const ModelConfig& config, const FfnConfig& ffn)
      : ffn_(ffn), hidden_size_(config.hidden_size) {}
  void Forward(const Pass& pass, const float* x, float* y,
               std::unique_ptr<Saved>* saved) const override;
  void Backward(const Pass& pass, const float* x, const Saved& saved, const float* dy,
                float* dx) const override;
  void Step(const StepBatch& batch, const float* x, float* y, Workspace* workspace) const override;
  void VisitParams(const ParamVisitor& visit) override;
  MixerCost Cost() const override { return CostOf(ffn_, hidden_size_); }

 private:
  bool IsGated() const { return ffn_.kind == FfnKind::kSwiGlu; }

  FfnConfig ffn_;
  size_t hidden_size_;
  Projection gate_;  // [F, D], SwiGLU only
  Projection up_;    // [F, D]
  Projection down_;  // [D, F]
};

}  // namespace planish
