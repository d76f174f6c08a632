// SPDX-License-Identifier: Apache-2.0
// AdamW over a range of the flat parameter space: all of it, or one rank's part (ZeRO-1). Owns the moments, and nothing
// else: values are the model's, gradients the caller's. Bits do not depend on threads, nor on how the space is divided.
#pragma once

#include <vector>

#include "kernels/adamw.h"
#include "train/flat_params.h"
#include "train/param_groups.h"

namespace planish {

struct OptimizerConfig {
  AdamWConstants adamw;       // eps 1e-8; Nemotron Nano 2: beta 0.9 and 0.95
  double weight_decay = 0.1;  // of the parameters that decay (param_groups.h)
  bool has_bf16_momentum = false;
  std::vector<ParamOverride>
      overrides;  // those that freeze are the business of whoever makes FlatParams
};

class Optimizer {
 public:
  // `range` must end where chunks do (FlatParams::RangeOf, or all()). Moments begin at zero.
  Optimizer(FlatParams* params, const OptimizerConfig& config, FlatRange range);

  // One update of the range. gradients: [range().size()], finite, of the range; each is multiplied by `grad_scale`
  // (1 / kept targets, times the clip factor). lr before the groups' multipliers. After the last range of the space has its
  // new values, call FlatParams::ValuesChanged.
  void Step(const float* gradients, double grad_scale, double lr);

  const FlatParams& params() const { return *params_; }
  const FlatRange& range() const { return range_; }
  uint64_t steps() const { return steps_; }  // k of the formula: updates so far
  uint64_t bytes() const;                    // of the moments

  // For checkpoints: the moments as tensors [range().size()], m in f32 or bf16, v in f32; holes are zero.
  const Tensor& first_moment() const { return m_; }
  const Tensor& second_moment() const { return v_; }
  Tensor* mutable_first_moment() { return &m_; }
  Tensor* mutable_second_moment() { return &v_; }
  void SetSteps(uint64_t steps) { steps_ = steps; }

 private:
  FlatParams* params_;
  AdamWConstants constants_;
  FlatRange range_;
  std::vector<ParamGroup> groups_;  // of each entry
  uint64_t steps_ = 0;
  Tensor m_, v_;  // [range size]
};

}  // namespace planish
