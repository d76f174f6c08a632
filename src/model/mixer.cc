// SPDX-License-Identifier: Apache-2.0
#include "model/mixer.h"

#include <cstring>

namespace planish {

Tensor KeepRows(const float* values, size_t T, size_t width) {
  Tensor kept = Tensor::F32({T, width});
  std::memcpy(kept.data(), values, kept.bytes());
  return kept;
}

}  // namespace planish
