// SPDX-License-Identifier: Apache-2.0
#include "model/mixer.h"

#include "kernels/rounding.h"

namespace planish {

Tensor KeepRows(const float* values, size_t T, size_t width, DType type) {
  Tensor kept(type, {T, width});
  RoundRows(values, T * width, type, kept.data());
  return kept;
}

}  // namespace planish
