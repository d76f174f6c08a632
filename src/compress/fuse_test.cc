// SPDX-License-Identifier: Apache-2.0
#include "compress/fuse.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/file.h"
#include "base/testing.h"
#include "compress/compress_testing.h"
#include "compress/fusion_measure.h"

namespace planish {
namespace {

using namespace testing;  // the helpers of tests

// A DeciLM model: attention in layers 0 and 5 only, FFN of unequal widths in all but layer 6, linear in place of one FFN.
constexpr const char* kTinyDeci = R"({"model_type": "nemotron-nas", "hidden_size": 32,
 "num_hidden_layers": 8, "vocab_size": 300, "max_position_embeddings": 4096,
 "num_attention_heads": 4, "rms_norm_eps": 1e-5, "tie_word_embeddings": false,
 "initializer_range": 0.3, "bos_token_id": 256, "eos_token_id": 257, "torch_dtype": "float32",
 "block_configs": [
  {"attention": {"n_heads_in_group": 2}, "ffn": {"intermediate_size": 48}},
  {"attention": {"no_op": true}, "ffn": {"intermediate_size": 17}},
  {"attention": {"no_op": true}, "ffn": {"intermediate_size": 1}},
  {"attention": {"no_op": true}, "ffn": {"intermediate_size": 64}},
  {"attention": {"no_op": true}, "ffn": {"replace_with_linear": true}},
  {"attention": {"n_heads_in_group": 4}, "ffn": {"no_op": true}},
  {"attention": {"no_op": true}, "ffn": {"intermediate_size": 32}},
  {"attention": {"no_op": true}, "ffn": {"intermediate_size": 40}}]})";

// A hybrid with FFN blocks side by side.
constexpr const char* kHybridRuns = R"({"model_type": "nemotron_h", "hidden_size": 32,
 "hybrid_override_pattern": "M---*-M--", "num_hidden_layers": 9, "vocab_size": 300,
 "max_position_embeddings": 4096, "intermediate_size": 48, "mlp_hidden_act": "relu2",
 "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "mamba_num_heads": 4,
 "mamba_head_dim": 8, "n_groups": 2, "ssm_state_size": 8, "conv_kernel": 4, "chunk_size": 16,
 "use_conv_bias": true, "layer_norm_epsilon": 1e-5, "initializer_range": 0.3,
 "bos_token_id": 256, "eos_token_id": 257, "pad_token_id": 258, "torch_dtype": "float32"})";

// Norm weights that are not all 1, so that folding them matters.
Pretrained TinyWithNorms(const char* config, uint64_t seed) {
  Pretrained made = TinyModel(config, seed);
  Random random(seed + 1);
  made.model->VisitParams([&](const Param& param) {
    if (param.role != ParamRole::kNorm) return;
    for (size_t i = 0; i < param.shape.elements(); ++i)
      param.vector->f32()[i] = static_cast<float>(0.5 + random.Uniform());
  });
  made.model->ParamsChanged();
  return made;
}

// Written as a float folder and opened again: the way of the verb.
Pretrained WrittenFused(const Pretrained& parent, const std::vector<FfnRun>& runs,
                        const std::string& folder) {
  const EditedConfig child = FusedConfig(parent.config, runs);
  Pretrained out;
  out.name = "fused";
  out.config = child.config;
  out.model = std::make_unique<Model>(child.config);
  ExportHf(&out, folder, DType::kF32, uint64_t{1} << 30, {.rows = FusedRows(parent, child, runs)});
  return OpenPretrained(folder, {.needs_tokenizer = false});
}

std::vector<float> HiddenOf(const Model& model, const std::vector<int32_t>& ids) {
  std::vector<float> hidden(ids.size() * model.config().hidden_size);
  Workspace workspace;
  model.Forward(ids, SeqLayout(ids.size()), hidden.data(), &workspace);
  return hidden;
}

