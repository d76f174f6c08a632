// SPDX-License-Identifier: Apache-2.0
// The choice among shapes of prune_shape.h of those that fit a budget of parameters, memory and time (compress.md section 3;
// Nemotron Nano 2, arXiv 2508.14444: 12B to 9B for 19.66 GiB at 131,072 tokens).
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "compress/cost_table.h"
#include "compress/prune_shape.h"
#include "compress/target.h"
#include "model/planner.h"

namespace planish {

struct PruneBudget {
  std::optional<uint64_t> parameters;
  std::optional<uint64_t> memory;  // bytes: weights, caches and states of `plan`
  std::optional<Target> latency;   // seconds of a decode step of `plan`, or a share of the parent's
  PlanRequest plan;                // context, batch and types
};

// How long a decode step of a child takes. shape_costs.h measures it.
class ShapeClock {
 public:
  virtual ~ShapeClock() = default;
  // Seconds, for thousands of shapes.
  virtual double Estimate(const PruneShape& shape) = 0;
  // For those that come into question.
  virtual std::vector<Seconds> Measure(std::span<const PruneShape> shapes) = 0;
};

struct PruneCandidate {
  PruneShape shape;
  uint64_t parameters = 0;
  Plan plan;
  std::optional<Seconds> step;  // with a clock
};

struct PruneSearch {
  uint64_t points = 0, feasible = 0;  // feasible: as far as estimates of time go
  // By parameters, most first; no shape that another feasible one exceeds or equals on every axis.
  std::vector<PruneCandidate> best;
  uint64_t smallest_parameters = 0,
           smallest_memory = 0;                    // of all points: what could be reached at all
  std::optional<Seconds> parent_step, least_step;  // with a clock; least_step if nothing fits
};

// `clock` may be null without a target of latency. At most `top_k` shapes; with a clock each was measured within the target.
PruneSearch SearchShapes(const ModelConfig& parent, const PruneGrid& grid,
                         const PruneBudget& budget, size_t top_k, ShapeClock* clock = nullptr);

}  // namespace planish
