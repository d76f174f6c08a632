// SPDX-License-Identifier: Apache-2.0
// Shapes that a parent can be cut to with all blocks of a kind alike, and their enumeration over a grid (compress.md section
// 3). prune_search.h chooses those that fit a budget.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "compress/importance.h"
#include "compress/slice.h"

namespace planish {

// 0 where the parent has no such thing.
struct PruneShape {
  size_t hidden = 0;                                              // D'
  size_t ffn = 0;                                                 // F'
  size_t mamba_heads = 0;                                         // H', of all groups together
  size_t mamba_head_dim = 0;                                      // P'
  size_t heads = 0;                                               // query heads of attention
  size_t attention_blocks = 0, mamba_blocks = 0, ffn_blocks = 0;  // that stay
  bool operator==(const PruneShape&) const = default;
};

// The parent's own. Error(kUsage) if its blocks of a kind differ, or if it has none that could be pruned.
PruneShape ShapeOf(const ModelConfig& parent);
// "hidden 4480, ffn 15680, mamba heads 128 of 80, heads 40, blocks 27 mamba2 + 4 attention + 25 ffn".
std::string Describe(const PruneShape& shape);

// What `shape` makes of a block, without the choice of what is kept.
MixerConfig ShapedMixer(const MixerConfig& mixer, const PruneShape& shape);
// Blocks of a kind (of kMixerNames) that stay: its count in `shape`, null or 0 for a kind without one.
size_t* CountOf(PruneShape* shape, size_t kind);
size_t CountOf(const PruneShape& shape, size_t kind);

// What stays of the parent's blocks: all but `dropped`.
struct PrunedModel {
  ModelSlice slice;
  std::vector<bool> keep;  // [parent's blocks]
  EditedConfig edited;
};
// The config of a shape without knowing which blocks go: of each kind the last ones. For sums that depend on counts alone.
ModelConfig ConfigOfShape(const ModelConfig& parent, const PruneShape& shape);
// What scores best on every axis, kept in order of score, so that a narrower child is a prefix of a wider one; an axis that is
// not cut keeps its order. Block counts of `shape` are those that `dropped` leaves. Error(kUsage) for what groups do not divide.
PrunedModel CutToShape(const ModelConfig& parent, const Importance& importance,
                       const PruneShape& shape, const std::vector<size_t>& dropped);

struct PruneGrid {
  // Steps of the axes; 0: a sixteenth of the hidden size and a sixty-fourth of the FFN width in whole 64s (8s of small models),
  // one head of each group, 8 channels. An axis with a value of its own in `fixed` takes only that (0 there: free).
  size_t hidden_step = 0, ffn_step = 0, mamba_head_dim_step = 8, depth_step = 2;
  double width_limit = 0.4, depth_limit = 0.2;  // largest share that may go of each
  size_t min_attention = 4;
  bool cuts_heads = false;  // attention's, which are few and small in hybrids
  PruneShape fixed;
  std::optional<size_t> fixed_blocks;  // total that stays
  // Counts by kind that a depth may have; null: all that keep `min_attention`. Where a ranking of blocks is known there is one
  // way to each depth.
  std::function<std::optional<PruneShape>(size_t removed)> counts_at;
};

// Calls use(shape) for every point of the grid.
void EnumerateShapes(const ModelConfig& parent, const PruneGrid& grid,
                     const std::function<void(const PruneShape&)>& use);

}  // namespace planish
