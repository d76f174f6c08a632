// SPDX-License-Identifier: Apache-2.0
// Budgets of time with clocks whose answers are known, and this machine's clock reading from a table that is known.
#include "compress/prune_search.h"

#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/testing.h"
#include "compress/compress_testing.h"
#include "compress/shape_costs.h"

namespace planish {
namespace {

// A block of width w in a stream of width D takes D (w + 7) nanoseconds, an attention block 3 D heads, what is no block 100 D.
double TrueSeconds(const PruneShape& s) {
  const auto D = static_cast<double>(s.hidden);
  const double widths =
      static_cast<double>(s.ffn_blocks) * static_cast<double>(s.ffn + 7) +
      static_cast<double>(s.mamba_blocks) * static_cast<double>(s.mamba_heads * s.mamba_head_dim) +
      static_cast<double>(s.attention_blocks) * 3 * static_cast<double>(s.heads);
  return 1e-9 * D * (100 + widths);
}

// Its estimates are wrong by a factor.
class FakeClock : public ShapeClock {
 public:
  explicit FakeClock(double error) : error_(error) {}
  double Estimate(const PruneShape& shape) override { return error_ * TrueSeconds(shape); }
  std::vector<Seconds> Measure(std::span<const PruneShape> shapes) override {
    std::vector<Seconds> all;
    for (const PruneShape& shape : shapes) {
      const double s = TrueSeconds(shape);
      all.push_back({s, s, s});
    }
    measured += shapes.size();
    return all;
  }
  size_t measured = 0;

