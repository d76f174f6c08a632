// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "compress/compress_testing.h"
#include "compress/fusion_borders.h"

namespace planish {
namespace {

using namespace testing;  // the helpers of tests

constexpr const char* kRuns = R"({"model_type": "nemotron_h", "hidden_size": 24,
 "hybrid_override_pattern": "*-----", "num_hidden_layers": 6, "vocab_size": 300,
 "max_position_embeddings": 4096, "intermediate_size": 40, "mlp_hidden_act": "relu2",
 "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "mamba_num_heads": 4,
 "mamba_head_dim": 8, "n_groups": 2, "ssm_state_size": 8, "conv_kernel": 4, "chunk_size": 16,
 "use_conv_bias": true, "layer_norm_epsilon": 1e-5, "initializer_range": 0.3,
 "bos_token_id": 256, "eos_token_id": 257, "pad_token_id": 258, "torch_dtype": "float32"})";

// By the definition: two whole passes for each pair, a token at a time.
double SlowDependency(const BlockRunner& runner, const FfnRun& run, size_t i, size_t j,
                      const std::vector<std::vector<int32_t>>& rows) {
  const size_t D = runner.model().config().hidden_size;
  Workspace workspace;
  double sum = 0;
  size_t tokens = 0;
  for (const auto& row : rows) {
    const size_t T = row.size();
    const SeqLayout layout(T);
    const Pass pass{.layout = layout, .workspace = &workspace};
    std::vector<float> added[2];
    for (const bool without : {false, true}) {
      std::vector<float> h(T * D);
      runner.Embed(row, h.data());
      for (size_t block = 0; block < run.begin + j; ++block) {
        if (without && block == run.begin + i) continue;
        runner.Run(pass, block, block + 1, h.data());
      }
      std::vector<float> before = h;
      runner.Run(pass, run.begin + j, run.begin + j + 1, h.data());
      for (size_t k = 0; k < h.size(); ++k) added[without].push_back(h[k] - before[k]);
    }
    for (size_t t = 0; t < T; ++t, ++tokens) {
      double ab = 0, aa = 0, bb = 0;
      for (size_t d = t * D; d < (t + 1) * D; ++d) {
        ab += double{added[0][d]} * added[1][d];
        aa += double{added[0][d]} * added[0][d];
        bb += double{added[1][d]} * added[1][d];
      }
      sum += 1 - ab / std::sqrt(aa * bb);
    }
  }
  return sum / static_cast<double>(tokens);
}

TEST(FusionMeasure, DependencyIsItsDefinition) {
  const Pretrained parent = TinyModel(kRuns, 11);
  const BlockRunner runner(parent.model.get());
  // Longer than a slice, so that slices are seen not to matter.
  std::vector<std::vector<int32_t>> rows = RandomIds(parent, 1, 131, 2);
  rows.push_back(RandomIds(parent, 1, 1, 3)[0]);
  const FfnRun run{1, 6};
  const RunDependency measured = MeasureDependencies(runner, {run}, rows)[0];
  ASSERT_EQ(measured.d.size(), 25u);
  double largest = 0;
  for (size_t i = 0; i < 5; ++i) {
    for (size_t j = 0; j < 5; ++j) {
      if (j <= i) {
        EXPECT_EQ(measured.at(i, j), 0) << i << " " << j;
        continue;
      }
      // What is added is seen here as a difference of streams, which rounds: 1e-5 of d.
      EXPECT_NEAR(measured.at(i, j), SlowDependency(runner, run, i, j, rows), 1e-5)
          << i << " " << j;
      largest = std::max(largest, measured.at(i, j));
    }
  }
  EXPECT_GT(largest, 0.01);
  {
    const Threads team(1);
    EXPECT_EQ(MeasureDependencies(runner, {run}, rows)[0].d, measured.d);
  }
}

TEST(FusionMeasure, NothingFusedIsNoDivergence) {
  const Pretrained parent = TinyModel(kRuns, 12);
  const BlockRunner runner(parent.model.get());
  const auto rows = RandomIds(parent, 2, 20, 4);
  const Divergence none = ParallelDivergence(runner, {}, rows);
  EXPECT_EQ(none.mean_kl(), 0);
  EXPECT_EQ(none.top1, none.tokens);
  EXPECT_EQ(none.tokens, 38u);
  size_t done = 0;
  const Divergence some =
      ParallelDivergence(runner, {{2, 5}}, rows, [&](size_t count) { done += count; });
  EXPECT_GT(some.mean_kl(), 0);
  EXPECT_EQ(done, 2u);
  EXPECT_DOUBLE_EQ(some.reference_nll, none.reference_nll);
}

