// SPDX-License-Identifier: Apache-2.0
// Initial values have the distributions they claim, do not depend on the order of rows, and a model made of them opens from
// both formats with the same values.
#include "model/random_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/parallel.h"
#include "base/testing.h"
#include "tensor/blocks.h"

namespace planish {
namespace {

using testing::TemporaryDir;

constexpr const char* kHybrid =
    R"({"model_type": "nemotron_h", "hidden_size": 96, "vocab_size": 300,
  "num_hidden_layers": 5, "hybrid_override_pattern": "M-*M-", "intermediate_size": 160,
  "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 16, "mamba_num_heads": 64,
  "mamba_head_dim": 4, "n_groups": 2, "ssm_state_size": 16, "conv_kernel": 4, "chunk_size": 16,
  "initializer_range": 0.05, "time_step_min": 0.002, "time_step_max": 0.5, "time_step_floor": 0.004,
  "bos_token_id": 1, "eos_token_id": [2, 299], "pad_token_id": 0})";

ModelConfig Hybrid() { return ConfigFromJson(ParseJson(kHybrid, "kHybrid"), "kHybrid"); }

std::map<std::string, Param> ParamsOf(Model* model) {
  std::map<std::string, Param> params;
  model->VisitParams([&](const Param& param) { params.emplace(param.name, param); });
  return params;
}

std::vector<float> Values(const Param& param, const ParamRows& rows) {
  std::vector<float> values(param.shape.elements());
  if (param.weight == nullptr) {
    rows(param, 0, values.data());
  } else {
    for (size_t r = 0; r < param.shape[0]; ++r)
      rows(param, r, values.data() + r * param.shape.last());
  }
  return values;
}

TEST(RandomRows, AnExportedZeroForTimeStepMinIsNoRange) {
  Json json = ParseJson(kHybrid, "kHybrid");
  json.Set("time_step_min", 0.0);
  json.Set("time_step_floor", 0.0);
  const ModelConfig config = ConfigFromJson(json, "kHybrid");
  Pretrained made = RandomModel(config, "made");
  const ParamRows rows = RandomRows(config, 7);
  size_t checked = 0;
  for (const auto& [name, param] : ParamsOf(made.model.get())) {
    if (param.role != ParamRole::kSsmDtBias) continue;
    for (const float bias : Values(param, rows)) {
      const double dt = std::log1p(std::exp(double{bias}));
      EXPECT_GE(dt, 0.001 * (1 - 1e-5));
      EXPECT_LE(dt, 0.5 * (1 + 1e-5));
      ++checked;
    }
  }
  EXPECT_GT(checked, 0u);
}

TEST(RandomRows, MatricesAreNormalWithTheConfigsDeviation) {
  const ModelConfig config = Hybrid();
  Pretrained made = RandomModel(config, "made");
  const ParamRows rows = RandomRows(config, 42);
  size_t scaled = 0;
  for (const auto& [name, param] : ParamsOf(made.model.get())) {
    if (param.weight == nullptr) continue;
    const std::vector<float> values = Values(param, rows);
    const auto n = static_cast<double>(values.size());
    double sum = 0, squares = 0;
    for (const float x : values) sum += x, squares += double{x} * x;
    const bool is_output = param.role == ParamRole::kOutput;
    scaled += is_output;
    const double deviation = is_output ? 0.05 / std::sqrt(2 * 5.0) : 0.05;
    EXPECT_NEAR(sum / n, 0, 5 * deviation / std::sqrt(n)) << name;
    EXPECT_NEAR(squares / n, deviation * deviation, 5 * deviation * deviation * std::sqrt(2 / n))
        << name;
  }
  EXPECT_EQ(scaled, 5u) << "one matrix of every block writes into the residual stream";
}

TEST(RandomRows, VectorsOfMamba2HaveTheirRanges) {
  const ModelConfig config = Hybrid();
  Pretrained made = RandomModel(config, "made");
  const ParamRows rows = RandomRows(config, 42);
  size_t checked = 0;
  for (const auto& [name, param] : ParamsOf(made.model.get())) {
    if (param.weight != nullptr) continue;
    const std::vector<float> values = Values(param, rows);
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    ++checked;
    if (name.ends_with(".A_log")) {
      EXPECT_GE(std::exp(*low), 1.0 - 1e-6);
      EXPECT_LT(std::exp(*high), 16.0 + 1e-4);
      EXPECT_GT(std::exp(*high) - std::exp(*low), 10) << "64 heads fill the range";
    } else if (name.ends_with(".dt_bias")) {
      for (const float bias : values) {
        const double dt = std::log1p(std::exp(double{bias}));
        EXPECT_GE(dt, 0.004 * (1 - 1e-5)) << "the floor is above time_step_min here";
        EXPECT_LE(dt, 0.5 * (1 + 1e-5));
      }
    } else if (name.find("conv1d") != std::string::npos) {
      EXPECT_GE(*low, -0.5f);
      EXPECT_LT(*high, 0.5f);
      EXPECT_LT(*low, -0.4f);
      EXPECT_GT(*high, 0.4f);
    } else {
      EXPECT_EQ(*low, 1.0f) << name;
      EXPECT_EQ(*high, 1.0f) << name;
    }
  }
  EXPECT_EQ(checked, 5u + 1 + 2 * 6) << "norms, final norm, six vectors of each Mamba-2 block";
}

