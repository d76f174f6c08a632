// SPDX-License-Identifier: Apache-2.0
// How an opened model is run: in what its activations are multiplied and how its states are stored. The exact mode needs
// nothing; fast modes make packed views of the weights and give the mapped originals back to the system.
#pragma once

#include <optional>

#include "model/model.h"

namespace planish {

struct RunMode {
  std::optional<ActMode> act = ActMode::kF32;  // none: the fastest for the weights and this machine
  std::optional<DType> kv;                     // none: f32 in the exact mode, else bf16
  std::optional<DType> ssm;                    // none: f32

  bool is_exact() const { return act == ActMode::kF32; }
  StateTypes state_types() const {
    return {.kv = kv.value_or(is_exact() ? DType::kF32 : DType::kBF16),
            .ssm = ssm.value_or(DType::kF32)};
  }
};

const char* Name(ActMode act);  // "f32", "bf16", "int8"

// int8 where most bytes are in 4- or 8-bit blocks, bf16 where the machine multiplies it fast, else f32.
ActMode FastestActMode(Model* model);

// Sets the mode of `model`, whose parameters are loaded. May throw Error(kNoMemory).
void ApplyRunMode(const RunMode& mode, Model* model);

}  // namespace planish
