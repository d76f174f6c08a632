// SPDX-License-Identifier: Apache-2.0
// The head and the cross entropy over the vocabulary in one, a chunk of rows at a time, so that the logits of all rows never
// exist (train.md 1, performance.md K13): logits = hidden head^T, losses, gradients of hidden and head. Everything is the
// gradient of the SUM over kept rows; the trainer divides by the number of kept rows of the whole batch. Rows with mask 0 cost
// nothing. A row's loss and gradient do not depend on the other rows; sums run in row order.
#pragma once

#include <cstddef>
#include <cstdint>

#include "model/pass.h"
#include "tensor/weight.h"

namespace planish {

struct LossInput {
  const float* hidden = nullptr;     // [T, D] after the final norm
  const Weight* head = nullptr;      // [V, D] of any type; the embedding where that is tied
  const int32_t* targets = nullptr;  // [T]; in [0, V) where the mask is not 0
  const uint8_t* mask = nullptr;     // [T]; null: all rows are kept
  size_t T = 0;
  Precision precision = Precision::kF32;  // kFp8: as kBf16, the recipe leaves the head in bf16
  float z_coef = 0;                       // the loss is ce + z_coef lse^2
  Workspace* workspace = nullptr;
};

// Sums of a distillation (train/distill_loss.h).
struct DistillSums {
  double objective = 0;             // what the gradient is of
  double forward = 0, reverse = 0;  // KL, nats
  double hidden = 0;                // 1 - cosine, mean over the compared blocks
  size_t agreed = 0;                // rows with the teacher's first choice
};

struct LossSums {
  double ce = 0;    // nats
  double z = 0;     // of lse^2, without the coefficient
  size_t kept = 0;  // rows
  DistillSums distill;
  double total(double z_coef) const { return ce + z_coef * z; }
};

// Rows of a chunk for a vocabulary: a multiple of 32, logits of at most 64 MiB where that leaves 256 rows.
size_t LossChunkRows(size_t V);

// row_losses: [T] or null: the cross entropy of each row in nats, 0 where the mask is 0.
LossSums EvaluateLoss(const LossInput& input, double* row_losses);

// d_hidden: [T, D], assigned (zeros where the mask is 0). d_head: [V, D] float, added to; null: frozen.
LossSums LossAndGradient(const LossInput& input, double* row_losses, float* d_hidden,
                         float* d_head);

}  // namespace planish
