// SPDX-License-Identifier: Apache-2.0
// The residual add of a block and the norm of the next one in one pass over the rows, which saves a trip of the residual
// stream through memory:  h[t,d] += y[t,d];  normed[t,:] = RMSNorm(h[t,:]; w, eps)  (kernels/norm.h).
#pragma once

#include <cstddef>

namespace planish {

// h, y, normed: [T, D] contiguous, w: [D]; normed may be y. A row's bits depend on nothing but that row; they are those of an
// addition followed by RmsNorm. On the thread team when that pays.
void AddRmsNorm(const float* y, const float* w, size_t T, size_t D, float eps, float* h,
                float* normed) noexcept;

}  // namespace planish
