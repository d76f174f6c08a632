// SPDX-License-Identifier: Apache-2.0
// The model a run begins with: a trained one, or a shape with seeded random weights (model/random_model.h). Its matrices are
// owned floats, the masters that the optimizer moves, unless only adapters beside them are trained.
#pragma once

#include "model/pretrained.h"
#include "train/recipe.h"

namespace planish {

enum class BaseWeights {
  kMasters,
  kAsStored,  // a trained model's: mapped and in the types of its files
};

// With tokenizer, template and ids of special tokens, as far as there are any: what goes into checkpoints.
// Error(kUsage) for a name that is neither a file nor a published config, Error(kBadFile) for what is in files.
Pretrained OpenForTraining(const ModelSection& section, uint64_t seed,
                           BaseWeights weights = BaseWeights::kMasters);

// The same without weights (`model` is null): for plans and for checks before memory is taken.
Pretrained DescribeForTraining(const ModelSection& section);

}  // namespace planish
