// SPDX-License-Identifier: Apache-2.0
// Scores equal sums done by hand in double over the model's own definition; they do not depend on threads or on how rows are
// grouped; the ranking of blocks equals removing each one and comparing whole logits.
#include "compress/importance.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "compress/compress_testing.h"
#include "compress/depth.h"
#include "compress/slice.h"

namespace planish {
namespace {

using testing::TinyModel;

constexpr const char* kFamilies[] = {testing::kTinyHybrid, testing::kTinyLlama, testing::kTinyQwen};

CalibrationRows Rows(const Pretrained& model, size_t count, size_t length, uint64_t seed) {
  return {
      .rows = testing::RandomIds(model, count, length, seed), .hash = seed, .description = "ids"};
}

std::map<std::string, Param> ParamsOf(const Pretrained& model) {
  std::map<std::string, Param> params;
  model.model->VisitParams([&](const Param& param) { params.emplace(param.name, param); });
  return params;
}

// The streams before each block and at the end, [blocks + 1][T * D].
std::vector<std::vector<float>> Streams(const Pretrained& model, const std::vector<int32_t>& ids) {
  const size_t n = ids.size() * model.config.hidden_size;
  std::vector<std::vector<float>> streams;
  std::vector<float> hidden(n);
  Workspace workspace;
  model.model->Forward(ids, SeqLayout(ids.size()), hidden.data(), &workspace,
                       [&](int, const float* h) { streams.emplace_back(h, h + n); });
  return streams;
}

// Rows of block i's normed input, in double.
std::vector<double> NormedRow(const Pretrained& model, const Tensor& weight, const float* h) {
  const size_t D = model.config.hidden_size;
  double squares = 0;
  for (size_t d = 0; d < D; ++d) squares += double{h[d]} * h[d];
  const double scale = 1 / std::sqrt(squares / static_cast<double>(D) + model.config.norm_eps);
  std::vector<double> x(D);
  for (size_t d = 0; d < D; ++d) x[d] = h[d] * scale * weight.f32()[d];
  return x;
}

double Dot(const Weight& weight, size_t row, const std::vector<double>& x) {
  std::vector<float> values(weight.in());
  weight.DequantizeRow(row, values.data());
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += values[i] * x[i];
  return sum;
}

// Sums of 32 to 64 products in float at each of a few blocks in front: far below this share of the scores.
constexpr double kTolerance = 2e-4;

TEST(Importance, EqualsSumsByHand) {
  for (const char* family : kFamilies) {
    const Pretrained model = TinyModel(family, 5);
    // Attention over one token returns its value, which a check by hand can follow: rows of one token for it.
    for (const size_t length : {size_t{13}, size_t{1}}) {
      const CalibrationRows rows = Rows(model, 5, length, 7);
      const Importance found = MeasureImportance(model, rows);
      const auto params = ParamsOf(model);
      const auto& config = model.config;
      const size_t D = config.hidden_size;
      std::vector<double> hidden(D);
      for (size_t block = 0; block < config.blocks.size(); ++block) {
        SCOPED_TRACE(fmt::format("{} block {} of {} tokens",
                                 config.source.Find("model_type")->AsString(), block, length));
        const Tensor* norm = nullptr;
        std::map<std::string, const Weight*> weights;
        for (const auto& [name, param] : params) {
          if (param.block != static_cast<int>(block)) continue;
          if (param.weight != nullptr)
            weights[name.substr(name.rfind('.', name.rfind('.') - 1) + 1)] = param.weight;
          else if (param.vector->elements() == D && name.find("layernorm") != std::string::npos)
            norm = param.vector;
          else if (name == fmt::format("backbone.layers.{}.norm.weight", block))
            norm = param.vector;
        }
        ASSERT_NE(norm, nullptr);
        std::vector<double> squares(D), scores(found.blocks[block].scores.size());
        double cosines = 0, tokens = 0;
        for (const auto& ids : rows.rows) {
          const auto streams = Streams(model, ids);
          std::vector<double> means(D), inner(4096);
          for (size_t t = 0; t < length; ++t) {
            const float *h = streams[block].data() + t * D,
                        *next = streams[block + 1].data() + t * D;
            const auto x = NormedRow(model, *norm, h);
            double dot = 0, before = 0, after = 0;
            for (size_t d = 0; d < D; ++d) {
              means[d] += std::abs(x[d]) / static_cast<double>(length);
              dot += double{h[d]} * next[d];
              before += double{h[d]} * h[d];
              after += double{next[d]} * next[d];
            }
            cosines += dot / std::sqrt(before * after);
            ++tokens;
            const MixerConfig& mixer = config.blocks[block].mixer;
            if (const auto* f = std::get_if<FfnConfig>(&mixer)) {
              for (size_t i = 0; i < f->intermediate_size; ++i) {
                const double up = Dot(*weights["up_proj.weight"], i, x);
                double act = std::max(up, 0.0) * std::max(up, 0.0);
                if (f->kind == FfnKind::kSwiGlu) {
                  const double gate = Dot(*weights["gate_proj.weight"], i, x);
                  act = gate / (1 + std::exp(-gate)) * up;
                }
                inner[i] += std::abs(act) / static_cast<double>(length);
              }
            } else if (const auto* m = std::get_if<Mamba2Config>(&mixer)) {
              for (size_t i = 0; i < m->inner(); ++i)
                inner[i] += std::abs(Dot(*weights["in_proj.weight"], m->inner() + i, x)) /
                            static_cast<double>(length);
            } else if (const auto* a = std::get_if<AttentionConfig>(&mixer); length == 1) {
              const size_t P = a->head_dim;
              for (size_t i = 0; i < a->n_heads * P; ++i) {
                const size_t kv = i / P / (a->n_heads / a->n_kv_heads);
                inner[i] += std::abs(Dot(*weights["v_proj.weight"], kv * P + i % P, x));
              }
            }
          }
          for (size_t d = 0; d < D; ++d) squares[d] += means[d] * means[d];
          const size_t per_score =
              std::holds_alternative<AttentionConfig>(config.blocks[block].mixer)
                  ? std::get<AttentionConfig>(config.blocks[block].mixer).head_dim
                  : 1;
          for (size_t i = 0; i < scores.size() * per_score; ++i)
            scores[i / per_score] += inner[i] * inner[i];
        }
        for (size_t d = 0; d < D; ++d) hidden[d] += std::sqrt(squares[d]);
        EXPECT_NEAR(found.blocks[block].influence, 1 - cosines / tokens, 1e-6);
        if (length > 1 && std::holds_alternative<AttentionConfig>(config.blocks[block].mixer))
          continue;
        ASSERT_FALSE(scores.empty());
        for (size_t i = 0; i < scores.size(); ++i) {
          const double expected = std::sqrt(scores[i]);
          ASSERT_NEAR(found.blocks[block].scores[i], expected, kTolerance * (expected + 1e-3)) << i;
        }
      }
      for (size_t d = 0; d < D; ++d)
        ASSERT_NEAR(found.hidden[d], hidden[d], kTolerance * hidden[d]) << d;
    }
  }
}

TEST(Importance, HeadsScoreByWhatTheyHandOn) {
  Pretrained model = TinyModel(testing::kTinyLlama, 5);  // 4 heads with a key-value head each
  const CalibrationRows rows = Rows(model, 3, 17, 2);
  const Importance before = MeasureImportance(model, rows);
  model.model->VisitParams([](const Param& param) {
    if (param.name != "model.layers.0.self_attn.v_proj.weight") return;
    auto* values = reinterpret_cast<float*>(param.weight->mutable_data());
    for (size_t i = 2 * 8 * 32; i < 3 * 8 * 32; ++i) values[i] *= 2;  // those of head 2
  });
  const Importance after = MeasureImportance(model, rows);
  for (size_t h = 0; h < 4; ++h)
    EXPECT_EQ(after.blocks[0].scores[h], before.blocks[0].scores[h] * (h == 2 ? 2 : 1)) << h;
}

TEST(Importance, SameBitsForAnyThreadsAndWaves) {
  for (const char* family : kFamilies) {
    const Pretrained model = TinyModel(family, 6);
    const CalibrationRows rows = Rows(model, 7, 21, 3);
    for (const Precision precision : {Precision::kF32, Precision::kBf16}) {
      std::string first;
      for (const int threads : {1, 3}) {
        const testing::Threads scope(threads);
        for (const uint64_t bytes : {uint64_t{1}, uint64_t{3 * 21 * 32 * 4}, uint64_t{1} << 30}) {
          const std::string text = DumpJson(ImportanceToJson(
              MeasureImportance(model, rows, {.precision = precision, .stream_bytes = bytes})));
          if (first.empty()) first = text;
          EXPECT_EQ(text, first) << threads << " threads, " << bytes;
        }
      }
    }
  }
}

TEST(Importance, JsonReadsBackTheSameAndRefusesOtherModels) {
  const Pretrained model = TinyModel(testing::kTinyHybrid, 6);
  Importance importance = MeasureImportance(model, Rows(model, 3, 9, 3));
  importance.removals = {{{3}, 0.25}, {{0}, 1.5}};
  const Json json = ParseJson(DumpJson(ImportanceToJson(importance)), "test");
  const Importance again = ImportanceFromJson(json, "test", model.config);
  EXPECT_EQ(DumpJson(ImportanceToJson(again)), DumpJson(json));
  EXPECT_EQ(again.hidden, importance.hidden);
  EXPECT_EQ(again.removals[1].blocks, std::vector<size_t>{0});
  EXPECT_EQ(again.calibration_hash, importance.calibration_hash);

  const auto refused = [&](const Json& bad, const ModelConfig& config, const std::string& part) {
    try {
      ImportanceFromJson(bad, "file", config);
      ADD_FAILURE() << "accepted, expected a complaint about " << part;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kBadFile);
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  refused(json, TinyModel(testing::kTinyQwen, 1).config, "hidden");
  Json bad = json;
  bad.Set("removals", ParseJson(R"([{"blocks": [1, 1], "logit_mse": 0.5}])", "x"));
  refused(bad, model.config, "removals[0].blocks");
  bad = json;
  bad.Set("hidden", Json::Array(32, Json(-1.0)));
  refused(bad, model.config, "hidden");
  bad = json;
  bad.Set("calibration_hash", "xyz");
  refused(bad, model.config, "calibration_hash");
  bad = json;
  bad.Set("format", "other");
  refused(bad, model.config, "format");
}

TEST(Depth, UnitsKeepTheFamily) {
  const auto units = [](const char* name) {
    return DepthUnits(ConfigFromJson(*PublishedConfig(name), name));
  };
  EXPECT_EQ(units("nano-9b-v2").size(), 56u);
  EXPECT_EQ(units("ln-nano-8b").size(), 32u);
  EXPECT_EQ(units("ln-nano-8b")[3], (std::vector<size_t>{6, 7}));
  EXPECT_EQ(units("ln-super-49b").size(),
            ConfigFromJson(*PublishedConfig("ln-super-49b"), "x").blocks.size());
}

// Logits of `model` for all rows.
std::vector<float> Logits(const Pretrained& model, const std::vector<std::vector<int32_t>>& rows) {
  std::vector<float> all;
  Workspace workspace;
  for (const auto& ids : rows) {
    std::vector<float> hidden(ids.size() * model.config.hidden_size);
    std::vector<float> logits(ids.size() * model.config.vocab_size);
    model.model->Forward(ids, SeqLayout(ids.size()), hidden.data(), &workspace);
    model.model->Head(hidden.data(), ids.size(), logits.data());
    all.insert(all.end(), logits.begin(), logits.end());
  }
  return all;
}

TEST(Depth, EqualsRemovingEachBlockAndComparingLogits) {
  const testing::Threads one(1);  // hundreds of tiny regions
  for (const char* family : {testing::kTinyHybrid, testing::kTinyLlama}) {
    const Pretrained parent = TinyModel(family, 8);
    const auto rows = testing::RandomIds(parent, 3, 15, 4);
    const size_t steps = 2;
    const auto found = RankDepth(parent, rows, {.removals = steps, .min_attention = 1});
    ASSERT_EQ(found.size(), steps);
    const std::vector<float> full = Logits(parent, rows);
    std::vector<bool> keep(parent.config.blocks.size(), true);
    for (size_t step = 0; step < steps; ++step) {
      double best = INFINITY;
      std::vector<size_t> best_unit;
      for (const auto& unit : DepthUnits(parent.config)) {
        std::vector<bool> without = keep;
        bool is_gone = false;
        size_t attention = 0;
        for (const size_t block : unit) is_gone |= !keep[block], without[block] = false;
        for (size_t i = 0; i < keep.size(); ++i)
          attention += without[i] && parent.config.blocks[i].mixer.index() == 0;
        if (is_gone || attention == 0) continue;
        ModelSlice slice;
        slice.blocks.resize(keep.size());
        const EditedConfig edited = SlicedConfig(parent.config, slice, without);
        const auto logits =
            Logits(FilledChild(parent, edited.config, SlicedRows(parent, edited, slice)), rows);
        double sum = 0;
        for (size_t i = 0; i < logits.size(); ++i)
          sum += (double{logits[i]} - full[i]) * (double{logits[i]} - full[i]);
        if (sum < best) best = sum, best_unit = unit;
      }
      EXPECT_EQ(found[step].blocks, best_unit);
      best /= static_cast<double>(full.size());
      EXPECT_NEAR(found[step].logit_mse, best, 1e-4 * best);
      for (const size_t block : best_unit) keep[block] = false;
    }
    EXPECT_THROW(RankDepth(parent, rows, {.removals = keep.size(), .min_attention = 1}), Error);
  }
}

TEST(Depth, AttentionThatMustStayStays) {
  const Pretrained parent = TinyModel(testing::kTinyHybrid, 8);  // block 2 is its one attention
  const auto rows = testing::RandomIds(parent, 2, 8, 4);
  for (const auto& removal : RankDepth(parent, rows, {.removals = 3}))
    EXPECT_NE(removal.blocks, std::vector<size_t>{2});
}

}  // namespace
}  // namespace planish
