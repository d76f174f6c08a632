// SPDX-License-Identifier: Apache-2.0
// Block-wise local distillation (Puzzle, arXiv 2411.19146): a child learns to give its parent block's outputs for the parent
// block's inputs, apart from the rest of the model:  L = MSE(o_p, o_c) / MSE(o_p, 0),  o the mixer's output before the
// residual add; so a no-op has L = 1. AdamW on float masters; the rate follows a schedule counted in tokens.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "compress/child_block.h"
#include "train/optimizer.h"
#include "train/schedule.h"

namespace planish {

struct DistillSettings {
  Schedule schedule;  // in tokens
  OptimizerConfig optimizer;
  double clip_norm = 1.0;
  Precision precision = Precision::kBf16;
};

class ChildTrainer {
 public:
  // `child` begins as it is. Its masters, moments and a copy of the beginning are held until the end.
  ChildTrainer(std::unique_ptr<Mixer> child, size_t hidden_size, const DistillSettings& settings);

  // Bytes that a child of so many parameters takes beside a gradient that all children share.
  static uint64_t BytesOf(size_t parameters) { return uint64_t{16} * parameters; }

  // One update on rows of the parent's block. gradients: scratch that may be shared with other trainers; it grows as needed.
  // After a loss or gradient that is not finite the child stays as it was and is not trained further.
  void Step(const BlockRows& rows, std::vector<float>* gradients, Workspace* workspace);

  const Mixer& child() const { return *child_; }
  ErrorSums Evaluate(const BlockRows& rows, Workspace* workspace) const {
    return ErrorOf(child_.get(), rows, hidden_size_, settings_.precision, workspace);
  }
  double last_loss() const { return last_loss_; }  // of the last step, before its update
  bool has_diverged() const { return has_diverged_; }
  // Back to the values of the beginning.
  void Restore();
  std::unique_ptr<Mixer> Take() { return std::move(child_); }

 private:
  std::unique_ptr<Mixer> child_;
  size_t hidden_size_;
  DistillSettings settings_;
  FlatParams params_;
  Optimizer optimizer_;
  std::vector<float> initial_;  // [params_.size()]
  uint64_t tokens_ = 0;
  double last_loss_ = 0;
  bool has_diverged_ = false;
};

}  // namespace planish
