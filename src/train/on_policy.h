// SPDX-License-Identifier: Apache-2.0
// On-policy distillation (compress.md 4; generalised knowledge distillation, arXiv 2306.13649): in a share of the rows the
// answers are the student's own, drawn from it as it is at that step, and the teacher says what it would have gone on with at
// each of their positions. What was drawn counts as data: no gradient goes through the drawing.
#pragma once

#include "data/token_batch.h"
#include "model/pretrained.h"

namespace planish {

struct OnPolicyOptions {
  double share = 0;  // of the rows, exactly and evenly spread over the run's samples
  // Of documents that are trained from their first token on: so many are the prompt, or half of the document.
  size_t prompt_tokens = 32;
  uint64_t seed = 0;
};

// Whether a row of the run, by its global index, is one of them.
bool IsOnPolicy(double share, uint64_t sample);

// `batch` with the documents of its on-policy rows changed: what lies before the first trained token stays as the prompt, the
// rest is drawn at temperature 1 until an end-of-sequence id and at most as long as it was, so that a pass never has more
// tokens than planned. All that was drawn is trained, the end included. Documents without a trained token stay, as does what
// leaves no room.
// A row's tokens depend on the weights, the seed and the row only: not on threads, batches or ranks.
TokenBatch WithOwnAnswers(const Pretrained& student, const TokenBatch& batch,
                          const OnPolicyOptions& options);

}  // namespace planish
