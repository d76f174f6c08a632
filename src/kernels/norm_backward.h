// SPDX-License-Identifier: Apache-2.0
// Backward of RMSNorm (norm.h), y[t,d] = x[t,d] r[t] w[d]:
//   dx[t,d] = r[t] (w[d] dy[t,d] - x[t,d] r[t]^2 mean_d(w dy x)),   dw[d] += sum_t dy[t,d] x[t,d] r[t].
// Sums over a row are float in lanes; dw is summed in blocks of rows fixed by T and D, then block by block: the bits do not
// depend on the number of threads.
#pragma once

#include <cstddef>

namespace planish {

// x, dy, dx: [T, D] contiguous, dx assigned (may be dy); w, dw: [D]; dw may be null: frozen. May throw Error(kNoMemory).
void RmsNormBackward(const float* x, const float* w, const float* dy, size_t T, size_t D, float eps,
                     float* dx, float* dw);
// The same where the norm reads the residual stream h: dh += the gradient through the norm.
void AddRmsNormBackward(const float* h, const float* w, const float* dy, size_t T, size_t D,
                        float eps, float* dh, float* dw);

}  // namespace planish
