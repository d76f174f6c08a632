// SPDX-License-Identifier: Apache-2.0
// What steers a running sequence: thinking budget, grammar, stop strings. The engine knows ids only; a hook that needs text
// owns its own decoder.
#pragma once

#include <vector>

#include "infer/sampler.h"

namespace planish {

class TokenHook {
 public:
  struct Action {
    std::vector<int32_t> forced;  // appended next instead of sampling, fed as one prefill slice
    const TokenMask* mask =
        nullptr;        // of the next sampled token; owned by the hook, valid until the next call
    bool stop = false;  // end the sequence here
  };
  virtual ~TokenHook() = default;
  // Before the first token.
  virtual Action Begin() { return {}; }
  // After each token of the answer, sampled or forced. Forced ids are only asked for after the last pending one.
  virtual Action OnToken(int32_t id) = 0;
};

}  // namespace planish
