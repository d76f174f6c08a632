// SPDX-License-Identifier: Apache-2.0
#include "compress/hidden_stream.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace planish {

std::vector<RowBatch> PackRows(const std::vector<std::vector<int32_t>>& rows, size_t first,
                               size_t count, size_t tokens) {
  PLANISH_CHECK(first + count <= rows.size());
  std::vector<RowBatch> batches;
  for (size_t r = first; r < first + count;) {
    RowBatch batch;
    std::vector<size_t> lengths;
    do {
      batch.ids.insert(batch.ids.end(), rows[r].begin(), rows[r].end());
      lengths.push_back(rows[r].size());
      ++r;
    } while (r < first + count && batch.ids.size() + rows[r].size() <= tokens);
    batch.layout = SeqLayout::Packed(lengths);
    batches.push_back(std::move(batch));
  }
  return batches;
}

HiddenStream::HiddenStream(const BlockRunner* parent, std::vector<RowBatch> batches,
                           Precision precision, bool is_kept)
    : parent_(parent),
      batches_(std::move(batches)),
      precision_(precision),
      is_kept_(is_kept),
      kept_(batches_.size()),
      position_(batches_.size()) {}

void HiddenStream::Read(size_t i, size_t block, Workspace* workspace, float* h) {
  const size_t T = batches_[i].layout.tokens(), D = parent_->model().config().hidden_size;
  if (!is_kept_) {
    parent_->Embed(batches_[i].ids, h);
    parent_->Run(PassOf(i, workspace), 0, block, h);
    return;
  }
  Tensor& kept = kept_[i];
  if (kept.elements() != T * D) {
    kept = Tensor::F32({T, D});
    parent_->Embed(batches_[i].ids, kept.f32());
  }
  PLANISH_CHECK(position_[i] <= block, "batch {} stands at block {}, asked for {}", i, position_[i],
                block);
  parent_->Run(PassOf(i, workspace), position_[i], block, kept.f32());
  position_[i] = block;
  std::memcpy(h, kept.f32(), T * D * sizeof(float));
}

void HiddenStream::ForBlocks(size_t i, size_t begin, size_t end, bool moves_on,
                             Workspace* workspace, const Visit& visit) {
  const Workspace::Scope scope(*workspace);
  const size_t T = batches_[i].layout.tokens(), D = parent_->model().config().hidden_size;
  float* h = workspace->Take(T * D);
  float* x = workspace->Take(T * D);
  float* y = workspace->Take(T * D);
  Read(i, begin, workspace, h);
  for (size_t block = begin; block < end; ++block) {
    parent_->Norm(block, h, T, x);
    parent_->Mix(PassOf(i, workspace), block, x, y);
    visit(block, {.layout = &batches_[i].layout, .x = x, .y = y});
    for (size_t k = 0; k < T * D; ++k) h[k] += y[k];
  }
  if (!moves_on || !is_kept_) return;
  std::memcpy(kept_[i].f32(), h, T * D * sizeof(float));
  position_[i] = end;
}

}  // namespace planish