double RelativeError(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference = std::max(difference, std::abs(double{a[i]} - b[i]));
    largest = std::max(largest, std::abs(double{b[i]}));
  }
  return difference / largest;
}

// Formula of one FFN block in double, from its parameters: adds F(RMS(h)) of one token to `sum`.
void AddFfnInDouble(const std::vector<Param>& params, double eps, const std::vector<double>& h,
                    std::vector<double>* sum) {
  const size_t D = h.size();
  const float* norm = nullptr;
  std::vector<const Weight*> inputs;
  const Weight* down = nullptr;
  for (const Param& param : params) {
    if (param.role == ParamRole::kNorm) norm = param.vector->f32();
    if (param.role == ParamRole::kInput) inputs.push_back(param.weight);
    if (param.role == ParamRole::kOutput) down = param.weight;
  }
  double mean = 0;
  for (const double value : h) mean += value * value / static_cast<double>(D);
  const double scale = 1 / std::sqrt(mean + eps);
  const size_t F = params.back().shape[1];  // of the down projection
  std::vector<float> row(std::max(D, F));
  std::vector<double> inner(F, 1.0);
  for (size_t f = 0; f < F; ++f) {
    for (size_t m = 0; m < inputs.size(); ++m) {
      inputs[m]->DequantizeRow(f, row.data());
      double z = 0;
      for (size_t d = 0; d < D; ++d) z += row[d] * (h[d] * scale * norm[d]);
      if (inputs.size() == 1)
        inner[f] = z > 0 ? z * z : 0;
      else
        inner[f] *= m == 0 ? z / (1 + std::exp(-z)) : z;
    }
  }
  for (size_t d = 0; d < D; ++d) {
    down->DequantizeRow(d, row.data());
    for (size_t f = 0; f < F; ++f) (*sum)[d] += row[f] * inner[f];
  }
}

TEST(Fuse, AFusedModelEqualsTheParallelForm) {
  for (const char* config : {kTinyDeci, kHybridRuns}) {
    const Pretrained parent = TinyWithNorms(config, 7);
    const TemporaryDir folder;
    const std::vector<FfnRun> runs = FfnRuns(parent.config);
    ASSERT_EQ(runs.size(), 2u);
    const Pretrained fused = WrittenFused(parent, runs, folder.path() + "/m");
    EXPECT_EQ(fused.config.blocks.size(),
              parent.config.blocks.size() + 2 - runs[0].size() - runs[1].size());
    const std::vector<int32_t> ids = RandomIds(parent, 1, 29, 3)[0];
    const size_t T = ids.size(), D = parent.config.hidden_size;
    const BlockRunner runner(parent.model.get());
    const SeqLayout layout(T);
    Workspace workspace;
    const Pass pass{.layout = layout, .workspace = &workspace};
    std::vector<float> h(T * D), expected(T * D);
    runner.Embed(ids, h.data());
    RunParallelForm(runner, pass, 0, runner.blocks(), runs, h.data());
    runner.Norm(runner.blocks(), h.data(), T, expected.data());
    EXPECT_LT(RelativeError(HiddenOf(*fused.model, ids), expected), 1e-5);
    // And not merely because fusing changes nothing.
    EXPECT_GT(RelativeError(HiddenOf(*parent.model, ids), expected), 1e-3);
  }
}

