// SPDX-License-Identifier: Apache-2.0
// Memory of training, from the config alone: what a step holds at its peak, part by part. Checked against the real thing: kept
// activations and workspace to the byte (train_plan_test.cc), resident memory of whole runs to a few per cent (docs).
#pragma once

#include <string>
#include <vector>

#include "model/activations.h"
#include "model/config.h"
#include "model/pass.h"

namespace planish {

struct TrainPlanRequest {
  uint64_t micro_tokens = 0;   // T of one pass
  uint64_t micro_batches = 1;  // of one step
  Precision precision = Precision::kBf16;
  Recompute recompute;
  bool has_async_checkpoints = true;  // a copy of what is trained while one is written
  uint64_t lora_rank = 0;             // 0: all parameters are trained
  std::vector<std::string> lora_modules;
  uint64_t base_bytes = 0;     // with adapters: the frozen model as it is stored; 0: in bf16
  uint64_t teacher_bytes = 0;  // of a distillation: TeacherBytes (train/teacher.h)
  bool has_teacher_logits = false;
};

// Bytes at the peak of a step.
struct TrainPlan {
  uint64_t trained = 0;    // parameters, with the padding of the flat space
  uint64_t weights = 0;    // f32 masters; or the frozen model and f32 adapters
  uint64_t gradients = 0;  // f32, one buffer a live partial sum of the tree
  uint64_t moments = 0;    // AdamW's m and v
  uint64_t snapshot = 0;   // of a checkpoint being written
  // Kept from the forward to the backward pass, hidden rows and their gradient; in whole pages where buffers are large.
  uint64_t activations = 0;
  uint64_t workspace =
      0;                 // a block on its way back, or the head with the logits of a chunk of rows
  uint64_t kernels = 0;  // packed operands and the like, kept between calls
  uint64_t teacher = 0;  // of a distillation: its weights, rows and scratch
  uint64_t program = 0;
  uint64_t total() const {
    return weights + gradients + moments + snapshot + activations + workspace + kernels + teacher +
           program;
  }
};
TrainPlan PlanTraining(const ModelConfig& config, const TrainPlanRequest& request);

// Activations::bytes() after Forward.
uint64_t KeptBytes(const ModelConfig& config, const TrainPlanRequest& request);

// "1.3 GiB in all: weights 1.2 GiB, gradients ...".
std::string Describe(const TrainPlan& plan);

}  // namespace planish
