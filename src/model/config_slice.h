// SPDX-License-Identifier: Apache-2.0
// Smaller models of a known shape, for measurements that would take too long on the whole: fewer layers, a smaller
// vocabulary, all widths unchanged.
#pragma once

#include "model/config.h"

namespace planish {

// `n_layers` consecutive layers of `config` (Nemotron-H: blocks), renumbered from 0. Of all such windows the one whose mix
// of block kinds is nearest to the whole model's is taken, the first of equals: of the 9B hybrid's 27 Mamba-2, 4 attention
// and 25 FFN blocks, 14 keep 7, 1 and 6; of a model with equal layers the first ones stay. Error(kUsage) if it has fewer.
ModelConfig SliceLayers(const ModelConfig& config, size_t n_layers);

// The first `vocab_size` rows of embedding and head. Ids of special tokens beyond them move to the last rows.
ModelConfig CutVocabulary(const ModelConfig& config, size_t vocab_size);

}  // namespace planish