TEST(RandomRows, SeedsAndNamesGiveOtherValuesAndRowsStandAlone) {
  const ModelConfig config = Hybrid();
  Pretrained made = RandomModel(config, "made");
  const auto params = ParamsOf(made.model.get());
  const Param& first = params.at("backbone.layers.0.mixer.in_proj.weight");
  const Param& second = params.at("backbone.layers.3.mixer.in_proj.weight");
  const std::vector<float> values = Values(first, RandomRows(config, 1));
  EXPECT_EQ(values, Values(first, RandomRows(config, 1)));
  EXPECT_NE(values, Values(first, RandomRows(config, 2)));
  EXPECT_NE(values, Values(second, RandomRows(config, 1)));
  std::vector<float> row(first.shape.last());
  RandomRows(config, 1)(first, 7, row.data());
  EXPECT_TRUE(std::equal(row.begin(), row.end(), values.begin() + 7 * 96));
}

// Bytes of a file of every type, whatever the thread count.
TEST(RandomModel, FilesDoNotDependOnThreads) {
  const ModelConfig config = Hybrid();
  const TemporaryDir folder;
  const int before = ThreadCount();
  for (const DType type : {DType::kF32, DType::kBF16, DType::kQ8_0, DType::kQ4_0, DType::kMXFP4}) {
    std::string one;
    for (const int threads : {1, 2, 5}) {
      SetThreadCount(threads);
      Pretrained made = RandomModel(config, "made");
      ExportGguf(&made, folder / "a.gguf", type, {.rows = RandomRows(config, 3)});
      const std::string bytes = ReadFile(folder / "a.gguf", 1 << 30);
      if (one.empty()) one = bytes;
      EXPECT_TRUE(bytes == one) << Name(type) << " with " << threads << " threads";
    }
  }
  SetThreadCount(before);
}

TEST(RandomModel, OpensFromBothFormatsWithTheValuesOfItsRows) {
  const ModelConfig config = Hybrid();
  const TemporaryDir folder;
  const ParamRows rows = RandomRows(config, 3);
  Pretrained made = RandomModel(config, "made");
  ExportGguf(&made, folder / "a.gguf", DType::kF32,
             {.rows = rows, .notes = RandomModelNotes(3, DType::kF32)});
  ExportHf(&made, folder / "hf", DType::kF32, uint64_t{1} << 20, {.rows = rows});
  for (const std::string& path : {folder / "a.gguf", folder / "hf"}) {
    SCOPED_TRACE(path);
    Pretrained opened = OpenPretrained(path);
    EXPECT_TRUE(opened.config.HasBlocksOf(config));
    EXPECT_EQ(opened.eos_ids, config.eos_ids);
    for (const auto& [name, param] : ParamsOf(opened.model.get())) {
      const std::vector<float> expected = Values(param, rows);
      for (size_t r = 0; r < (param.weight != nullptr ? param.weight->out() : 1); ++r) {
        const size_t n = param.weight != nullptr ? param.weight->in() : param.vector->elements();
        const auto* found = reinterpret_cast<const float*>(
            param.weight != nullptr ? param.weight->row(r) : param.vector->data());
        for (size_t i = 0; i < n; ++i) {
          const float x = expected[r * n + i];
          // GGUF keeps A: half an ulp of it is 2^-24 in its logarithm, which is rounded once more.
          const float bound = param.role == ParamRole::kSsmALog ? 0x1p-23f + 0x1p-24f * x : 0.0f;
          ASSERT_NEAR(found[i], x, bound) << name << " row " << r << " column " << i;
        }
      }
    }
  }
}

TEST(RandomModel, QuantisedFileHoldsTheQuantisedRows) {
  const ModelConfig config = Hybrid();
  const TemporaryDir folder;
  const ParamRows rows = RandomRows(config, 9);
  Pretrained made = RandomModel(config, "made");
  ExportGguf(&made, folder / "a.gguf", DType::kQ4_0, {.rows = rows});
  Pretrained opened = OpenPretrained(folder / "a.gguf");
  for (const auto& [name, param] : ParamsOf(opened.model.get())) {
    if (param.weight == nullptr) continue;
    ASSERT_EQ(param.weight->dtype(), DType::kQ4_0) << name;
    std::vector<float> row(param.shape.last());
    std::string expected(param.weight->row_bytes(), '\0');
    for (size_t r = 0; r < param.shape[0]; ++r) {
      rows(param, r, row.data());
      QuantizeRow(DType::kQ4_0, row.data(), expected.data(), row.size());
      ASSERT_EQ(std::memcmp(expected.data(), param.weight->row(r), expected.size()), 0)
          << name << " row " << r;
    }
  }
}

TEST(RandomModel, SyntheticTokenizerSpellsAnyTextInBytes) {
  const Pretrained made = RandomModel(Hybrid(), "made");
  ASSERT_NE(made.tokenizer, nullptr);
  std::string text;
  for (int byte = 0; byte < 256; ++byte) text += static_cast<char>(byte);
  const std::vector<TokenId> ids = made.tokenizer->Encode("naïve <|eos|>", {.parse_special = true});
  EXPECT_EQ(ids.size(), 8u) << "seven bytes and a control token";
  EXPECT_EQ(ids.back(), 2);
  const std::vector<TokenId> all = made.tokenizer->Encode(text);
  std::string back;
  for (const TokenId id : all) back += made.tokenizer->TokenBytes(id);
  EXPECT_EQ(back, text);
  EXPECT_EQ(made.tokenizer->vocab_size(), 300u);
  Json small = ParseJson(kHybrid, "kHybrid");
  small.Set("vocab_size", 259);  // 256 bytes and four special ids
  small.Set("eos_token_id", 2);
  EXPECT_NE(RandomModel(ConfigFromJson(small, "259"), "made").tokenizer, nullptr);
  small.Set("vocab_size", 258);
  EXPECT_EQ(RandomModel(ConfigFromJson(small, "258"), "made").tokenizer, nullptr);
}

}  // namespace
}  // namespace planish
