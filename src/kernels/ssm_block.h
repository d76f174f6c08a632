// SPDX-License-Identifier: Apache-2.0
// All of a Mamba-2 mixer between its two projections, for an engine step: causal convolution + SiLU of x|B|C, time step,
// state recurrence, skip, gate and group norm (formulas: conv1d.h, ssm_scan.h, ssd.h, norm.h), in one parallel region over
// (run, SSM group). A row of in_proj is read once and a row for out_proj written once; what lies between stays in the caches.
//
// A run is worked off in chunks that end at multiples of kSsmGrid of the sequence's positions. With kExact every chunk is a
// scan token by token: any cut of the tokens into runs gives the same bits. With kFast, on CPUs with bf16 units, chunks of
// more than kSsmFewTokens rows take the blocked form of ssd.h with bf16 operands (x, B, C, S and the decayed C B^T; sums and
// the state that is carried stay float): equal cuts, and cuts at multiples of kSsmGrid, give equal bits; others differ by
// rounding. A bf16 state is rounded at the end of every chunk and run.
#pragma once

#include <cstddef>
#include <span>

#include "kernels/ssd.h"
#include "tensor/dtype.h"

namespace planish {

inline constexpr size_t kSsmGrid = 32;
// Chunks of so few rows are scanned token by token. Measured on AMX, 9B shape, one thread, scanned against blocked in us a
// token: 363 : 431 at 2 rows, 296 : 301 at 3, 242 : 233 at 4, 149 : 130 at 8.
inline constexpr size_t kSsmFewTokens = 3;

enum class SsmArithmetic { kExact, kFast };

// Shapes and parameters of the layer; all float, not owned.
struct SsmLayer {
  SsmDims dims;
  size_t conv_width;       // W >= 1
  const float* conv_taps;  // [W, conv_dim]
  const float* conv_bias;  // [conv_dim] or null
  const float* dt_bias;    // [H]
  const float* A;          // [H], negative
  const float* D;          // [H]
  const float* norm;       // [H*P]
  float dt_low, dt_high;
  float norm_eps;
  size_t d_in() const { return dims.heads * dims.head_dim; }
  size_t conv_dim() const { return d_in() + 2 * dims.groups * dims.state; }
  size_t in_width() const { return d_in() + conv_dim() + dims.heads; }
};

// Consecutive rows of one sequence; sequences of one call are distinct.
struct SsmRun {
  const float* in;  // [count, in_width] z | x | B | C | dt
  size_t count;
  size_t position;   // of the first row in its sequence
  float* conv;       // [W-1, conv_dim] the inputs before it, oldest first; in and out
  void* state;       // [H, N, P], in and out
  DType state_type;  // kF32 or kBF16
  float* out;        // [count, H*P]; must not overlap `in`
};

// Allocates nothing once the largest call has been seen; may throw Error(kNoMemory) until then.
void SsmBlock(const SsmLayer& layer, std::span<const SsmRun> runs, SsmArithmetic arithmetic);

}  // namespace planish
