// SPDX-License-Identifier: Apache-2.0
// Scratch floats for one forward or step: taken in order, given back all at once. Reused between calls, so that a step
// allocates nothing once the largest has been seen. One per engine or caller; not shared between threads.
#pragma once

#include <vector>

#include "base/memory.h"

namespace planish {

class Workspace {
 public:
  // `n` uninitialised floats, 64-byte aligned, valid until the scope they were taken in ends.
  float* Take(size_t n);
  // Before the first Take: room for this many bytes in one piece. Its pages cost nothing until they are used.
  void Reserve(size_t bytes);
  size_t peak_bytes() const { return peak_ * sizeof(float); }  // most that was taken at once

  // Gives back what was taken since its construction.
  class Scope {
   public:
    explicit Scope(Workspace& workspace)
        : workspace_(workspace), block_(workspace.block_), used_(workspace.used_) {}
    ~Scope() {
      workspace_.block_ = block_;
      workspace_.used_ = used_;
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Workspace& workspace_;
    size_t block_, used_;
  };

 private:
  friend class Scope;
  std::vector<AlignedBuffer> blocks_;
  size_t block_ = 0;  // current block
  size_t used_ = 0;   // floats taken in it
  size_t peak_ = 0;   // floats, with what is left over at the end of blocks
};

}  // namespace planish
