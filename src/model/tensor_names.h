// SPDX-License-Identifier: Apache-2.0
// Names of parameters in Hugging Face checkpoints. Published spelling; readers accept both prefixes of Nemotron-H.
#pragma once

#include <string>

#include "model/config.h"

namespace planish {

std::string EmbeddingName(Family family);
std::string FinalNormName(Family family);
std::string HeadName();
std::string BlockNormName(Family family, const BlockConfig& block);
// What stands before a mixer's own parameter names, dot included: "model.layers.3.self_attn.".
std::string MixerPrefix(Family family, const BlockConfig& block);

}  // namespace planish
