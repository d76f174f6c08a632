// SPDX-License-Identifier: Apache-2.0
#include "kernels/embedding_grad.h"

#include <algorithm>

#include "kernels/team_work.h"

namespace planish {

void EmbeddingGrad(std::span<const int32_t> ids, const float* dh, size_t D,
                   float* d_embedding) noexcept {
  constexpr size_t kColumns = 64;  // four cache lines of a row: enough for the prefetcher
  ParallelForWork((D + kColumns - 1) / kColumns, 4 * ids.size() * D, [&](size_t task, int) {
    const size_t begin = task * kColumns, count = std::min(kColumns, D - begin);
    for (size_t t = 0; t < ids.size(); ++t) {
      const float* from = dh + t * D + begin;
      float* to = d_embedding + static_cast<size_t>(ids[t]) * D + begin;
      for (size_t i = 0; i < count; ++i) to[i] += from[i];
    }
  });
}

}  // namespace planish
