// SPDX-License-Identifier: Apache-2.0
// Texts that the model writes while it is trained, by the engine over the same weights: for people to watch.
#pragma once

#include <string>
#include <vector>

#include "model/pretrained.h"
#include "train/recipe.h"

namespace planish {

struct TextSample {
  std::string prompt, text;
};

// One text a prompt; nothing if the model has no tokenizer. A pure function of weights, section and seed.
std::vector<TextSample> WriteSamples(const Pretrained& model, const SampleSection& section,
                                     uint64_t seed);

}  // namespace planish
