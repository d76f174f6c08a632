// SPDX-License-Identifier: Apache-2.0
// The one list of mixers: a new kind is a config struct, a class and a line in registry.cc.
#pragma once

#include <memory>

#include "model/mixer.h"

namespace planish {

// Without parameters' values; `config` gives what all blocks share (hidden size, epsilon, RoPE).
std::unique_ptr<Mixer> MakeMixer(const ModelConfig& config, const MixerConfig& mixer);

}  // namespace planish
