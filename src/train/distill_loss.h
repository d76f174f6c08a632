// SPDX-License-Identifier: Apache-2.0
// The head and the divergence from a teacher in one, a chunk of rows at a time, so that the logits of all rows never exist,
// neither the student's nor the teacher's (compress.md 4; formula in kernels/distillation.h). As in train/loss.h everything is
// the gradient of the SUM over kept rows, a row knows nothing of the others, and sums run in row order.
#pragma once

#include <functional>
#include <span>

#include "kernels/distillation.h"
#include "train/loss.h"

namespace planish {

// What the teacher says of the kept rows: logits, or its likeliest ids.
struct TeacherRows {
  // logits [rows, V] of these rows of the batch (rising); null: `likeliest`.
  std::function<void(std::span<const size_t> rows, float* logits)> logits;
  // [kept rows, k], one after the other in row order; scratch is not used.
  LikeliestIds likeliest;
};

// input.z_coef must be 0. row_losses: [T] or null: the cross entropy. d_hidden: [T, D], assigned; null: no gradients at all.
// d_head: [V, D], added to; null: frozen.
LossSums DistillLoss(const LossInput& input, const DistillationTerms& terms,
                     const TeacherRows& teacher, double* row_losses, float* d_hidden,
                     float* d_head);

}  // namespace planish
