// SPDX-License-Identifier: Apache-2.0
// The residual stream of a parent over batches of rows, block after block: kept in memory, each batch at the block it has come
// to, or computed again from the embedding whenever it is asked for.
#pragma once

#include <functional>
#include <vector>

#include "compress/block_runner.h"
#include "compress/child_block.h"

namespace planish {

// Rows of ids packed into one pass.
struct RowBatch {
  std::vector<int32_t> ids;  // [T]
  SeqLayout layout{0};
};
// Batches of whole rows of at least one row and at most `tokens` tokens; rows [first, first + count).
std::vector<RowBatch> PackRows(const std::vector<std::vector<int32_t>>& rows, size_t first,
                               size_t count, size_t tokens);

class HiddenStream {
 public:
  HiddenStream(const BlockRunner* parent, std::vector<RowBatch> batches, Precision precision,
               bool is_kept);

  size_t size() const { return batches_.size(); }  // batches
  const RowBatch& batch(size_t i) const { return batches_[i]; }
  static uint64_t BytesOf(size_t tokens, size_t hidden_size) {
    return uint64_t{tokens} * hidden_size * sizeof(float);
  }

  // What each block of [begin, end) reads and gives, of batch i. With `moves_on`, a kept batch stands before `end` afterwards
  // and cannot be asked for earlier blocks again.
  using Visit = std::function<void(size_t block, const BlockRows& rows)>;
  void ForBlocks(size_t i, size_t begin, size_t end, bool moves_on, Workspace* workspace,
                 const Visit& visit);
  // h [T, D] of batch i before block `block`.
  void Read(size_t i, size_t block, Workspace* workspace, float* h);

 private:
  Pass PassOf(size_t i, Workspace* workspace) const {
    return {.layout = batches_[i].layout, .workspace = workspace, .precision = precision_};
  }
  const BlockRunner* parent_;
  std::vector<RowBatch> batches_;
  Precision precision_;
  bool is_kept_;
  std::vector<Tensor> kept_;      // [T, D] of each batch; empty before its first use
  std::vector<size_t> position_;  // the block before which each stands
};

}  // namespace planish
