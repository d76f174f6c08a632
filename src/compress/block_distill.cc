// SPDX-License-Identifier: Apache-2.0
#include "compress/block_distill.h"

#include <algorithm>
#include <cmath>

#include "base/parallel.h"
#include "train/grad_norm.h"

namespace planish {
namespace {

constexpr size_t kTaskFloats = 16384;

}  // namespace

ChildTrainer::ChildTrainer(std::unique_ptr<Mixer> child, size_t hidden_size,
                           const DistillSettings& settings)
    : child_(std::move(child)),
      hidden_size_(hidden_size),
      settings_(settings),
      params_(ParamsOf(child_.get())),
      optimizer_(&params_, settings.optimizer, params_.all()),
      initial_(params_.size()) {
  params_.ReadValues(params_.all(), initial_.data());
}

void ChildTrainer::Step(const BlockRows& rows, std::vector<float>* gradients,
                        Workspace* workspace) {
  const uint64_t begin = tokens_;
  tokens_ += rows.tokens();
  if (has_diverged_) return;
  const Workspace::Scope scope(*workspace);
  const size_t T = rows.tokens(), D = hidden_size_;
  const Pass pass{.layout = *rows.layout, .workspace = workspace, .precision = settings_.precision};
  float* y = workspace->Take(T * D);
  float* dx = workspace->Take(T * D);
  std::unique_ptr<Saved> saved;
  child_->Forward(pass, rows.x, y, &saved);
  const ErrorSums sums = ErrorOf(rows.y, y, T, D);
  last_loss_ = sums.normalised();
  if (sums.power == 0) return;  // nothing to compare with: the loss has no scale
  // dL/dy, in place.
  const auto scale = static_cast<float>(2.0 / sums.power);
  ParallelFor((T * D + kTaskFloats - 1) / kTaskFloats, [&](size_t task, int) {
    const size_t end = std::min(T * D, (task + 1) * kTaskFloats);
    for (size_t i = task * kTaskFloats; i < end; ++i) y[i] = scale * (y[i] - rows.y[i]);
  });
  gradients->assign(params_.size(), 0.0f);
  params_.BindGradients(gradients->data());
  child_->Backward(pass, rows.x, *saved, y, dx);
  params_.BindGradients(nullptr);
  const std::vector<double> squares = ChunkSquares(params_, params_.all(), gradients->data());
  if (!std::isfinite(last_loss_) || FirstNonFinite(params_, squares)) {
    has_diverged_ = true;
    return;
  }
  optimizer_.Step(gradients->data(), ClipFactor(NormOf(params_, squares), settings_.clip_norm),
                  LearningRateOfStep(settings_.schedule, begin, tokens_));
  params_.ValuesChanged();
  child_->ParamsChanged();
}

void ChildTrainer::Restore() {
  params_.WriteValues(params_.all(), initial_.data());
  params_.ValuesChanged();
  child_->ParamsChanged();
}

}  // namespace planish
