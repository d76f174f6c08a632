// SPDX-License-Identifier: Apache-2.0
// What a training Forward keeps for Backward: the residual stream before each block, and what the blocks saved. Blocks whose
// Saved is missing are computed again from the residual stream, by the same kernels and so to the same bits.
#pragma once

#include <memory>
#include <vector>

#include "model/mixer.h"

namespace planish {

struct Recompute {
  enum class Kind {
    kNone,       // blocks keep everything
    kSelective,  // blocks leave out what is cheap (conv and scan outputs, probabilities)
    kFull,       // blocks keep nothing but the residual stream before every `every`-th one
  };
  Kind kind = Kind::kSelective;
  size_t every =
      1;  // kFull: blocks a segment; more is less memory between and more inside a segment
};

struct Activations {
  Recompute recompute;
  std::vector<Tensor>
      stream;  // [blocks + 1]: h [T, D] float before each block and before the final norm, or empty
  std::vector<std::unique_ptr<Saved>> saved;  // [blocks]
  size_t bytes() const {
    size_t total = 0;
    for (const Tensor& h : stream) total += h.bytes();
    for (const auto& block : saved) total += block != nullptr ? block->bytes() : 0;
    return total;
  }
};

}  // namespace planish
