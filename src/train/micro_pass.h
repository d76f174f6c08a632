// SPDX-License-Identifier: Apache-2.0
// One micro-batch through the model and back: forward, fused head and loss, backward. Gradients are those of the SUM of the
// losses and are added where FlatParams::BindGradients said; nothing here knows of steps, ranks or optimizers.
#pragma once

#include <utility>
#include <vector>

#include "data/token_batch.h"
#include "model/fp8_recipe.h"
#include "model/model.h"
#include "train/loss.h"
#include "train/objective.h"

namespace planish {

struct PassSettings {
  Precision precision = Precision::kBf16;
  Fp8Options fp8;  // of kFp8
  Recompute recompute;
  double z_loss = 0;
};

struct DatasetSum {
  double ce = 0;  // nats, summed
  uint64_t kept = 0;
};

// Seconds of a step by kind of work; data, reduce and optimizer are filled by the trainer.
struct StepTimes {
  double data = 0, forward = 0, loss = 0, backward = 0, reduce = 0, optimizer = 0;
  double teacher = 0;  // of a distillation
  double total() const { return data + forward + loss + backward + reduce + optimizer + teacher; }
};

struct MicroResult {
  LossSums loss;
  std::vector<DatasetSum> by_dataset;  // [n_datasets]
  uint64_t tokens = 0;
  double contexts = 0;  // sum over tokens of how many each attends to, itself included
};

class MicroPass {
 public:
  // workspace_bytes: of the largest pass, as planned; taken in one piece, so that nothing is lost between pieces.
  // objective: null is the cross entropy.
  MicroPass(const Model* model, const PassSettings& settings, size_t n_datasets,
            size_t workspace_bytes = 0, Objective* objective = nullptr)
      : model_(model), settings_(settings), n_datasets_(n_datasets), objective_(objective) {
    settings_.fp8.statistics = &fp8_;
    workspace_.Reserve(workspace_bytes);
  }

  // block_done: see Model::Backward.
  MicroResult Train(const TokenBatch& batch, StepTimes* times,
                    const Model::BlockDone& block_done = nullptr);
  MicroResult Evaluate(const TokenBatch& batch);
  MicroPass(const MicroPass&) = delete;  // settings_ points into it
  MicroPass& operator=(const MicroPass&) = delete;

  // What rounding to FP8 did since the last call: nothing unless the precision is kFp8.
  Fp8ClassStatistics TakeFp8Statistics() { return std::exchange(fp8_, {}); }

 private:
  MicroResult Summarise(const TokenBatch& batch, const LossSums& sums) const;
  LossInput Input(const TokenBatch& batch, const Tensor& hidden);

  const Model* model_;
  PassSettings settings_;
  size_t n_datasets_;
  Objective* objective_;
  Fp8ClassStatistics fp8_;
  Workspace workspace_;
  std::vector<double> row_losses_;  // [T]
};

}  // namespace planish
