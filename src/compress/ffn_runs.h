// SPDX-License-Identifier: Apache-2.0
// FFN blocks that follow each other in a model's list of blocks with no other mixer between them, which is what FFN fusion
// (arXiv 2503.18908) merges; and which of them are safe to merge, by how much they depend on each other.
#pragma once

#include <string>
#include <vector>

#include "model/config.h"

namespace planish {

struct FfnRun {
  size_t begin = 0, end = 0;  // blocks [begin, end) of the model's list
  size_t size() const { return end - begin; }
  bool operator==(const FfnRun&) const = default;
};
// Layers, as in tensor names: "3-6".
std::string DescribeRun(const ModelConfig& config, const FfnRun& run);

// All runs of two blocks or more, as long as they are, in order.
std::vector<FfnRun> FfnRuns(const ModelConfig& config);
// "3-6,9-12": the FFN blocks of these layers, ends included. Error(kUsage) for ranges that are not ascending, hold less than
// two FFN blocks, or have another mixer between these.
std::vector<FfnRun> RunsOfLayers(const ModelConfig& config, const std::string& text);

// How much the blocks of a run depend on each other: d(i, j), i < j, is 0 if block j adds the same to the stream with block i
// left out, and grows as that turns away (1 - cosine, so at most 2).
struct RunDependency {
  FfnRun run;
  std::vector<double> d;  // [n, n] by rows; only j > i is filled
  double at(size_t i, size_t j) const { return d[i * run.size() + j]; }
  // Over pairs of `part`, a piece of the run.
  double Max(const FfnRun& part) const;
  double Mean(const FfnRun& part) const;
};

struct FusionLimits {
  double max_d = 0.5, mean_d = 0.25;
  bool keeps_last =
      true;  // the last block of the model's last run stays as it is: it is the sensitive one
};
// The longest pieces of two blocks or more within the limits, longest first (of equal ones that with the smaller mean), none
// overlapping; in the order of the model.
std::vector<FfnRun> SafeRuns(const std::vector<RunDependency>& dependencies,
                             const FusionLimits& limits);

// As many other runs of the same lengths: places drawn at random among all that the model has, none overlapping. Empty if
// there are no others.
std::vector<FfnRun> RandomRuns(const ModelConfig& config, const std::vector<FfnRun>& chosen,
                               uint64_t seed);

}  // namespace planish
