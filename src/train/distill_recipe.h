// SPDX-License-Identifier: Apache-2.0
// A recipe of a distillation out of few values: for users without a recipe, and for verbs that distil what they made.
#pragma once

#include <string>

#include "train/recipe.h"

namespace planish {

struct QuickDistill {
  std::string student, teacher;  // folders or GGUF files
  std::string token_file;        // of the student's tokenizer
  std::string held_out;          // token file; empty: no evaluation
  uint64_t tokens = 0;           // of the run
  double lr = 3e-4;              // peak; the rate falls to a tenth of it
  uint64_t seq_len = 512, batch_tokens = 8192, micro_samples = 1;
  bool is_packed =
      false;  // rows of whole examples (chats with a loss mask); else a stream of documents
  DistillSection distill;  // teacher is taken from above
  Precision precision = Precision::kBf16;
  uint64_t seed = 1234;
};

// Cosine schedule with 5 % of warm-up, no weight decay, checkpoints at a tenth of the run each. `tokens` are rounded up to whole
// batches, batches and rows shortened if the run is shorter than one. Error(kUsage).
Recipe DistillRecipe(const QuickDistill& quick);

}  // namespace planish