TEST(FusionMeasure, CheapestCutIsThatOfAllCuts) {
  Random random(3);
  for (size_t n = 1; n <= 11; ++n) {
    for (size_t most = 1; most <= 5; ++most) {
      std::vector<double> costs(200);
      for (double& cost : costs) cost = random.Uniform();
      const auto cost = [&](size_t begin, size_t length) { return costs[begin * 12 + length]; };
      const std::vector<size_t> cut = CheapestCut(n, most, cost);
      const auto price = [&](const std::vector<size_t>& lengths) {
        double sum = 0;
        size_t begin = 0;
        for (const size_t length : lengths) {
          if (length > 1) sum += cost(begin, length);
          begin += length;
        }
        return sum;
      };
      // All cuts: bit b set cuts behind block b.
      const size_t fewest = (n + most - 1) / most;
      double best = 1e9;
      for (size_t bits = 0; bits < size_t{1} << (n - 1); ++bits) {
        std::vector<size_t> lengths = {1};
        for (size_t b = 0; b + 1 < n; ++b) {
          if (bits >> b & 1)
            lengths.push_back(1);
          else
            ++lengths.back();
        }
        if (lengths.size() == fewest && *std::max_element(lengths.begin(), lengths.end()) <= most)
          best = std::min(best, price(lengths));
      }
      size_t total = 0;
      for (const size_t length : cut) {
        EXPECT_LE(length, most);
        total += length;
      }
      EXPECT_EQ(total, n);
      EXPECT_EQ(cut.size(), fewest);
      EXPECT_DOUBLE_EQ(price(cut), best) << n << " " << most;
    }
  }
}

TEST(FusionMeasure, LongRunsAreCutWhereTheMeasuredKlIsLeast) {
  const Pretrained parent = TinyModel(kRuns, 13);
  const BlockRunner runner(parent.model.get());
  const auto rows = RandomIds(parent, 2, 24, 5);
  EXPECT_EQ(SplitRuns(runner, {{1, 6}}, 5, rows), (std::vector<FfnRun>{{1, 6}}));
  // Five in pieces of at most three: 2 + 3 or 3 + 2.
  const auto kl = [&](size_t begin, size_t end) {
    return ParallelDivergence(runner, {{begin, end}}, rows).mean_kl();
  };
  const double early = kl(1, 3) + kl(3, 6), late = kl(1, 4) + kl(4, 6);
  ASSERT_NE(early, late);
  EXPECT_EQ(SplitRuns(runner, {{1, 6}}, 3, rows), early < late
                                                      ? (std::vector<FfnRun>{{1, 3}, {3, 6}})
                                                      : (std::vector<FfnRun>{{1, 4}, {4, 6}}));
  // Five in pieces of at most four: a piece of one block is left as it is.
  for (const FfnRun& piece : SplitRuns(runner, {{1, 6}}, 4, rows)) EXPECT_GE(piece.size(), 2u);
}

TEST(FusionMeasure, BordersMoveToTheLeastJointKl) {
  const Pretrained parent = TinyModel(kRuns, 13);
  const BlockRunner runner(parent.model.get());
  const auto rows = RandomIds(parent, 2, 24, 5);
  const auto kl = [&](const std::vector<FfnRun>& runs) {
    return ParallelDivergence(runner, runs, rows).mean_kl();
  };
  // Two and three of five blocks; two of five, anywhere; two and two of five, one left out.
  const std::vector<std::vector<std::vector<FfnRun>>> cases = {
      {{{1, 3}, {3, 6}}, {{1, 4}, {4, 6}}},
      {{{1, 3}}, {{2, 4}}, {{3, 5}}, {{4, 6}}},
      {{{1, 3}, {3, 5}}, {{1, 3}, {4, 6}}, {{2, 4}, {4, 6}}}};
  for (const std::vector<std::vector<FfnRun>>& all : cases) {
    double least = kl(all[0]);
    for (const std::vector<FfnRun>& runs : all) least = std::min(least, kl(runs));
    for (const std::vector<FfnRun>& start : all) {
      const std::vector<FfnRun> found = ShiftBorders(runner, start, {{1, 6}}, 3, rows);
      EXPECT_LE(kl(found), kl(start));
      EXPECT_NE(std::find(all.begin(), all.end(), found), all.end());
      // No single move from what was found is better; over two places that is the least of all.
      if (all.size() == 2) {
        EXPECT_EQ(kl(found), least);
      }
    }
  }
  // Nothing leaves what is allowed.
  EXPECT_EQ(ShiftBorders(runner, {{2, 4}}, {{2, 4}}, 3, rows), (std::vector<FfnRun>{{2, 4}}));
}

}  // namespace
}  // namespace planish
