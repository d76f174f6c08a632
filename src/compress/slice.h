// SPDX-License-Identifier: Apache-2.0
// A child's parameters as pieces of its parent's: which channels, neurons, heads and blocks are kept, in which order. Rows are
// gathered one at a time while they are written, so that a model larger than memory can be sliced (compress.md section 1).
#pragma once

#include <cstdint>
#include <variant>
#include <vector>

#include "model/config_edit.h"
#include "model/export.h"
#include "model/pretrained.h"

namespace planish {

using IndexList = std::vector<uint32_t>;  // kept indices of the parent, in the child's order

struct FfnSlice {
  IndexList neurons;  // [F']
};
// Query heads keep their place in a KV group: `heads` lists kept query heads of the parent, the same number for each of the
// child's KV heads, group by group. A child's KV head is the mean of the parent's heads in its list (one: a copy).
struct AttentionSlice {
  IndexList heads;
  std::vector<IndexList> kv_heads;  // [K'][>= 1]
};
// Channels are shared by all heads; heads are listed group by group, the same number in each (in_proj rows of B and C stay).
struct MambaSlice {
  IndexList heads, channels;
};
// monostate: the block as it is; a child's Linear block has no slice (its matrix is given otherwise).
using BlockSlice = std::variant<std::monostate, FfnSlice, AttentionSlice, MambaSlice>;

struct ModelSlice {
  IndexList hidden;                // [D'], empty: all channels
  std::vector<BlockSlice> blocks;  // [parent's blocks]
};

// The mixer config that a slice leaves of a parent's block. Error(kUsage) if groups are not kept evenly.
MixerConfig SlicedMixer(const MixerConfig& parent, const BlockSlice& slice);
// Config of the child: edit.blocks as the slice leaves them; `keep` [parent's blocks]: false removes a block.
EditedConfig SlicedConfig(const ModelConfig& parent, const ModelSlice& slice,
                          const std::vector<bool>& keep);
// Values of the child's parameters out of the parent's, of any stored type. Everything is held by pointer and must outlive it.
ParamRows SlicedRows(const Pretrained& parent, const EditedConfig& child, const ModelSlice& slice);

// A child with the parent's tokenizer, template and generation defaults, its model's parameters empty: what ExportHf takes
// together with ParamRows.
Pretrained ChildOf(const Pretrained& parent, const ModelConfig& config);
// The same with every parameter filled from `rows` as owned floats.
Pretrained FilledChild(const Pretrained& parent, const ModelConfig& config, const ParamRows& rows);

}  // namespace planish
