// SPDX-License-Identifier: Apache-2.0
// What FFN fusion does to a model, measured on rows of text before anything is merged: how much the blocks of a run depend on
// each other, and the KL between the model and its parallel form
//   sequential  h_{k+1} = h_k + F_k(RMS_k(h_k))      parallel  h' = h_i + sum_k F_k(RMS_k(h_i)).
// Float passes, sums in double in row order: results depend on nothing but model and rows.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "compress/block_runner.h"
#include "compress/ffn_runs.h"
#include "eval/divergence.h"

namespace planish {

using TokenRows = std::span<const std::vector<int32_t>>;
using RowsDone = std::function<void(size_t rows)>;  // called after each row of text; may be empty

// d(i, j) = 1 - mean over tokens of cos(c_j, c_j without block i), c_j = what block j adds to the stream.
std::vector<RunDependency> MeasureDependencies(const BlockRunner& runner,
                                               const std::vector<FfnRun>& runs, TokenRows rows,
                                               const RowsDone& done = nullptr);

// As BlockRunner::Run over blocks [begin, end), with each of `fused` in its parallel form; these ascend and lie within.
void RunParallelForm(const BlockRunner& runner, const Pass& pass, size_t begin, size_t end,
                     const std::vector<FfnRun>& fused, float* h);

// KL(model || parallel form) over all rows, and how often the first choice stays.
Divergence ParallelDivergence(const BlockRunner& runner, const std::vector<FfnRun>& fused,
                              TokenRows rows, const RowsDone& done = nullptr);

// Runs of more than `most` blocks in as few pieces of at most `most` as can be, cut where the sum of the KLs of fusing each
// piece alone is least; pieces of one block stay unfused and are left out.
std::vector<FfnRun> SplitRuns(const BlockRunner& runner, const std::vector<FfnRun>& runs,
                              size_t most, TokenRows rows, const RowsDone& done = nullptr);

// The cut behind SplitRuns: lengths of the pieces of a run of n, ascending from its start; cost(begin, length) of a piece.
std::vector<size_t> CheapestCut(size_t n, size_t most,
                                const std::function<double(size_t begin, size_t length)>& cost);

}  // namespace planish
