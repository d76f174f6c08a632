// SPDX-License-Identifier: Apache-2.0
// Gradient of SsdChunkScan (ssd.h). Per head, Gamma = dL/dS after the chunk's last row, walked from the last chunk to the first;
// L, from_start = exp(s_i) and to_end = exp(s_last - s_j) are the decays within a chunk, lower triangular where [i,j]:
//   G = dY x^T,  M = L o (C B^T),  dCB = L o G dt_j,  W = M o G dt_j
//   dX  = M^T dY + to_end (B Gamma^T)      (of dt x);   dx = dt dX + D dy,   ddt = x . dX + A da,   dD = sum dy . x
//   dC  = dCB B + from_start (dY S)                     S: the state that enters the chunk
//   dB  = dCB^T C + to_end dt (x Gamma)
//   da_k = sum_{i>=k, j<k} W_ij + sum_{i>=k} u_i + sum_{j<k} v_j + exp(s_last) <Gamma, S>,   dA = sum dt da
//     with u_i = from_start_i (dY S)_i . C_i and v_j = to_end_j dt_j (x Gamma)_j . B_j (sums of like terms, no differences)
//   Gamma <- exp(s_last) Gamma + C^T (from_start dY)
// dB and dC are sums over the heads of a group in ascending order; dA and dD over time within chunks, then chunks from last to
// first, then jobs in order. With bf16 input, on CPUs with bf16 units, operands of products are rounded to bf16 as in forward;
// everything that decides decays, Gamma and S stays float.
#pragma once

#include <cstddef>
#include <span>

#include "kernels/ssd.h"

namespace planish {

// One document or a part of one: parts are worked off from the last to the first, each with the initial state that forward
// had there and with the Gamma that the part behind it returned.
struct SsdBackwardJob {
  SsdInput input;  // as in forward
  size_t T;
  const float* initial_state;  // [H, N, P]; null: zeros
  // [ceil(T/chunk), H, N, P] as forward left them; null: computed again, to the same bits.
  const float* chunk_states;
  const float* dy;  // [T, H*P], rows dy_stride apart
  size_t dy_stride;
  const float* dfinal;  // [H, N, P] gradient of the final state; null: zeros
  float*
      dinitial;  // [H, N, P] gradient of the initial state, assigned; null: not wanted; may be dfinal
  float* dxbc;  // [T, H*P + 2*G*N] dx | dB | dC, assigned; rows dxbc_stride apart
  size_t dxbc_stride;
  float* ddt;  // [T, H], assigned; rows ddt_stride apart
  size_t ddt_stride;
};

// chunk: as in forward. dA, dD: [H], added to. Parallel over jobs and blocks of heads. May throw Error(kNoMemory).
void SsdChunkScanBackward(const SsmDims& dims, size_t chunk, std::span<const SsdBackwardJob> jobs,
                          float* dA, float* dD);

}  // namespace planish
