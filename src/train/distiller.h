// SPDX-License-Identifier: Apache-2.0
// Learning from a teacher (compress.md 4): L = sum_t [alpha CE + (1 - alpha) tau^2 KL] + w mean_blocks (1 - cos(h_S, h_T)), the
// teacher run beside the student or its likeliest ids read from a cache. Streams of unequal widths are compared through a projector.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "train/distill_loss.h"
#include "train/objective.h"
#include "train/recipe.h"
#include "train/stream_projector.h"
#include "train/teacher.h"
#include "train/teacher_cache.h"

namespace planish {

DistillationTerms TermsOf(const DistillSection& section);

// A student's block and the teacher's it is compared with.
struct BlockPair {
  size_t student, teacher;
};
// Of section.hidden_blocks; without any block i of S stands beside the teacher's at the same share of the depth. Empty if the
// weight is 0. Error(kUsage) for blocks that are not there.
std::vector<BlockPair> PairBlocks(const DistillSection& section, const ModelConfig& student,
                                  const ModelConfig& teacher);

class Distiller : public Objective {
 public:
  // `data_hash` of the run's order of samples (DataHash), which a cache must be of. `seed`: of a projector's first values.
  // Error(kBadFile), Error(kUsage).
  Distiller(const DistillSection& section, const Pretrained& student, const std::string& data_hash,
            uint64_t samples, uint64_t seed);

  void Begin(const TokenBatch& batch) override;
  LossSums Train(const LossInput& input, double* row_losses, float* d_hidden,
                 float* d_head) override;
  Model::StreamGradient StreamGradientOf(const LossInput& input) override;
  void Finish(LossSums* sums) override;
  // With a cache the cross entropy only: it holds no other rows than those of training.
  LossSums Evaluate(const TokenBatch& batch, const LossInput& input, double* row_losses) override;

  // Tells the source of distributions from others; part of what a run may not change.
  const std::string& identity() const;
  std::string Describe() const;
  // What is learnt beside the student: the projector's matrix, or nothing.
  std::vector<Param> OwnParams() const;

 private:
  TeacherRows Rows();
  void Compare(const float* h, size_t teacher_block, const uint8_t* mask, size_t T, size_t D,
               double weight, float* dh);

  DistillSection section_;
  DistillationTerms terms_;
  std::unique_ptr<Teacher> teacher_;  // null: cache_
  std::unique_ptr<TeacherCache> cache_;
  std::vector<BlockPair> pairs_;
  std::vector<size_t> teacher_blocks_;          // of pairs_, each once
  std::unique_ptr<StreamProjector> projector_;  // of streams of unequal widths
  CachedRows rows_;                             // of the batch, from cache_
  double hidden_ = 0;                           // of the batch: sum of losses
  std::vector<double> row_hidden_;              // [T]
};

}  // namespace planish
