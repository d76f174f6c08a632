// SPDX-License-Identifier: Apache-2.0
// Hidden states of every token of a text, for verbs that look at logits.
#pragma once

#include <span>

#include "model/model.h"

namespace planish {

enum class HiddenPath {
  kForward,  // the exact forward pass in one piece
  kPrefill,  // the engine's way with prompts, in slices
  kDecode,   // the engine's way with answers, token by token
};

// [T, D] after the final norm.
Tensor HiddenStates(const Model& model, std::span<const int32_t> ids, HiddenPath path);

}  // namespace planish
