// SPDX-License-Identifier: Apache-2.0
// A model over rows of text, and the same with one part replaced: only what comes after the part runs again. Scores are means
// over tokens against the model as it was at the beginning.
#pragma once

#include <vector>

#include "compress/calibration.h"
#include "compress/hidden_stream.h"
#include "compress/scores.h"
#include "eval/divergence.h"

namespace planish {

class ReplacementRun {
 public:
  // The model stands before block 0 and must outlive this.
  ReplacementRun(Model* parent, const CalibrationRows& rows, Precision precision,
                 size_t batch_tokens);

  // Forward only.
  void MoveTo(size_t block);
  // `child` in place of the block's mixer; it may be the mixer itself, with weights that were changed for the moment. null: a
  // no-op.
  ReplacementScore Score(const Mixer* child);
  // The embedding and the head that the model has for the moment; `reference`: the head that it had.
  ReplacementScore ScoreOuter(const Weight& reference);
  double parent_loss() const { return parent_loss_; }  // nats a token, once something was scored

 private:
  struct Sums {
    Divergence divergence;
    double cosines = 0, tokens = 0;
  };
  // hidden [T, D] of batch i after the final norm.
  void Add(size_t i, const float* hidden, const Weight& head, const Weight& reference, Sums* sums);
  ReplacementScore Mean(const Sums& sums);
  Pass PassOf(const RowBatch& batch) {
    return {.layout = batch.layout, .workspace = &workspace_, .precision = precision_};
  }
  // hidden [T, D] of a stream h before block `from`, which is left somewhere behind it.
  void Finish(const RowBatch& batch, const float* h, size_t from, float* hidden);

  Model* parent_;
  BlockRunner runner_;
  Precision precision_;
  std::vector<RowBatch> batches_;
  size_t D_, block_ = 0;
  std::vector<Tensor> streams_, hidden_;  // [T, D] of each batch
  double parent_loss_ = 0;
  Workspace workspace_;
};

}  // namespace planish