TEST(Fuse, TheParallelFormIsTheFormulaInDouble) {
  for (const char* config : {kTinyDeci, kHybridRuns}) {
    const Pretrained parent = TinyWithNorms(config, 8);
    std::vector<std::vector<Param>> params(parent.config.blocks.size());
    parent.model->VisitParams([&](const Param& param) {
      if (param.block >= 0) params[static_cast<size_t>(param.block)].push_back(param);
    });
    const FfnRun run = FfnRuns(parent.config)[0];
    const size_t T = 3, D = parent.config.hidden_size;
    std::vector<float> h(T * D);
    Random random(5);
    for (float& value : h) value = static_cast<float>(random.Normal());
    std::vector<double> expected(h.begin(), h.end());
    for (size_t t = 0; t < T; ++t) {
      const std::vector<double> before(h.begin() + t * D, h.begin() + (t + 1) * D);
      std::vector<double> after = before;
      for (size_t i = run.begin; i < run.end; ++i)
        AddFfnInDouble(params[i], parent.config.norm_eps, before, &after);
      std::copy(after.begin(), after.end(), expected.begin() + t * D);
    }
    const BlockRunner runner(parent.model.get());
    const SeqLayout layout(T);
    Workspace workspace;
    RunParallelForm(runner, {.layout = layout, .workspace = &workspace}, run.begin, run.end, {run},
                    h.data());
    const std::vector<float> rounded(expected.begin(), expected.end());
    EXPECT_LT(RelativeError(h, rounded), 1e-5);
  }
}

TEST(Fuse, DeciLayersStayAsEmptyEntriesAndAttentionKeepsAnFfn) {
  const ModelConfig parent = ConfigFromJson(ParseJson(kTinyDeci, "t"), "t");
  const EditedConfig child = FusedConfig(parent, FfnRuns(parent));
  EXPECT_EQ(child.config.n_layers, 8u);
  // Layers 0 to 3 into layer 0, which has attention; 6 and 7 into the last.
  const std::vector<BlockConfig> expected = {{0, Slot::kAttention, AttentionConfig{4, 2, 8}},
                                             {0, Slot::kFfn, FfnConfig{48 + 17 + 1 + 64}},
                                             {4, Slot::kFfn, LinearConfig{}},
                                             {5, Slot::kAttention, AttentionConfig{4, 1, 8}},
                                             {7, Slot::kFfn, FfnConfig{72}}};
  EXPECT_EQ(child.config.blocks, expected);
}

