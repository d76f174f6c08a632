// SPDX-License-Identifier: Apache-2.0
#include "compress/block_runner.h"

#include "kernels/matmul.h"
#include "kernels/norm.h"
#include "kernels/residual.h"
#include "model/tensor_names.h"

namespace planish {

BlockRunner::BlockRunner(Model* model) : model_(model) {
  const ModelConfig& config = model->config();
  norms_.resize(blocks() + 1);
  model->VisitParams([&](const Param& param) {
    if (param.role != ParamRole::kNorm) return;
    if (param.block < 0)
      norms_.back() = param.vector;
    else if (const auto i = static_cast<size_t>(param.block);
             param.name == BlockNormName(config.family, config.blocks[i]))
      norms_[i] = param.vector;
  });
}

void BlockRunner::Embed(std::span<const int32_t> ids, float* h) const {
  GatherRows(model_->embedding(), ids, h);
}

void BlockRunner::Norm(size_t block, const float* h, size_t T, float* x) const {
  const ModelConfig& config = model_->config();
  RmsNorm(h, norms_[block]->f32(), T, config.hidden_size, static_cast<float>(config.norm_eps), x);
}

void BlockRunner::Mix(const Pass& pass, size_t block, const float* x, float* y) const {
  model_->mixer(block).Forward(pass, x, y, nullptr);
}

void BlockRunner::Run(const Pass& pass, size_t begin, size_t end, float* h) const {
  if (begin >= end) return;
  const Workspace::Scope scope(*pass.workspace);
  const ModelConfig& config = model_->config();
  const size_t T = pass.tokens(), D = config.hidden_size;
  float* x = pass.workspace->Take(T * D);
  float* y = pass.workspace->Take(T * D);
  Norm(begin, h, T, x);
  for (size_t i = begin; i < end; ++i) {
    Mix(pass, i, x, y);
    AddRmsNorm(y, norms_[i + 1]->f32(), T, D, static_cast<float>(config.norm_eps), h, x);
  }
}

}  // namespace planish
