// SPDX-License-Identifier: Apache-2.0
// Causal grouped-query attention of training over packed documents, forward and backward, in tiles (FlashAttention-2: Dao,
// arXiv 2307.08691): no [T, T] matrix exists. Query head i reads kv head i / (H/K); inside a document
//   s_ij = scale q_i . k_j for j <= i,  lse_i = log sum_j exp s_ij,  p_ij = exp(s_ij - lse_i),  out_i = sum_j p_ij v_j.
// Backward computes p again from lse; with delta_i = dout_i . out_i:
//   ds_ij = p_ij (dout_i . v_j - delta_i),  dq_i = scale sum_j ds_ij k_j,
//   dk_j = scale sum_i ds_ij q_i,  dv_j = sum_i p_ij dout_i  (both also over the heads of the group).
// ActMode::kF32: float products and sums. Any other mode: on x86 with bf16 units the operands of all products (q, k, v, dout, p,
// ds) are rounded to bf16, sums are float; softmax and delta are float. Other CPUs multiply floats in every mode.
// Every grid begins anew at a document's first row and tasks have fixed boundaries: a packed document equals a separate
// one, and any number of threads gives the same bits (per instruction-set level). A NaN or infinity may spread over its document,
// to earlier rows too.
#pragma once

#include <cstddef>
#include <span>

#include "kernels/matmul.h"  // ActMode
#include "tensor/dtype.h"

namespace planish {

struct FlashShape {
  size_t heads, kv_heads, head_dim;  // H, K, P; K divides H
  float scale;                       // above zero
};

// A contiguous matrix that a kernel reads. In bf16 arithmetic, kBF16 gives the bits that floats give which round to it.
struct FlashMatrix {
  const void* data = nullptr;
  DType dtype = DType::kF32;  // or kBF16
};

struct FlashInput {
  FlashMatrix q;                   // [T, H*P]
  FlashMatrix k, v;                // [T, K*P]
  std::span<const size_t> bounds;  // [documents + 1]: document s is rows [bounds[s], bounds[s + 1])
};

// out: [T, H*P] and lse: [T, H], assigned. Opens parallel regions if the work is worth it. Both may throw Error(kNoMemory) for
// their scratch: some tiles of every thread, and in backward 2 floats per row and head.
void FlashAttentionForward(const FlashShape& shape, const FlashInput& input, ActMode act,
                           float* out, float* lse);

// out: [T, H*P] and lse as forward gave them; dout: [T, H*P]; dq: [T, H*P]; dk, dv: [T, K*P], all three assigned.
void FlashAttentionBackward(const FlashShape& shape, const FlashInput& input, ActMode act,
                            const FlashMatrix& out, const float* lse, const float* dout, float* dq,
                            float* dk, float* dv);

}  // namespace planish
