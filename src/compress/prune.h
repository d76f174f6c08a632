// SPDX-License-Identifier: Apache-2.0
// Minitron from a parent on disk to pruned children on disk: scores, ranking of depth, shapes within a budget, the loss of each
// finalist right after the cut, and the best of them written. What `planish prune` does; see compress.md sections 1-3.
//
// The folder: config.json, weights and tokenizer of the best child; candidate-2, candidate-3 ... likewise where more are asked
// for; importance.json; costs.json of a target of latency; prune.json and prune.html with every figure. While the work lasts its name ends in ".part"; a run that
// was cut off continues there with the scores that were finished.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "compress/cost_measure.h"
#include "compress/prune_search.h"
#include "eval/divergence.h"

namespace planish {

struct PruneRequest {
  CalibrationOptions calibration;
  std::string importance;     // a file of an earlier run in place of the sweep; may be empty
  size_t score_samples = 16;  // held-out rows that finalists are compared on; 0: no comparison
  PruneGrid grid;
  PruneBudget budget;
  std::vector<size_t> drop;  // blocks to remove, whatever depth scores say
  bool depth_by_influence =
      false;  // one cosine a block, from the sweep, in place of iterative removal
  size_t depth_samples = 4, depth_tokens = 512;  // rows and tokens of each for iterative removal
  size_t top = 10;                               // finalists
  size_t write = 1;                              // of these, written
  DType type = DType::kBF16;                     // of what is written
  uint64_t shard_bytes = uint64_t{4} << 30;
  Precision precision = Precision::kF32;  // of the sweeps; comparisons are exact
  // Of a target of latency: how blocks are timed, and a costs.json to begin with and to keep up to date (empty: that of the
  // folder). A clock that is given takes the place of this machine's.
  MeasureOptions measure;
  std::string costs;
  ShapeClock* clock = nullptr;
};

struct ScoredShape {
  PruneCandidate candidate;
  std::vector<size_t> dropped;  // blocks of the parent
  Divergence divergence;        // tokens 0: not compared
  std::string folder;           // where it was written; may be empty
};

struct PruneOutcome {
  Plan parent_plan;
  PruneSearch search;
  Importance importance;
  std::vector<ScoredShape> shapes;  // best first: by KL where compared, else by parameters
  std::string calibration, held_out;
  double seconds = 0;
};

// What is going on, of how much: for progress lines.
using PruneProgress = std::function<void(const std::string& stage, size_t done, size_t total)>;

// `output`: the folder to make. Error(kUsage) if it exists, or if no shape fits, saying what would.
PruneOutcome Prune(const Pretrained& parent, const PruneRequest& request, const std::string& output,
                   const PruneProgress& progress = nullptr);

// The search alone: no weights are read. Blocks are timed if the target is a latency. Error as above.
PruneSearch PlanPrune(const ModelConfig& parent, const PruneRequest& request);

Json ShapeToJson(const PruneShape& shape);
Json PruneToJson(const Pretrained& parent, const PruneRequest& request,
                 const PruneOutcome& outcome);
std::string PrunePage(const Pretrained& parent, const PruneRequest& request,
                      const PruneOutcome& outcome);
// "planish distill ..." to go on with each written child.
std::vector<std::string> DistillCommands(const std::string& parent, const PruneRequest& request,
                                         const PruneOutcome& outcome);

}  // namespace planish
