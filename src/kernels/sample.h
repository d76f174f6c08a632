// SPDX-License-Identifier: Apache-2.0
// Order and normaliser of one row of logits. Choosing a token (temperature, top-p, hooks) belongs
// to infer/sampler.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace planish {

// Index of the largest value, the lowest index among equals (-0 equals +0). NaN is never chosen,
// unless all are NaN: then 0. n >= 1.
size_t ArgMax(const float* x, size_t n) noexcept;

// log sum_i exp(x[i]): maximum subtracted, float exponentials summed in double in a fixed order.
// -inf entries count as zero; all -inf gives -inf; any NaN gives NaN; any +inf (and no NaN) gives
// +inf.
double LogSumExp(const float* x, size_t n) noexcept;

// out[k] = x[indices[k]] - LogSumExp(x); indices must be below n.
void LogSoftmaxAt(const float* x, size_t n, std::span<const int32_t> indices, double* out) noexcept;

// The min(k, n) largest values' indices, sorted by value descending, then index ascending; NaN
// sorts last.
std::vector<int32_t> TopK(const float* x, size_t n, size_t k);

}  // namespace planish
