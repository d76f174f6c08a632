// SPDX-License-Identifier: Apache-2.0
// The live part of `planish demo`: a model is pruned, distilled for a short while, and compared with the same shape trained from
// scratch on the same tokens.
#pragma once

#include <functional>
#include <string>

#include "cli/model_options.h"
#include "eval/summary.h"

namespace planish {

struct ShrinkOptions {
  double keep = 0.7;         // share of the parameters
  uint64_t tokens = 400000;  // of distillation, and of training from scratch
  size_t problems = 100;     // of the test mix, with thinking, for each row
  uint64_t seed = 0;
};

struct ShrunkModel {
  std::string name;
  uint64_t parameters = 0, bytes = 0;  // bytes of its weight files
  uint64_t tokens = 0;                 // it was trained on here
  double seconds = 0;                  // that making it took
  Summary summary;                     // with thinking, no limit
};

// Rows: the parent, pruned, distilled, from scratch, each told when it is known. Works in a folder of its own under the system's
// for temporary files, which is removed. `parent` says how models are run; `opened` is it.
void ShrinkAndRecover(const ModelOptions& parent, const Pretrained& opened,
                      const ShrinkOptions& options,
                      const std::function<void(const ShrunkModel&)>& tell);

}  // namespace planish
