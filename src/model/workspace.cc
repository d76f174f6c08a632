// SPDX-License-Identifier: Apache-2.0
#include "model/workspace.h"

#include <algorithm>

namespace planish {

float* Workspace::Take(size_t n) {
  constexpr size_t kLineFloats = 16;
  const size_t rounded = (n + kLineFloats - 1) / kLineFloats * kLineFloats;
  const auto room = [&](size_t block) { return blocks_[block].size() / sizeof(float); };
  while (block_ < blocks_.size() && used_ + rounded > room(block_)) {
    ++block_;
    used_ = 0;
  }
  if (block_ == blocks_.size()) {
    const size_t last = blocks_.empty() ? size_t{1} << 16 : room(blocks_.size() - 1);
    blocks_.emplace_back(std::max(2 * last, rounded) * sizeof(float));
    used_ = 0;
  }
  float* taken = reinterpret_cast<float*>(blocks_[block_].data()) + used_;
  used_ += rounded;
  size_t all = used_;
  for (size_t i = 0; i < block_; ++i) all += room(i);
  peak_ = std::max(peak_, all);
  return taken;
}

void Workspace::Reserve(size_t bytes) {
  if (blocks_.empty() && bytes > 0) blocks_.emplace_back(bytes);
}

}  // namespace planish
