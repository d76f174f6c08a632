// SPDX-License-Identifier: Apache-2.0
// A child's blocks beside its parent's as HTML: one row for each layer of the parent, a cell for each of its blocks, in which
// the outline is the parent's size and the filled part what the child has there. Its style travels with it.
#pragma once

#include <string>
#include <vector>

#include "model/config.h"

namespace planish {

// parent_of: [child's blocks], the parent's block in whose place each stands (EditedConfig). Sizes are in proportion to the
// largest block of the kind: query heads over KV heads, Mamba heads over head channels, FFN neurons. Hovering tells them.
std::string ArchitectureMap(const ModelConfig& parent, const ModelConfig& child,
                            const std::vector<size_t>& parent_of);
// Of one model alone.
std::string ArchitectureMap(const ModelConfig& config);

// Of page.h's palette, by MixerConfig::index(): one kind has one colour in every map and figure.
size_t MixerColor(size_t kind);

// "attention, 9 heads, 3 KV heads, of 64", "Mamba-2, 128 heads of 80 in 8 groups, state 128", "FFN (SwiGLU), 1536 wide".
std::string DescribeMixer(const MixerConfig& mixer);

}  // namespace planish
