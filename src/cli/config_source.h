// SPDX-License-Identifier: Apache-2.0
// A model's shape by any name a user may give it.
#pragma once

#include <string>

#include "model/config.h"

namespace planish {

// `source`: a published name, a config.json, a model folder or a GGUF file; what stands on disk wins over a name.
// Error(kUsage) with the known names if it is neither.
ModelConfig ConfigBySource(const std::string& source);
// For help: "published name, config.json, model folder or GGUF file. Names: ...".
std::string ConfigSourceHelp();

}  // namespace planish