TEST(Fuse, WidthsOfLlamaNemotronUltraFollowFromItsConfig) {
  const ModelConfig ultra = ConfigFromJson(PublishedConfig("ln-ultra-253b").value(), "ultra");
  std::vector<size_t> wide;
  for (const BlockConfig& block : ultra.blocks) {
    const auto* ffn = std::get_if<FfnConfig>(&block.mixer);
    if (ffn != nullptr && ffn->intermediate_size > 100'000) wide.push_back(ffn->intermediate_size);
  }
  std::sort(wide.begin(), wide.end());
  EXPECT_EQ(wide, (std::vector<size_t>{301056, 343040, 399360, 425984}));
  // The model before fusion as far as its config tells: the empty layers before each wide block were FFNs that add up to it.
  // Fusing them gives the published blocks back, in the same layers.
  ModelConfig before = ultra;
  before.blocks.clear();
  std::vector<FfnRun> runs;
  size_t layer = 0;  // first without a block so far
  for (const BlockConfig& block : ultra.blocks) {
    const auto* ffn = std::get_if<FfnConfig>(&block.mixer);
    if (ffn != nullptr && ffn->intermediate_size > 100'000) {
      const size_t count = block.layer - layer + 1;
      ASSERT_GE(count, 6u);
      const size_t begin = before.blocks.size();
      size_t left = ffn->intermediate_size;
      for (size_t i = 0; i < count; ++i) {
        const size_t width = i + 1 == count ? left : (left / (count - i) + i * 512) / 256 * 256;
        before.blocks.push_back({layer + i, Slot::kFfn, FfnConfig{width}});
        left -= width;
      }
      runs.push_back({begin, begin + count});
    } else {
      before.blocks.push_back(block);
    }
    layer = block.layer + 1;
  }
  ASSERT_EQ(runs.size(), 4u);
  const EditedConfig fused = FusedConfig(before, runs);
  EXPECT_EQ(fused.config.blocks, ultra.blocks);
  EXPECT_EQ(fused.config.n_layers, 162u);
  EXPECT_EQ(fused.config.hidden_size, ultra.hidden_size);
}

TEST(Fuse, OneRunIsFoundAcrossLayersWithoutAttention) {
  const ModelConfig deci = ConfigFromJson(ParseJson(kTinyDeci, "t"), "t");
  // Blocks: 0 attention, 1-4 FFN, 5 linear, 6 attention, 7-8 FFN.
  EXPECT_EQ(FfnRuns(deci), (std::vector<FfnRun>{{1, 5}, {7, 9}}));
  EXPECT_EQ(RunsOfLayers(deci, "0-3,6-7"), (std::vector<FfnRun>{{1, 5}, {7, 9}}));
  EXPECT_EQ(RunsOfLayers(deci, "1-2"), (std::vector<FfnRun>{{2, 4}}));
  EXPECT_EQ(DescribeRun(deci, {1, 5}), "0-3");
  for (const char* bad : {"", "3", "3-1", "3-5", "0-1,1-2", "2-3,0-1", "a-b", "1-2,", "5-6", "0-7",
                          "3-18446744073709551616", "-1-2", "6-8"})
    EXPECT_THROW(RunsOfLayers(deci, bad), Error) << bad;
  EXPECT_TRUE(FfnRuns(ConfigFromJson(ParseJson(kTinyHybrid, "t"), "t")).empty());
}

TEST(Fuse, SafeRunsAreTheLongestWithinTheLimits) {
  // A run of six blocks, 10 to 15, in which only block 12 hangs on those before it.
  RunDependency dependency{{10, 16}, std::vector<double>(36, 0.0)};
  for (size_t i = 0; i < 6; ++i) {
    for (size_t j = i + 1; j < 6; ++j) dependency.d[i * 6 + j] = j == 2 ? 0.9 : 0.1;
  }
  EXPECT_DOUBLE_EQ(dependency.Max({10, 13}), 0.9);
  EXPECT_DOUBLE_EQ(dependency.Max({12, 16}), 0.1);
  EXPECT_NEAR(dependency.Mean({10, 13}), (0.1 + 0.9 + 0.9) / 3, 1e-15);
  FusionLimits limits{.max_d = 0.5, .mean_d = 0.5, .keeps_last = false};
  EXPECT_EQ(SafeRuns({dependency}, limits), (std::vector<FfnRun>{{10, 12}, {12, 16}}));
  limits.keeps_last = true;
  EXPECT_EQ(SafeRuns({dependency}, limits), (std::vector<FfnRun>{{10, 12}, {12, 15}}));
  // Only the last run of the model loses its last block.
  RunDependency later{{20, 22}, std::vector<double>(4, 0.0)};
  EXPECT_EQ(SafeRuns({dependency, later}, limits), (std::vector<FfnRun>{{10, 12}, {12, 16}}));
  limits.mean_d = 0.05;
  EXPECT_TRUE(SafeRuns({dependency}, limits).empty());
}

TEST(Fuse, RandomRunsHaveTheLengthsOfTheChosenOnesAtOtherPlaces) {
  const ModelConfig hybrid = ConfigFromJson(ParseJson(kHybridRuns, "t"), "t");
  const std::vector<FfnRun> chosen = {{1, 3}};
  bool has_moved[2] = {false, false};
  for (uint64_t seed = 0; seed < 30; ++seed) {
    const std::vector<FfnRun> drawn = RandomRuns(hybrid, chosen, seed);
    ASSERT_EQ(drawn.size(), 1u);
    EXPECT_NE(drawn, chosen);
    EXPECT_TRUE(drawn[0] == (FfnRun{2, 4}) || drawn[0] == (FfnRun{7, 9}));
    has_moved[drawn[0].begin == 7] = true;
  }
  EXPECT_TRUE(has_moved[0] && has_moved[1]);
  EXPECT_TRUE(RandomRuns(hybrid, {{1, 4}}, 1).empty());  // there is one place of three
}

}  // namespace
}  // namespace planish
