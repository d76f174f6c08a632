// SPDX-License-Identifier: Apache-2.0
// What a run learns instead of the cross entropy of the next token: a MicroPass that was given an objective asks it for losses
// and gradients. Everything is the gradient of the SUM over kept rows of a micro-batch, and a function of the batch alone.
#pragma once

#include "data/token_batch.h"
#include "model/model.h"
#include "train/loss.h"

namespace planish {

class Objective {
 public:
  virtual ~Objective() = default;
  // Before the student's pass over a batch whose losses will be asked for.
  virtual void Begin(const TokenBatch& batch) = 0;
  // As LossAndGradient of train/loss.h; distill.objective of the sums is what is learnt.
  virtual LossSums Train(const LossInput& input, double* row_losses, float* d_hidden,
                         float* d_head) = 0;
  // Gradients of residual streams for Model::Backward; null: none. What it finds is in the sums after Finish.
  virtual Model::StreamGradient StreamGradientOf(const LossInput& input) = 0;
  virtual void Finish(LossSums* sums) = 0;
  // Held-out rows, which Begin need not be called for.
  virtual LossSums Evaluate(const TokenBatch& batch, const LossInput& input,
                            double* row_losses) = 0;
};

}  // namespace planish
