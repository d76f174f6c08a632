// SPDX-License-Identifier: Apache-2.0
#include "train/micro_pass.h"

#include "base/stopwatch.h"

namespace planish {

LossInput MicroPass::Input(const TokenBatch& batch, const Tensor& hidden) {
  return {.hidden = hidden.f32(),
          .head = &model_->head(),
          .targets = batch.targets.data(),
          .mask = batch.weights.data(),
          .T = batch.ids.size(),
          .precision = settings_.precision,
          .z_coef = static_cast<float>(settings_.z_loss),
          .workspace = &workspace_};
}

MicroResult MicroPass::Train(const TokenBatch& batch, StepTimes* times,
                             const Model::BlockDone& block_done) {
  const size_t T = batch.ids.size(), D = model_->config().hidden_size;
  const SeqLayout layout = SeqLayout::Packed(batch.document_lengths);
  const Pass pass{.layout = layout,
                  .workspace = &workspace_,
                  .precision = settings_.precision,
                  .fp8 = &settings_.fp8};
  Stopwatch watch;
  if (objective_ != nullptr) {
    objective_->Begin(batch);
    watch.Lap(&times->teacher);
  }
  Tensor hidden = Tensor::F32({T, D});
  Activations kept;
  model_->Forward(pass, batch.ids, hidden.f32(), settings_.recompute, &kept);
  watch.Lap(&times->forward);

  Tensor d_hidden = Tensor::F32({T, D});
  row_losses_.resize(T);
  const LossInput input = Input(batch, hidden);
  LossSums sums =
      objective_ == nullptr
          ? LossAndGradient(input, row_losses_.data(), d_hidden.f32(), model_->head_grad())
          : objective_->Train(input, row_losses_.data(), d_hidden.f32(), model_->head_grad());
  hidden = Tensor();
  watch.Lap(&times->loss);

  model_->Backward(pass, batch.ids, &kept, d_hidden.f32(), block_done,
                   objective_ == nullptr ? nullptr : objective_->StreamGradientOf(input));
  if (objective_ != nullptr) objective_->Finish(&sums);
  watch.Lap(&times->backward);
  return Summarise(batch, sums);
}

MicroResult MicroPass::Evaluate(const TokenBatch& batch) {
  const SeqLayout layout = SeqLayout::Packed(batch.document_lengths);
  const Pass pass{.layout = layout,
                  .workspace = &workspace_,
                  .precision = settings_.precision,
                  .fp8 = &settings_.fp8};
  Tensor hidden = Tensor::F32({batch.ids.size(), model_->config().hidden_size});
  model_->Forward(pass, batch.ids, hidden.f32(), settings_.recompute, nullptr);
  row_losses_.resize(batch.ids.size());
  const LossInput input = Input(batch, hidden);
  return Summarise(batch, objective_ == nullptr
                              ? EvaluateLoss(input, row_losses_.data())
                              : objective_->Evaluate(batch, input, row_losses_.data()));
}

MicroResult MicroPass::Summarise(const TokenBatch& batch, const LossSums& sums) const {
  MicroResult result{.loss = sums, .by_dataset = std::vector<DatasetSum>(n_datasets_)};
  size_t t = 0;
  for (const TokenBatch::Row& row : batch.rows) {
    DatasetSum& sum = result.by_dataset[row.dataset];
    for (const size_t end = t + row.tokens; t < end; ++t) {
      sum.ce += row_losses_[t];
      sum.kept += batch.weights[t] != 0;
    }
  }
  result.tokens = t;
  for (const size_t length : batch.document_lengths)
    result.contexts += 0.5 * static_cast<double>(length) * static_cast<double>(length + 1);
  return result;
}

}  // namespace planish