 private:
  double error_;
};

ModelConfig Hybrid() { return ConfigFromJson(ParseJson(testing::kTinyHybrid, "tiny"), "tiny"); }

PruneGrid Grid() {
  PruneGrid grid{.hidden_step = 8, .ffn_step = 8, .mamba_head_dim_step = 2, .depth_step = 1};
  grid.width_limit = grid.depth_limit = 0.5;
  grid.min_attention = 1;
  return grid;
}

// What the search should find: of all shapes within the limit the largest, none within another.
std::vector<uint64_t> Expected(const ModelConfig& parent, double limit_s, size_t top) {
  std::vector<std::pair<uint64_t, PruneShape>> within;
  EnumerateShapes(parent, Grid(), [&](const PruneShape& shape) {
    if (TrueSeconds(shape) <= limit_s)
      within.emplace_back(MakePlan(ConfigOfShape(parent, shape), {}).parameters, shape);
  });
  const auto is_within = [](const PruneShape& a, const PruneShape& b) {
    return a.hidden <= b.hidden && a.ffn <= b.ffn && a.mamba_heads <= b.mamba_heads &&
           a.mamba_head_dim <= b.mamba_head_dim && a.attention_blocks <= b.attention_blocks &&
           a.mamba_blocks <= b.mamba_blocks && a.ffn_blocks <= b.ffn_blocks;
  };
  std::vector<uint64_t> maximal;
  for (const auto& [parameters, shape] : within) {
    bool is_part = false;
    for (const auto& [unused, other] : within)
      is_part |= !(shape == other) && is_within(shape, other);
    if (!is_part) maximal.push_back(parameters);
  }
  std::sort(maximal.rbegin(), maximal.rend());
  maximal.resize(std::min(maximal.size(), top));
  return maximal;
}

TEST(PruneSearch, ALatencyKeepsTheLargestShapesThatAreFastEnough) {
  const ModelConfig parent = Hybrid();
  const double whole = TrueSeconds(ShapeOf(parent));
  for (const double share : {1.0, 0.8, 0.55}) {
    FakeClock clock(1);
    const PruneSearch search =
        SearchShapes(parent, Grid(), {.latency = Target{share, true}, .plan = {}}, 6, &clock);
    EXPECT_EQ(search.parent_step->median, whole);
    std::vector<uint64_t> found;
    for (const PruneCandidate& candidate : search.best) {
      found.push_back(candidate.parameters);
      EXPECT_LE(candidate.step.value().median, share * whole);
      EXPECT_EQ(candidate.step->median, TrueSeconds(candidate.shape));
    }
    EXPECT_EQ(found, Expected(parent, share * whole, 6)) << share;
    // The same in seconds.
    const PruneSearch absolute = SearchShapes(
        parent, Grid(), {.latency = Target{share * whole, false}, .plan = {}}, 6, &clock);
    EXPECT_EQ(absolute.best.size(), search.best.size());
    EXPECT_EQ(absolute.feasible, search.feasible);
  }
}

TEST(PruneSearch, EstimatesOnlyPreselect) {
  const ModelConfig parent = Hybrid();
  const double limit = 0.7 * TrueSeconds(ShapeOf(parent));
  for (const double error : {0.6, 0.95, 1.05}) {
    FakeClock clock(error);
    const PruneSearch search =
        SearchShapes(parent, Grid(), {.latency = Target{limit, false}, .plan = {}}, 4, &clock);
    ASSERT_FALSE(search.best.empty()) << error;
    for (const PruneCandidate& candidate : search.best)
      EXPECT_LE(TrueSeconds(candidate.shape), limit) << error;
    // Errors that the margin covers cost nothing but time; a round of too slow ones corrects larger ones.
    EXPECT_EQ(search.best[0].parameters, Expected(parent, limit, 1)[0]) << error;
    EXPECT_LT(clock.measured, search.points) << error;
  }
}

TEST(PruneSearch, ImpossibleLatenciesSayWhatIsPossible) {
  const ModelConfig parent = Hybrid();
  FakeClock clock(1);
  const PruneSearch search =
      SearchShapes(parent, Grid(), {.latency = Target{1e-12, false}, .plan = {}}, 4, &clock);
  EXPECT_TRUE(search.best.empty());
  EXPECT_EQ(search.feasible, 0u);
  double least = 1;
  EnumerateShapes(parent, Grid(),
                  [&](const PruneShape& s) { least = std::min(least, TrueSeconds(s)); });
  EXPECT_EQ(search.least_step.value().median, least);
}

ShapeCostOptions Options(const std::string& file) {
  return {.conditions = {.weights = DType::kF32, .act = ActMode::kF32, .states = {}},
          .setting = {true, 2, 40},
          .measure = {.samples = 3, .warm_ups = 0, .copies = 1},
          .file = file};
}

TEST(ShapeCosts, EstimatesLieOnTheSurfaceThroughWhatWasTimed) {
  const testing::Threads one(1);
  const testing::TemporaryDir folder;
  const std::string file = folder / "costs.json";
  const ModelConfig parent = Hybrid();
  const PruneShape whole = ShapeOf(parent);
  {
    ShapeCosts costs(parent, Grid(), Options(file));
    EXPECT_GT(costs.Estimate(whole), 0);
  }
  // The same table with known figures: bilinear ones, which the surface must reproduce everywhere.
  Json json = ParseJson(ReadFile(file, 1 << 24), file);
  Json changed = Json::MakeObject(), tables = Json::MakeArray();
  changed.Set("format", "planish prune costs 1");
  std::set<size_t> hidden_sizes;
  for (const Json& stored : json.Find("tables")->AsArray()) {
    const CostTable table = CostTable::FromJson(stored, file);
    const auto D = static_cast<double>(table.conditions().hidden_size);
    hidden_sizes.insert(table.conditions().hidden_size);
    CostTable known(table.conditions());
    for (CostEntry entry : table.entries()) {
      double seconds = 100 * D;
      if (entry.mixer) {
        if (const auto* a = std::get_if<AttentionConfig>(&*entry.mixer))
          seconds = 3 * D * static_cast<double>(a->n_heads);
        else if (const auto* m = std::get_if<Mamba2Config>(&*entry.mixer))
          seconds = D * static_cast<double>(m->n_heads * m->head_dim);
        else if (const auto* f = std::get_if<FfnConfig>(&*entry.mixer))
          seconds = D * static_cast<double>(f->intermediate_size + 7);
      }
      seconds *= 1e-9;
      entry.seconds = {seconds, seconds, seconds};
      known.Add(entry);
    }
    tables.Append(known.ToJson());
  }
  changed.Set("tables", std::move(tables));
  WriteFile(file, DumpJson(changed));
  EXPECT_EQ(hidden_sizes, (std::set<size_t>{16, 24, 32}));

  ShapeCosts costs(parent, Grid(), Options(file));
  size_t points = 0;
  EnumerateShapes(parent, Grid(), [&](const PruneShape& shape) {
    ++points;
    const double want = TrueSeconds(shape);
    ASSERT_NEAR(costs.Estimate(shape), want, 1e-12 * want) << Describe(shape);
  });
  EXPECT_GT(points, 20u);
  EXPECT_EQ(costs.Measure({&whole, 1})[0].median, costs.Estimate(whole)) << "the parent is a knot";
  EXPECT_TRUE(ReadFile(file, 1 << 24) == DumpJson(changed)) << "nothing was missing";
  // A shape between knots has its own blocks timed, the others stay.
  PruneShape between = whole;
  between.ffn = 32;
  EXPECT_GT(costs.Measure({&between, 1})[0].median, 0);
  const ShapeCosts again(parent, Grid(), Options(file));
  EXPECT_TRUE(DumpJson(again.ToJson()) == DumpJson(costs.ToJson()));
  EXPECT_FALSE(DumpJson(again.ToJson()) == DumpJson(changed));
}

TEST(ShapeCosts, OtherFilesAreRefusedAndOtherConditionsLeftOut) {
  const testing::Threads one(1);
  const testing::TemporaryDir folder;
  const std::string file = folder / "costs.json";
  const ModelConfig parent = Hybrid();
  for (const char* text :
       {"{", "[]", "{\"format\": \"other\"}", "{\"format\": \"planish prune costs 1\"}",
        "{\"format\": \"planish prune costs 1\", \"tables\": [7]}"}) {
    WriteFile(file, text);
    EXPECT_THROW(ShapeCosts(parent, Grid(), Options(file)), Error) << text;
  }
  WriteFile(file, "{\"format\": \"planish prune costs 1\", \"tables\": []}");
  const PruneShape whole = ShapeOf(parent);
  ShapeCosts costs(parent, Grid(), Options(file));
  costs.Measure({&whole, 1});
  ShapeCostOptions other = Options(file);
  other.conditions.states.kv = DType::kBF16;
  EXPECT_EQ(ShapeCosts(parent, Grid(), other).ToJson().Find("tables")->AsArray().size(), 0u);
  EXPECT_EQ(ShapeCosts(parent, Grid(), Options(file)).ToJson().Find("tables")->AsArray().size(),
            1u);
}

}  // namespace
}  // namespace planish
