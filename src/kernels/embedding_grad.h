// SPDX-License-Identifier: Apache-2.0
// Gradient of the embedding look-up h[t] = E[ids[t]]:  dE[ids[t]] += dh[t], in ascending t for every row of E.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace planish {

// dh: [T, D]; d_embedding: [V, D]; ids in [0, V). Parallel over columns: the order of additions, and so the bits, do not
// depend on the number of threads.
void EmbeddingGrad(std::span<const int32_t> ids, const float* dh, size_t D,
                   float* d_embedding) noexcept;

}  // namespace planish
