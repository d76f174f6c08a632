// SPDX-License-Identifier: Apache-2.0
// The model a student learns from: stored in any type, never changed, run beside the student on the same rows. In f32 and bf16
// by the training pass (a teacher equal to the student gives its very bits); in int8 by the serving path, weights of floats
// quantised to Q8_0 first.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/token_batch.h"
#include "model/pretrained.h"
#include "train/head_rows.h"
#include "train/recipe.h"

namespace planish {

class Teacher {
 public:
  // Error(kBadFile) for bad files and for another vocabulary than the student's.
  Teacher(const std::string& path, TeacherAct act, const Pretrained& student);
  ~Teacher();

  // The whole batch. Keeps the final hidden rows, and the residual stream behind each of `blocks` (not in int8).
  void Run(const TokenBatch& batch, std::span<const size_t> blocks = {});
  // Of the batch last run: logits [rows, V] of these rows (rising, at most LossChunkRows(V) of them).
  void Logits(std::span<const size_t> rows, float* logits);
  // [T, D] behind a block that Run was asked to keep.
  const float* stream(size_t block) const;

  const ModelConfig& config() const { return opened_.config; }
  // Tells this teacher from others: a hash of shape, arithmetic and first rows of every matrix.
  const std::string& identity() const { return identity_; }

 private:
  void RunSteps(const TokenBatch& batch);

  Pretrained opened_;
  TeacherAct act_;
  std::string identity_;
  Workspace workspace_;
  Tensor hidden_;                            // [T, D]
  std::vector<Tensor> streams_;              // [blocks], empty where not asked for
  std::unique_ptr<Workspace::Scope> scope_;  // of head_, from Run to the next Run
  std::unique_ptr<HeadRows> head_;
};

// Error(kBadFile) unless both have the same ids for the same bytes.
void RequireSameIds(const Pretrained& student, const Pretrained& teacher);

// Bytes a teacher takes beside a run with passes of `tokens` rows. `described`: without weights.
uint64_t TeacherBytes(const Pretrained& described, TeacherAct act, uint64_t tokens,
                      bool keeps_streams);

}  // namespace planish
