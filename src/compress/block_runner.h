// SPDX-License-Identifier: Apache-2.0
// A model's blocks run one by one, or in ranges, over a residual stream h [T, D] that the caller keeps:
//   x = RMSNorm(h; norm of block i),  h += mixer_i(x).
// What replacement of single blocks, block-wise distillation and dependency measures need: the part of a pass before a changed
// block is done once. In a Pass in float the bits are those of Model::Forward.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/model.h"

namespace planish {

class BlockRunner {
 public:
  // The model must outlive this, keep its parameters in place and not be trained meanwhile.
  explicit BlockRunner(Model* model);

  const Model& model() const { return *model_; }
  size_t blocks() const { return model_->config().blocks.size(); }

  void Embed(std::span<const int32_t> ids, float* h) const;  // h: [T, D], assigned
  // x [T, D] = what block `block` reads; block == blocks(): the hidden states after the final norm.
  void Norm(size_t block, const float* h, size_t T, float* x) const;
  // y [T, D] = mixer_block(x).
  void Mix(const Pass& pass, size_t block, const float* x, float* y) const;
  // h through blocks [begin, end), in place.
  void Run(const Pass& pass, size_t begin, size_t end, float* h) const;

 private:
  Model* model_;
  std::vector<const Tensor*> norms_;  // [blocks + 1], [D] each
};

}  // namespace planish
