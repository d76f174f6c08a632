// SPDX-License-Identifier: Apache-2.0
// The state-space recurrence of Mamba-2 (Dao & Gu, "Transformers are SSMs", arXiv 2405.21060), per head h with group
// g = h / (H/G):   S_t = exp(dt_t A_h) S_{t-1} + dt_t x_t B_t^T,   y_t = S_t C_t + D_h x_t,   S: [P, N].
// States lie transposed in memory, [H, N, P]: vectors over P then need no sums across lanes. Three forms: ssm_scan.h token by
// token, ssm_block.h for the engine, and here SsdChunkScan for training, the blocked form (section 6 of the paper; decays as exp
// of differences only), with a chunk grid that starts at each job's first token; ssd_backward.h is its gradient.
//
// x, B, C and y are floats, or bf16. With bf16, on CPUs with bf16 units, the operands of matrix products are rounded to bf16
// (x, B and C are so already; the decayed C B^T, S and the decayed x). Decays, sums and states are float in any case.
#pragma once

#include <cstddef>
#include <span>

#include "tensor/dtype.h"

namespace planish {

struct SsmDims {
  size_t heads;     // H
  size_t head_dim;  // P
  size_t state;     // N
  size_t groups;    // G, divides H
  size_t StateSize() const { return heads * head_dim * state; }
  size_t XSize() const { return heads * head_dim; }
  size_t RowSize() const { return XSize() + 2 * groups * state; }  // of x | B | C
};

struct SsdInput {
  DType type;       // of xbc: kF32 or kBF16
  const void* xbc;  // [T, H*P + 2*G*N]: x | B | C after convolution, rows `stride` apart
  size_t stride;
  const float* dt;  // [T, H] after PrepareDt, >= 0; rows dt_stride apart
  size_t dt_stride;
  const float* A;  // [H], negative: -exp(A_log)
  const float* D;  // [H]
};

// One document, or its continuation when initial_state is given.
struct SsdJob {
  SsdInput input;
  size_t T;
  const float* initial_state;  // [H, N, P]; null: zeros
  float* final_state;          // [H, N, P]; null: not wanted; may be initial_state
  void* y;  // [T, H*P] of input.type, rows y_stride apart; must not overlap the input
  size_t y_stride;
  float* chunk_states;  // [ceil(T/chunk), H, N, P]: the state entering each chunk, for backward;
                        // null: not wanted
};

// chunk: Q >= 1, a speed choice only (up to rounding). Parallel over jobs and blocks of heads. May throw Error(kNoMemory) for
// its scratch.
void SsdChunkScan(const SsmDims& dims, size_t chunk, std::span<const SsdJob> jobs);

}  // namespace planish
