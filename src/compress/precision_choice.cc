// SPDX-License-Identifier: Apache-2.0
#include "compress/precision_choice.h"

#include <algorithm>

#include "base/error.h"
#include "compress/search_problem.h"

namespace planish {

void KeepBestOptions(std::vector<PrecisionOption>* options) {
  std::stable_sort(options->begin(), options->end(),
                   [](const PrecisionOption& a, const PrecisionOption& b) {
                     return a.bytes != b.bytes ? a.bytes < b.bytes : a.score < b.score;
                   });
  std::vector<PrecisionOption> best;
  for (const PrecisionOption& option : *options)
    if (best.empty() || option.score < best.back().score) best.push_back(option);
  *options = std::move(best);
}

uint64_t LeastBytes(const std::vector<MatrixPrecisions>& matrices) {
  uint64_t bytes = 0;
  for (const MatrixPrecisions& matrix : matrices) bytes += matrix.options.front().bytes;
  return bytes;
}

uint64_t MostBytes(const std::vector<MatrixPrecisions>& matrices) {
  uint64_t bytes = 0;
  for (const MatrixPrecisions& matrix : matrices) bytes += matrix.options.back().bytes;
  return bytes;
}

PrecisionPlan ChoosePrecisions(const std::vector<MatrixPrecisions>& matrices, uint64_t bytes) {
  PLANISH_CHECK(bytes >= LeastBytes(matrices));
  SearchProblem problem;
  problem.block_count = matrices.size();
  SearchLimit limit{.name = "size", .unit = "bytes"};
  std::vector<std::pair<size_t, const PrecisionOption*>> options;  // matrix, option
  for (size_t m = 0; m < matrices.size(); ++m) {
    for (const PrecisionOption& option : matrices[m].options) {
      problem.options.push_back({.name = matrices[m].name, .blocks = {m}, .score = option.score});
      limit.amounts.push_back(static_cast<double>(option.bytes));
      options.emplace_back(m, &option);
    }
  }
  limit.high = static_cast<double>(bytes);
  problem.limits.push_back(std::move(limit));
  const std::vector<SearchSolution> found = SolveSearch(problem, {});
  PLANISH_CHECK(!found.empty());
  PrecisionPlan plan;
  plan.bound = found[0].bound;
  for (const size_t index : found[0].options) {
    const auto& [m, option] = options[index];
    plan.storage[matrices[m].name] = {option->type};
    plan.bytes += option->bytes;
    plan.score += option->score;
  }
  return plan;
}

std::vector<PrecisionPlan> PrecisionCurve(const std::vector<MatrixPrecisions>& matrices) {
  constexpr uint64_t kSteps = 10;
  const uint64_t least = LeastBytes(matrices), most = MostBytes(matrices);
  std::vector<PrecisionPlan> curve;
  for (uint64_t i = 0; i <= kSteps; ++i) {
    PrecisionPlan plan =
        ChoosePrecisions(matrices, least + (most - least) / kSteps * i +
                                       (i == kSteps ? (most - least) % kSteps : 0));
    if (curve.empty() || plan.bytes > curve.back().bytes) curve.push_back(std::move(plan));
  }
  return curve;
}

}  // namespace planish
