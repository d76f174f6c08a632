// SPDX-License-Identifier: Apache-2.0
// Norm of the gradient over all ranks, its clip factor, and whether everything is finite. Sums are double: first over the
// chunks of the flat space, each summed alone (kernels/sum_squares.h), then chunk after chunk of a tensor, then tensor after
// tensor: the same bits for any number of threads and ranks, and on every SIMD level.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "train/flat_params.h"

namespace planish {

// One sum of squares per chunk of `range`, in order; values: [range.size()], e.g. gradients. Ranks put theirs one after the
// other to have those of the whole space.
std::vector<double> ChunkSquares(const FlatParams& params, const FlatRange& range,
                                 const float* values);
// Likewise of the parameters themselves.
std::vector<double> ValueSquares(const FlatParams& params, const FlatRange& range);

// L2 norm from the sums of all chunks.
double NormOf(const FlatParams& params, const std::vector<double>& chunk_squares);
// L2 norm of each entry, in their order.
std::vector<double> EntryNorms(const FlatParams& params, const std::vector<double>& chunk_squares);
// The first entry, in order, that holds an infinity or a NaN.
std::optional<size_t> FirstNonFinite(const FlatParams& params,
                                     const std::vector<double>& chunk_squares);

// min(1, limit / (norm + 1e-6)); 1 if limit is 0, which switches clipping off.
double ClipFactor(double norm, double limit);

}  // namespace planish
