// SPDX-License-Identifier: Apache-2.0
// The state-space recurrence of Mamba-2 (Dao & Gu, "Transformers are SSMs", arXiv 2405.21060), per head h with group
// g = h / (H/G):   S_t = exp(dt_t A_h) S_{t-1} + dt_t x_t B_t^T,   y_t = S_t C_t + D_h x_t,   S: [P, N].
// States lie transposed in memory, [H, N, P]: vectors over P then need no sums across lanes. Three forms: ssm_scan.h token by
// token, ssm_block.h for the engine, and here SsdChunkScan, the blocked form (section 6 of the paper; C B^T once per group,
// decays as exp of differences only): equal within rounding, with a chunk grid that starts at each job's first token (for
// Forward). Sums and states are float.
#pragma once

#include <cstddef>
#include <span>

namespace planish {

struct SsmDims {
  size_t heads;     // H
  size_t head_dim;  // P
  size_t state;     // N
  size_t groups;    // G, divides H
  size_t StateSize() const { return heads * head_dim * state; }
};

struct SsmInput {
  const float* x;  // [T, H*P], after convolution
  size_t x_stride;
  const float* B;  // [T, G*N]
  size_t b_stride;
  const float* C;  // [T, G*N]
  size_t c_stride;
  const float* dt;  // [T, H], after PrepareDt; >= 0
  size_t dt_stride;
  const float* A;  // [H], negative: -exp(A_log)
  const float* D;  // [H]
};

// One document, or its continuation when initial_state is given.
struct SsdJob {
  SsmInput input;
  size_t T;
  const float* initial_state;  // [H, N, P]; null: zeros
  float* final_state;          // [H, N, P]; null: not wanted; may be initial_state
  float* y;                    // [T, H*P], rows y_stride apart; must not overlap the input
  size_t y_stride;
  float* chunk_states;  // [ceil(T/chunk), H, N, P]: the state entering each chunk, for backward;
                        // null: not wanted
};

// chunk: Q >= 1, a speed choice only (up to rounding). May throw Error(kNoMemory) for its scratch.
void SsdChunkScan(const SsmDims& dims, size_t chunk, std::span<const SsdJob> jobs);
void SsdChunkScan(const SsmDims& dims, const SsmInput& input, size_t T, size_t chunk,
                  const float* initial_state, float* final_state, float* y, size_t y_stride,
                  float* chunk_states = nullptr);

}  // namespace planish
