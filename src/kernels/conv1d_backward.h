// SPDX-License-Identifier: Apache-2.0
// Gradient of CausalConv1d (conv1d.h): with pre[t] = bias + sum_k w[k] x[t-W+1+k] and g = dout silu'(pre),
//   dx[t] = sum_k w[k] g[t+W-1-k],   dw[k] = sum_t g[t] x[t-W+1+k],   db = sum_t g[t],
// where silu'(a) = sigma(a) (1 + a (1 - sigma(a))). Terms never cross the start of a document. dw and db are float sums over
// blocks of rows fixed by the jobs, added block by block.
#pragma once

#include <cstddef>
#include <span>

#include "kernels/conv1d.h"

namespace planish {

// A run of consecutive tokens of one sequence. Runs that continue each other are worked off from the last to the first: g of a
// run's first W-1 rows is what the run before it needs.
struct ConvBackwardJob {
  DType type = DType::kF32;  // of x and dx: kF32 or kBF16
  const void* x = nullptr;   // [T, C], rows x_stride apart
  size_t x_stride = 0;
  size_t before =
      0;  // rows of the same sequence in front of x (at most W-1 are read); zeros before them
  size_t T = 0;
  const float* dout = nullptr;  // [T, C], rows dout_stride apart
  size_t dout_stride = 0;
  const float* g_behind =
      nullptr;               // [W-1, C] g of the rows that follow; null: the sequence ends here
  float* g_front = nullptr;  // [W-1, C] gets g of the first W-1 rows, or null; not g_behind
  void* dx = nullptr;        // [T, C], assigned, rows dx_stride apart
  size_t dx_stride = 0;
};

// w: [W, C]; bias: [C] or null; dw: [W, C] and db: [C], added to. Parallel over jobs, rows and channels. May throw
// Error(kNoMemory).
void CausalConv1dBackward(const ConvDims& dims, const float* w, const float* bias,
                          std::span<const ConvBackwardJob> jobs, float* dw, float* db);

}  // namespace planish
