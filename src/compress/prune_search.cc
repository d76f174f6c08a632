// SPDX-License-Identifier: Apache-2.0
#include "compress/prune_search.h"

#include <algorithm>
#include <array>
#include <limits>

#include "base/error.h"

namespace planish {
namespace {

// Estimates of time may be off by so much before anything was measured: shapes near the target are measured, not guessed.
constexpr double kEstimateError = 0.1;
// Rounds of measuring after which nothing more is tried: each one corrects the estimates by the last one's error.
constexpr size_t kRounds = 8;

// Parameters and memory of any shape in a few operations, from what MakePlan says of blocks.
class FastPlan {
 public:
  FastPlan(const ModelConfig& parent, const PlanRequest& request)
      : parent_(parent), request_(request) {
    for (const BlockConfig& block : parent.blocks) kinds_[block.mixer.index()] = &block.mixer;
  }
  struct Sums {
    uint64_t parameters, memory;
  };
  Sums Of(const PruneShape& shape) const {
    const uint64_t D = shape.hidden;
    uint64_t parameters = uint64_t{parent_.vocab_size} * D * (parent_.tie_embeddings ? 1 : 2) + D;
    uint64_t ssm = 0, conv = 0, kv = 0;
    for (size_t kind = 0; kind < 3; ++kind) {
      const uint64_t n = CountOf(shape, kind);
      if (n == 0 || kinds_[kind] == nullptr) continue;
      const MixerCost cost = CostOf(ShapedMixer(*kinds_[kind], shape), D);
      parameters += n * (cost.parameters + D);
      ssm += n * cost.ssm_elements;
      conv += n * cost.conv_elements;
      kv += n * cost.kv_elements_per_token;
    }
    const uint64_t each = BytesOf(request_.kv_dtype, kv) * request_.context +
                          BytesOf(request_.ssm_dtype, ssm) + BytesOf(request_.conv_dtype, conv);
    return {parameters, BytesOf(request_.weight_dtype, parameters) + request_.batch * each};
  }

 private:
  const ModelConfig& parent_;
  const PlanRequest& request_;
  std::array<const MixerConfig*, 4> kinds_{};
};

// Not larger than `other` on any axis.
bool IsWithin(const PruneShape& shape, const PruneShape& other) {
  return shape.hidden <= other.hidden && shape.ffn <= other.ffn &&
         shape.mamba_heads <= other.mamba_heads && shape.mamba_head_dim <= other.mamba_head_dim &&
         shape.heads <= other.heads && shape.attention_blocks <= other.attention_blocks &&
         shape.mamba_blocks <= other.mamba_blocks && shape.ffn_blocks <= other.ffn_blocks;
}

auto AxesOf(const PruneShape& s) {
  return std::array{s.hidden,           s.ffn,          s.mamba_heads, s.mamba_head_dim, s.heads,
                    s.attention_blocks, s.mamba_blocks, s.ffn_blocks};
}

struct Point {
  uint64_t parameters;
  PruneShape shape;
  double seconds;  // estimated; 0 without a clock
  bool is_done = false;
};

class Selection {
 public:
  Selection(const ModelConfig& parent, const PlanRequest& plan, ShapeClock* clock, double limit_s,
            size_t top_k, PruneSearch* search)
      : parent_(parent),
        plan_(plan),
        clock_(clock),
        limit_s_(limit_s),
        top_k_(top_k),
        search_(search) {}

  // `points`: by parameters, most first.
  void Run(std::vector<Point> points) {
    double correction = 1 / (1 + kEstimateError);  // of estimates
    for (size_t round = 0; round < kRounds && search_->best.size() < top_k_; ++round) {
      std::vector<Point*> group;
      for (Point& point : points) {
        if (group.size() == top_k_ - search_->best.size()) break;
        if (point.is_done || point.seconds * correction > limit_s_) continue;
        // What exceeds a shape has more parameters and came before it, or something that exceeds that one did.
        point.is_done =
            std::any_of(search_->best.begin(), search_->best.end(),
                        [&](const PruneCandidate& c) { return IsWithin(point.shape, c.shape); });
        const bool waits = std::any_of(group.begin(), group.end(), [&](const Point* other) {
          return IsWithin(point.shape, other->shape);
        });
        if (!point.is_done && !waits) group.push_back(&point);
      }
      if (group.empty()) break;
      correction = Try(group);
    }
    std::stable_sort(search_->best.begin(), search_->best.end(),
                     [](const PruneCandidate& a, const PruneCandidate& b) {
                       return a.parameters > b.parameters;
                     });
  }

