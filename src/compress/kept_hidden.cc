// SPDX-License-Identifier: Apache-2.0
#include "compress/kept_hidden.h"

#include <algorithm>

#include "compress/block_runner.h"
#include "compress/importance.h"

namespace planish {

std::vector<float> HiddenOfRows(const Pretrained& model, std::span<const std::vector<int32_t>> rows,
                                bool evicts) {
  const size_t D = model.config.hidden_size;
  const BlockRunner runner(model.model.get());
  Workspace workspace;
  std::vector<float> h;
  for (const auto& ids : rows) {
    h.resize(h.size() + ids.size() * D);
    runner.Embed(ids, h.data() + h.size() - ids.size() * D);
  }
  if (evicts) EvictBlock(model, -1);
  for (size_t block = 0; block < runner.blocks(); ++block) {
    float* at = h.data();
    for (const auto& ids : rows) {
      const SeqLayout layout(ids.size());
      runner.Run({.layout = layout, .workspace = &workspace}, block, block + 1, at);
      at += ids.size() * D;
    }
    if (evicts) EvictBlock(model, static_cast<int>(block));
  }
  std::vector<float> hidden(h.size());
  runner.Norm(runner.blocks(), h.data(), h.size() / D, hidden.data());
  return hidden;
}

KeptHidden::KeptHidden(const Pretrained& parent, std::span<const std::vector<int32_t>> rows,
                       bool evicts)
    : parent_(parent), rows_(rows), evicts_(evicts), hidden_(HiddenOfRows(parent, rows, evicts)) {}

Divergence KeptHidden::Compare(const Pretrained& child) const {
  RequireSameVocabulary(child, parent_);
  const std::vector<float> hidden = HiddenOfRows(child, rows_, evicts_);
  const float *own = hidden.data(), *reference = hidden_.data();
  Divergence sum;
  for (const auto& ids : rows_) {
    sum.Add(CompareHidden(*child.model, own, *parent_.model, reference, std::span(ids).subspan(1)));
    own += ids.size() * child.config.hidden_size;
    reference += ids.size() * parent_.config.hidden_size;
  }
  if (evicts_) {
    EvictBlock(child, -1);
    EvictBlock(parent_, -1);
  }
  return sum;
}

}  // namespace planish
