// SPDX-License-Identifier: Apache-2.0
// How the chunked state-space layer is cut into tasks: one task walks some heads of one group of one job through all chunks, so
// that what the heads share (B, C and their products) is made once for them. Fixed by the shape alone.
#pragma once

#include <algorithm>
#include <cstddef>

#include "kernels/scratch.h"
#include "kernels/ssd.h"

namespace planish {

struct SsdHeads {
  size_t group;
  size_t first, count;  // heads
  size_t block;         // index among the blocks of the group
};

// Four blocks for each job or more, but of three heads at least: threads find work in a single document of one group too. More
// would make what the heads of a group share, and write their parts of dB and dC, for fewer heads: with eight, backward of 16
// heads took a quarter longer, and with blocks of one head a whole step of a model with 6 heads of 64 a tenth.
class SsdHeadBlocks {
 public:
  explicit SsdHeadBlocks(const SsmDims& dims)
      : heads_per_group_(dims.heads / dims.groups),
        size_(std::clamp<size_t>(std::max<size_t>(dims.heads / 4, 3), 1, heads_per_group_)),
        per_group_((heads_per_group_ + size_ - 1) / size_),
        count_(per_group_ * dims.groups) {}
  size_t count() const { return count_; }
  size_t per_group() const { return per_group_; }
  size_t size() const { return size_; }  // heads of a block; the last one of a group may have fewer
  SsdHeads At(size_t i) const {
    const size_t group = i / per_group_, block = i % per_group_, first = block * size_;
    return {group, group * heads_per_group_ + first, std::min(size_, heads_per_group_ - first),
            block};
  }

 private:
  size_t heads_per_group_, size_, per_group_, count_;
};

// Hands out pieces of scratch; without memory it only counts.
class SsdMemory {
 public:
  explicit SsdMemory(float* memory) : memory_(memory) {}
  float* Take(size_t floats) {
    float* p = memory_ == nullptr ? nullptr : memory_ + used_;
    used_ += RoundUpToLine(floats);
    return p;
  }
  size_t used() const { return used_; }

 private:
  float* memory_;
  size_t used_ = 0;
};

}  // namespace planish