 private:
  // Takes those within the limit; by what factor their estimates were off, in the middle.
  double Try(const std::vector<Point*>& group) {
    std::vector<PruneShape> shapes;
    for (const Point* point : group) shapes.push_back(point->shape);
    const std::vector<Seconds> steps =
        clock_ == nullptr ? std::vector<Seconds>(shapes.size()) : clock_->Measure(shapes);
    std::vector<double> factors;
    for (size_t i = 0; i < group.size(); ++i) {
      group[i]->is_done = true;
      if (clock_ != nullptr) factors.push_back(steps[i].median / group[i]->seconds);
      if (steps[i].median > limit_s_) continue;
      search_->best.push_back({shapes[i], group[i]->parameters,
                               MakePlan(ConfigOfShape(parent_, shapes[i]), plan_),
                               clock_ == nullptr ? std::nullopt : std::optional(steps[i])});
    }
    if (factors.empty()) return 1;
    std::nth_element(factors.begin(), factors.begin() + static_cast<ptrdiff_t>(factors.size() / 2),
                     factors.end());
    return factors[factors.size() / 2];
  }

  const ModelConfig& parent_;
  const PlanRequest& plan_;
  ShapeClock* clock_;
  double limit_s_;
  size_t top_k_;
  PruneSearch* search_;
};

}  // namespace

PruneSearch SearchShapes(const ModelConfig& parent, const PruneGrid& grid,
                         const PruneBudget& budget, size_t top_k, ShapeClock* clock) {
  PLANISH_CHECK(clock != nullptr || !budget.latency);
  PruneSearch search;
  const FastPlan plan(parent, budget.plan);
  double limit_s = std::numeric_limits<double>::infinity(), least_s = limit_s;
  if (clock != nullptr) {
    const PruneShape whole = ShapeOf(parent);
    search.parent_step = clock->Measure({&whole, 1}).front();
    if (budget.latency) limit_s = budget.latency->Of(search.parent_step->median);
  }
  PruneShape fastest;
  std::vector<Point> feasible;
  EnumerateShapes(parent, grid, [&](const PruneShape& shape) {
    const FastPlan::Sums sums = plan.Of(shape);
    if (search.points == 0 || sums.parameters < search.smallest_parameters)
      search.smallest_parameters = sums.parameters;
    if (search.points == 0 || sums.memory < search.smallest_memory)
      search.smallest_memory = sums.memory;
    ++search.points;
    const double seconds = clock == nullptr ? 0 : clock->Estimate(shape);
    if (clock != nullptr && seconds < least_s) {
      least_s = seconds;
      fastest = shape;
    }
    if (budget.parameters && sums.parameters > *budget.parameters) return;
    if (budget.memory && sums.memory > *budget.memory) return;
    search.feasible += seconds <= limit_s;
    if (seconds <= limit_s * (1 + kEstimateError))
      feasible.push_back({sums.parameters, shape, seconds});
  });
  std::sort(feasible.begin(), feasible.end(), [](const Point& a, const Point& b) {
    return a.parameters != b.parameters ? a.parameters > b.parameters
                                        : AxesOf(a.shape) > AxesOf(b.shape);
  });
  Selection(parent, budget.plan, clock, limit_s, top_k, &search).Run(std::move(feasible));
  if (clock != nullptr && search.best.empty() && search.points > 0)
    search.least_step = clock->Measure({&fastest, 1}).front();
  return search;
}

}  // namespace planish
