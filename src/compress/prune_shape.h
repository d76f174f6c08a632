// SPDX-License-Identifier: Apache-2.0
// Shapes that a parent can be cut to with all blocks of a kind alike, their enumeration over a grid and the choice of those that
// fit a budget (compress.md section 3; Nemotron Nano 2, arXiv 2508.14444: 12B to 9B for 19.66 GiB at 131,072 tokens).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "compress/importance.h"
#include "compress/slice.h"
#include "model/planner.h"

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

struct PruneBudget {
  std::optional<uint64_t> parameters;
  std::optional<uint64_t> memory;  // bytes: weights, caches and states of `plan`
  PlanRequest plan;                // context, batch and types
};

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

struct PruneCandidate {
  PruneShape shape;
  uint64_t parameters = 0;
  Plan plan;
};

struct PruneSearch {
  uint64_t points = 0, feasible = 0;
  // By parameters, most first; no shape that another feasible one exceeds or equals on every axis.
  std::vector<PruneCandidate> best;
  uint64_t smallest_parameters = 0,
           smallest_memory = 0;  // of all points: what could be reached at all
};
PruneSearch SearchShapes(const ModelConfig& parent, const PruneGrid& grid,
                         const PruneBudget& budget, size_t top_k);

}  // namespace planish
