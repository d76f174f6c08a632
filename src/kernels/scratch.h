// SPDX-License-Identifier: Apache-2.0
// Working memory that a kernel keeps between calls, so that a decode step allocates nothing. One object per kernel and
// calling thread (static thread_local); it grows to the largest call and is freed with its thread.
#pragma once

#include <cstddef>
#include <utility>

#include "base/memory.h"

namespace planish {

class Scratch {
 public:
  // At least `floats` floats, 64-byte aligned, contents undefined; earlier pointers become invalid.
  float* Floats(size_t floats) {
    if (buffer_.size() < floats * sizeof(float)) {
      buffer_ = AlignedBuffer();  // free first: the old contents are not wanted
      buffer_ = AlignedBuffer(floats * sizeof(float));
    }
    return reinterpret_cast<float*>(buffer_.data());
  }

 private:
  AlignedBuffer buffer_;
};

// Floats rounded up to whole cache lines, which are also whole vectors of every target.
constexpr size_t RoundUpToLine(size_t floats) { return (floats + 15) / 16 * 16; }

}  // namespace planish
