// SPDX-License-Identifier: Apache-2.0
// Tasks of training attention; see flash_attention.h.
//
// Forward: every task owns its rows of the output. Backward: documents are cut into stripes of rows, and a task is a pair of
// stripes, queries a and keys b <= a. Pairs with the same distance a - b share neither queries nor keys, so they run together
// and add to dq, dk and dv in place; distances follow each other. So sums have a fixed order, scores are computed once for all
// three gradients, and a single long document keeps many threads busy.
#include "kernels/flash_attention.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "kernels/flash_tile.h"
#include "kernels/isa.h"
#include "kernels/scratch.h"
#include "kernels/team_work.h"

namespace planish {
namespace {

constexpr size_t kTermRows = 64;  // of a task that prepares delta

const FlashKernel& KernelOf(ActMode act) {
  return act != ActMode::kF32 && Has(Isa::kBf16) ? *FlashKernelBf16() : FlashKernelF32();
}

void Check(const FlashShape& shape, const FlashInput& input) {
  PLANISH_CHECK(shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0, "{} heads, {} kv heads",
                shape.heads, shape.kv_heads);
  PLANISH_CHECK(shape.head_dim > 0 && shape.scale > 0 && !input.bounds.empty());
  for (const FlashMatrix& x : {input.q, input.k, input.v})
    PLANISH_CHECK(x.dtype == DType::kF32 || x.dtype == DType::kBF16, "{}", Name(x.dtype));
}

// Pairs of a query and a key that it sees, over all heads and documents.
size_t PairCount(const FlashShape& shape, std::span<const size_t> bounds) {
  size_t pairs = 0;
  for (size_t s = 0; s + 1 < bounds.size(); ++s) {
    const size_t length = bounds[s + 1] - bounds[s];
    pairs += length * (length + 1) / 2;
  }
  return pairs * shape.heads;
}

}  // namespace

void FlashAttentionForward(const FlashShape& shape, const FlashInput& input, ActMode act,
                           float* out, float* lse) {
  static thread_local Scratch scratch;
  Check(shape, input);
  const FlashKernel& kernel = KernelOf(act);
  std::vector<FlashForwardTask> tasks;
  const size_t rows = FlashForwardRows(shape);
  for (size_t s = 0; s + 1 < input.bounds.size(); ++s) {
    const size_t begin = input.bounds[s], length = input.bounds[s + 1] - begin;
    for (size_t first = 0; first < length; first += rows)
      for (size_t kv = 0; kv < shape.kv_heads; ++kv)
        tasks.push_back({begin, kv, first, std::min(rows, length - first)});
  }
  // The longest first, so that threads end together.
  std::ranges::stable_sort(tasks, std::ranges::greater(),
                           [](const FlashForwardTask& t) { return t.rows * (t.first + t.rows); });
  const size_t floats = RoundUpToLine(kernel.forward_scratch(shape));
  float* memory = scratch.Floats(floats * static_cast<size_t>(ThreadCount()));
  const FlashForwardCall call{shape, input, out, lse};
  ParallelForWork(tasks.size(), 2 * PairCount(shape, input.bounds) * shape.head_dim,
                  [&](size_t i, int thread) {
                    kernel.forward(call, tasks[i], memory + floats * static_cast<size_t>(thread));
                  });
}

void FlashAttentionBackward(const FlashShape& shape, const FlashInput& input, ActMode act,
                            const FlashMatrix& out, const float* lse, const float* dout, float* dq,
                            float* dk, float* dv) {
  static thread_local Scratch scratch, terms;
  Check(shape, input);
  const FlashKernel& kernel = KernelOf(act);
  const size_t T = input.bounds.back(), term_stride = RoundUpToLine(T + 32);
  float* neg_lse = terms.Floats(2 * shape.heads * term_stride);
  float* neg_delta = neg_lse + shape.heads * term_stride;
  ParallelForWork(
      (T + kTermRows - 1) / kTermRows, T * shape.heads * shape.head_dim, [&](size_t i, int) {
        FlashRowTerms(shape, out, lse, dout, i * kTermRows, std::min(T, (i + 1) * kTermRows),
                      term_stride, neg_lse, neg_delta);
      });

  const size_t stripe = FlashStripe(shape);
  size_t longest = 0;
  for (size_t s = 0; s + 1 < input.bounds.size(); ++s)
    longest = std::max(longest, input.bounds[s + 1] - input.bounds[s]);
  const size_t floats = RoundUpToLine(kernel.backward_scratch(shape));
  float* memory = scratch.Floats(floats * static_cast<size_t>(ThreadCount()));
  const FlashBackwardCall call{shape, input, dout, neg_lse, neg_delta, term_stride, dq, dk, dv};
  std::vector<FlashBackwardTask> tasks;
  for (size_t distance = 0; distance < longest; distance += stripe) {
    tasks.clear();
    size_t operations = 0;
    for (size_t s = 0; s + 1 < input.bounds.size(); ++s) {
      const size_t begin = input.bounds[s], length = input.bounds[s + 1] - begin;
      for (size_t first = distance; first < length; first += stripe) {
        const size_t queries = std::min(stripe, length - first);
        const size_t keys = std::min(stripe, length - (first - distance));
        operations += 5 * shape.heads * shape.head_dim * queries * keys;
        for (size_t kv = 0; kv < shape.kv_heads; ++kv)
          tasks.push_back({begin, kv, first, queries, first - distance, keys});
      }
    }
    ParallelForWork(tasks.size(), operations, [&](size_t i, int thread) {
      kernel.backward(call, tasks[i], memory + floats * static_cast<size_t>(thread));
    });
  }
}

}  // namespace planish
