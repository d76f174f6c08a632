// SPDX-License-Identifier: Apache-2.0
// Units of work of flash_attention.cc and the two kernels that do them. Positions count from the document's first row.
#pragma once

#include <cstddef>

#include "kernels/flash_attention.h"

namespace planish {

// Queries [first, first + rows) of all heads of one kv head, with all keys that they see.
struct FlashForwardTask {
  size_t begin;  // the document's first row in [T]
  size_t kv_head, first, rows;
};

struct FlashForwardCall {
  FlashShape shape;
  FlashInput input;
  float *out, *lse;
};

// All heads of one kv head: queries of one stripe with keys of the same or of an earlier one. The first task of a stripe of
// queries and of a stripe of keys is the one on the diagonal, where they are equal: it assigns the gradients, the others add.
struct FlashBackwardTask {
  size_t begin, kv_head;
  size_t query_first, query_rows;
  size_t key_first, key_rows;
  bool is_diagonal() const { return query_first == key_first; }
};

struct FlashBackwardCall {
  FlashShape shape;
  FlashInput input;
  const float* dout;
  // [H, term_stride]: -lse and -delta, a head's rows one after another; term_stride exceeds T by at least 32.
  const float *neg_lse, *neg_delta;
  size_t term_stride;
  float *dq, *dk, *dv;
};

// Positions of a forward task and of a stripe: multiples of 256. A stripe's packed operands and sums fit the second-level cache
// (0.8 MiB at 64 channels, 1.6 at 128). Stripes of 1024 were 3 to 7 % faster at 64 channels and leave half as many threads busy;
// of 256, 15 % slower at 128.
constexpr size_t FlashForwardRows(const FlashShape& shape) {
  return shape.heads / shape.kv_heads <= 2 ? 512 : 256;
}
constexpr size_t FlashStripe(const FlashShape& shape) { return shape.head_dim <= 128 ? 512 : 256; }

struct FlashKernel {
  size_t (*forward_scratch)(const FlashShape& shape);  // floats of each thread
  void (*forward)(const FlashForwardCall& call, const FlashForwardTask& task,
                  float* scratch) noexcept;
  size_t (*backward_scratch)(const FlashShape& shape);
  void (*backward)(const FlashBackwardCall& call, const FlashBackwardTask& task,
                   float* scratch) noexcept;
};

const FlashKernel& FlashKernelF32();
// flash_attention_bf16.cc; null where the program was built for another architecture. Only if Has(Isa::kBf16).
const FlashKernel* FlashKernelBf16();

// Fills neg_lse and neg_delta, rows [begin, end) (flash_attention_f32.cc).
void FlashRowTerms(const FlashShape& shape, const FlashMatrix& out, const float* lse,
                   const float* dout, size_t begin, size_t end, size_t term_stride, float* neg_lse,
                   float* neg_delta) noexcept;

}  // namespace planish
