// SPDX-License-Identifier: Apache-2.0
// Causal grouped-query attention of one document as its formulas say, forward and backward; the rest of reference.h, whose
// rules hold here. With s_ij = scale q_i . k_j, p_ij = softmax_{j <= i} s_ij and out_i = sum_j p_ij v_j:
//   lse_i = log sum_{j <= i} exp s_ij,  delta_i = dout_i . out_i,  ds_ij = p_ij (dout_i . v_j - delta_i),
//   dq_i = scale sum_j ds_ij k_j,  dk_j = scale sum_i ds_ij q_i,  dv_j = sum_i p_ij dout_i,
// the last two summed over the query heads of the group as well (Dao, arXiv 2307.08691).
#pragma once

#include <cstddef>

namespace planish::reference {

// q: [T, heads, head_dim]; k: [T, kv_heads, head_dim]; lse: [T, heads].
template <typename Real>
void AttentionLogSumExp(const Real* q, const Real* k, size_t T, size_t heads, size_t kv_heads,
                        size_t head_dim, double scale, Real* lse);

// dout, dq: [T, heads, head_dim]; dk, dv: [T, kv_heads, head_dim]; all three gradients are assigned.
template <typename Real>
void CausalAttentionBackward(const Real* q, const Real* k, const Real* v, const Real* dout,
                             size_t T, size_t heads, size_t kv_heads, size_t head_dim, double scale,
                             Real* dq, Real* dk, Real* dv);

}  // namespace planish::reference
