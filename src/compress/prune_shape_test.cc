// SPDX-License-Identifier: Apache-2.0
// The published 12B-to-9B search to the unit; sums in the search equal the planner's; shapes are cut by score and nested.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "compress/compress_testing.h"
#include "compress/prune_search.h"

namespace planish {
namespace {

ModelConfig Published(const std::string& name) {
  return ConfigFromJson(*PublishedConfig(name), name);
}

PruneBudget A10gBudget() {
  return {.parameters = std::nullopt,
          .memory = MemoryBudget(static_cast<uint64_t>(22.06 * (1 << 30)), 0.05,
                                 static_cast<uint64_t>(1.3 * (1 << 30))),
          .plan = {.context = 131072}};
}

PruneShape NineB(size_t hidden, size_t ffn, size_t mamba_heads) {
  return {.hidden = hidden,
          .ffn = ffn,
          .mamba_heads = mamba_heads,
          .mamba_head_dim = 80,
          .heads = 40,
          .attention_blocks = 4,
          .mamba_blocks = 27,
          .ffn_blocks = 25};
}

TEST(PruneShape, PublishedCandidatesToTheUnit) {
  const ModelConfig parent = Published("nano-12b-v2");
  const std::pair<PruneShape, uint64_t> table[] = {{NineB(4480, 17920, 112), 8'923'356'912},
                                                   {NineB(4480, 15680, 128), 8'888'227'328},
                                                   {NineB(4800, 14400, 120), 8'965'788'600}};
  const PruneBudget budget = A10gBudget();
  for (const auto& [shape, parameters] : table) {
    const Plan plan = MakePlan(ConfigOfShape(parent, shape), budget.plan);
    EXPECT_EQ(plan.parameters, parameters) << Describe(shape);
    EXPECT_LE(plan.total_bytes, *budget.memory) << Describe(shape);
  }
  EXPECT_EQ(MakePlan(ConfigOfShape(parent, NineB(4480, 15680, 128)), {}).parameters,
            MakePlan(Published("nano-9b-v2"), {}).parameters);
}

TEST(PruneShape, TwelveBillionDoNotFitTheCardAndNineDo) {
  const PruneBudget budget = A10gBudget();
  EXPECT_NEAR(static_cast<double>(*budget.memory) / (1 << 30), 19.66, 0.005);
  EXPECT_GT(MakePlan(Published("nano-12b-v2"), budget.plan).total_bytes, *budget.memory);
  const Plan nine = MakePlan(Published("nano-9b-v2"), budget.plan);
  EXPECT_LE(nine.total_bytes, *budget.memory);
  EXPECT_EQ(GiB(nine.total_bytes), "18.69 GiB");
}

TEST(PruneShape, TheGridOfTheTwelveBillionHoldsThePublishedShapes) {
  const ModelConfig parent = Published("nano-12b-v2");
  const PruneShape wanted[] = {NineB(4480, 17920, 112), NineB(4480, 15680, 128),
                               NineB(4800, 14400, 120)};
  std::vector<int> found(3);
  uint64_t points = 0;
  EnumerateShapes(parent, {}, [&](const PruneShape& shape) {
    ++points;
    for (size_t i = 0; i < 3; ++i) found[i] += shape == wanted[i];
  });
  EXPECT_EQ(found, (std::vector<int>{1, 1, 1}));
  const PruneSearch search = SearchShapes(parent, {}, A10gBudget(), 10);
  EXPECT_EQ(search.points, points);
  EXPECT_LT(search.feasible, search.points);
  ASSERT_EQ(search.best.size(), 10u);
  for (size_t i = 0; i < 10; ++i) {
    EXPECT_LE(search.best[i].plan.total_bytes, *A10gBudget().memory);
    EXPECT_EQ(search.best[i].parameters, search.best[i].plan.parameters);
    EXPECT_GE(search.best[i > 0 ? i - 1 : 0].parameters, search.best[i].parameters);
  }
}

TEST(PruneShape, SumsOfTheSearchAreThePlanners) {
  for (const char* tiny : {testing::kTinyHybrid, testing::kTinyLlama, testing::kTinyQwen}) {
    const ModelConfig parent = ConfigFromJson(ParseJson(tiny, "tiny"), "tiny");
    PruneGrid grid{.hidden_step = 8, .ffn_step = 16, .mamba_head_dim_step = 4, .depth_step = 1};
    grid.width_limit = grid.depth_limit = 0.5;
    grid.cuts_heads = true;
    const PlanRequest request{.context = 640, .batch = 3};
    std::set<uint64_t> parameters, memory;
    size_t points = 0;
    EnumerateShapes(parent, grid, [&](const PruneShape& shape) {
      const Plan plan = MakePlan(ConfigOfShape(parent, shape), request);
      ++points;
      // Each bound lets exactly the shapes through that the planner finds within it.
      parameters.insert(plan.parameters);
      memory.insert(plan.total_bytes);
    });
    ASSERT_GT(points, 4u);
    const PruneSearch all = SearchShapes(parent, grid, {.plan = request}, 1);
    EXPECT_EQ(all.points, points);
    EXPECT_EQ(all.feasible, points);
    EXPECT_EQ(all.smallest_parameters, *parameters.begin());
    EXPECT_EQ(all.smallest_memory, *memory.begin());
    const uint64_t middle = *std::next(memory.begin(), static_cast<long>(memory.size() / 2));
    size_t within = 0;
    EnumerateShapes(parent, grid, [&](const PruneShape& shape) {
      within += MakePlan(ConfigOfShape(parent, shape), request).total_bytes <= middle;
    });
    EXPECT_EQ(SearchShapes(parent, grid, {.memory = middle, .plan = request}, 1).feasible, within);
  }
}

TEST(PruneShape, NoFinalistIsWithinAnother) {
  const PruneSearch search =
      SearchShapes(Published("nano-12b-v2"), {}, {.parameters = 9'000'000'000, .plan = {}}, 8);
  ASSERT_EQ(search.best.size(), 8u);
  const auto within = [](const PruneShape& a, const PruneShape& b) {
    return a.hidden <= b.hidden && a.ffn <= b.ffn && a.mamba_heads <= b.mamba_heads &&
           a.mamba_head_dim <= b.mamba_head_dim && a.attention_blocks <= b.attention_blocks &&
           a.mamba_blocks <= b.mamba_blocks && a.ffn_blocks <= b.ffn_blocks;
  };
  for (size_t i = 0; i < 8; ++i) {
    EXPECT_LE(search.best[i].parameters, 9'000'000'000u);
    for (size_t j = 0; j < 8; ++j) {
      EXPECT_TRUE(i == j || !within(search.best[i].shape, search.best[j].shape)) << i << " " << j;
    }
  }
}

TEST(PruneShape, NarrowerCutsArePrefixesOfWiderOnesAndKeepTheBest) {
  const Pretrained parent = testing::TinyModel(testing::kTinyHybrid, 3);  // M-*-
  const CalibrationRows rows{
      .rows = testing::RandomIds(parent, 4, 16, 1), .hash = 1, .description = ""};
  const Importance importance = MeasureImportance(parent, rows);
  const PruneShape whole = ShapeOf(parent.config);
  PruneShape wide = whole, narrow = whole;
  wide.hidden = 24, wide.ffn = 40, wide.mamba_heads = 2, wide.mamba_head_dim = 6, wide.heads = 2;
  narrow = wide;
  narrow.hidden = 16, narrow.ffn = 8, narrow.mamba_head_dim = 3;
  const PrunedModel a = CutToShape(parent.config, importance, wide, {}),
                    b = CutToShape(parent.config, importance, narrow, {});
  const auto prefix = [](const IndexList& shorter, const IndexList& longer) {
    return shorter.size() < longer.size() &&
           std::equal(shorter.begin(), shorter.end(), longer.begin());
  };
  EXPECT_TRUE(prefix(b.slice.hidden, a.slice.hidden));
  EXPECT_TRUE(prefix(std::get<FfnSlice>(b.slice.blocks[1]).neurons,
                     std::get<FfnSlice>(a.slice.blocks[1]).neurons));
  EXPECT_TRUE(prefix(std::get<MambaSlice>(b.slice.blocks[0]).channels,
                     std::get<MambaSlice>(a.slice.blocks[0]).channels));
  // What stays scores at least as much as what goes.
  const auto& kept = std::get<FfnSlice>(a.slice.blocks[1]).neurons;
  const auto& scores = importance.blocks[1].scores;
  const std::set<uint32_t> stays(kept.begin(), kept.end());
  double least = INFINITY, most = 0;
  for (uint32_t i = 0; i < scores.size(); ++i) {
    if (stays.contains(i))
      least = std::min(least, scores[i]);
    else
      most = std::max(most, scores[i]);
  }
  EXPECT_GE(least, most);
  // One head of each of two groups, the better of each; a head's score counts kept channels only.
  const auto& mamba = std::get<MambaSlice>(b.slice.blocks[0]);
  for (size_t g = 0; g < 2; ++g) {
    double sums[2] = {};
    for (size_t h = 0; h < 2; ++h) {
      for (const uint32_t p : mamba.channels)
        sums[h] += std::pow(importance.blocks[0].scores[(2 * g + h) * 8 + p], 2);
    }
    EXPECT_EQ(mamba.heads[g], 2 * g + (sums[1] > sums[0] ? 1 : 0));
  }
  // Nothing cut: nothing moved.
  const PrunedModel same = CutToShape(parent.config, importance, whole, {});
  EXPECT_TRUE(same.slice.hidden.empty());
  for (const BlockSlice& block : same.slice.blocks)
    EXPECT_TRUE(std::holds_alternative<std::monostate>(block));
  EXPECT_EQ(same.edited.config.blocks, parent.config.blocks);
}

TEST(PruneShape, ImpossibleShapesAreRefused) {
  const Pretrained parent = testing::TinyModel(testing::kTinyHybrid, 3);
  const CalibrationRows rows{
      .rows = testing::RandomIds(parent, 1, 4, 1), .hash = 1, .description = ""};
  const Importance importance = MeasureImportance(parent, rows);
  const auto refused = [&](auto change, const std::string& part) {
    PruneShape shape = ShapeOf(parent.config);
    change(shape);
    try {
      CutToShape(parent.config, importance, shape, {});
      ADD_FAILURE() << "accepted, expected a complaint about " << part;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kUsage);
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  refused([](PruneShape& s) { s.mamba_heads = 3; }, "groups");
  refused([](PruneShape& s) { s.heads = 3; }, "groups");
  refused([](PruneShape& s) { s.hidden = 33; }, "hidden");
  refused([](PruneShape& s) { s.ffn = 0; }, "FFN");
  EXPECT_THROW(CutToShape(parent.config, importance, ShapeOf(parent.config), {4}), Error);
  EXPECT_THROW(ShapeOf(Published("ln-super-49b")), Error) << "its blocks differ already";
}

}  // namespace
}  // namespace planish
