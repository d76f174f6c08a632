// SPDX-License-Identifier: Apache-2.0
// Linear replacement of attention or FFN in DeciLM: y = x W^T, W [D, D], no bias.
#pragma once

#include "model/mixer.h"
#include "model/projection.h"

namespace planish {

struct LinearSaved : Saved {
  size_t bytes() const override { return 0; }
};

class Linear : public Mixer {
 public:
  explicit Linear(const ModelConfig& config) : hidden_size_(config.hidden_size) {}
  void Forward(const Pass& pass, const float* x, float* y,
               std::unique_ptr<Saved>* saved) const override;
  void Backward(const Pass& pass, const float* x, const Saved& saved, const float* dy,
                float* dx) const override;
  void Step(const StepBatch& batch, const float* x, float* y, Workspace* workspace) const override;
  void VisitParams(const ParamVisitor& visit) override;
  MixerCost Cost() const override { return CostOf(LinearConfig{}, hidden_size_); }

 private:
  size_t hidden_size_;
  Projection weight_;  // [D, D]
};

}  // namespace planish
