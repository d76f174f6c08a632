// SPDX-License-Identifier: Apache-2.0
// The plan is the best of all plans, scores are the KL of models that really have one matrix rounded, and the file is as large
// as was said before.
#include "compress/mixed_precision.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "compress/quantize_model.h"
#include "compress/quantize_testing.h"
#include "eval/divergence.h"
#include "tensor/blocks.h"

namespace planish {
namespace {

using testing::kSmallHybrid;
using testing::kSmallLlama;
using testing::SmallModel;
using testing::SmallRows;
using testing::TemporaryDir;

TEST(PrecisionChoice, OptionsThatOthersBeatAreLeftOut) {
  std::vector<PrecisionOption> options = {{DType::kQ8_0, 80, 0.1},
                                          {DType::kQ4_0, 40, 0.5},
                                          {DType::kQ5_0, 50, 0.7},
                                          {DType::kQ4_1, 40, 0.4},
                                          {DType::kQ6_K, 60, 0.1}};
  KeepBestOptions(&options);
  ASSERT_EQ(options.size(), 2u);
  EXPECT_EQ(options[0].type, DType::kQ4_1);
  EXPECT_EQ(options[1].type, DType::kQ6_K);
}

TEST(PrecisionChoice, IsTheBestOfAllPlans) {
  constexpr DType kTypes[] = {DType::kQ3_K, DType::kQ4_K, DType::kQ6_K, DType::kQ8_0};
  Random random(3);
  for (int trial = 0; trial < 60; ++trial) {
    std::vector<MatrixPrecisions> matrices(1 + random.Below(5));
    size_t plans = 1;
    for (size_t m = 0; m < matrices.size(); ++m) {
      matrices[m].name = fmt::format("m{}", m);
      for (const DType type : kTypes)
        matrices[m].options.push_back({type, 1 + random.Below(1000), random.Uniform()});
      KeepBestOptions(&matrices[m].options);
      plans *= matrices[m].options.size();
    }
    const uint64_t least = LeastBytes(matrices), most = MostBytes(matrices),
                   limit = least + random.Below(most - least + 1);
    double best = INFINITY;
    for (size_t plan = 0; plan < plans; ++plan) {
      uint64_t bytes = 0;
      double score = 0;
      size_t rest = plan;
      for (const MatrixPrecisions& matrix : matrices) {
        const PrecisionOption& option = matrix.options[rest % matrix.options.size()];
        rest /= matrix.options.size();
        bytes += option.bytes;
        score += option.score;
      }
      if (bytes <= limit) best = std::min(best, score);
    }
    const PrecisionPlan found = ChoosePrecisions(matrices, limit);
    EXPECT_LE(found.bytes, limit);
    EXPECT_EQ(found.storage.size(), matrices.size());
    EXPECT_LE(found.score, best * (1 + 1e-4) + 1e-12) << "the solver's gap";
    EXPECT_GE(found.score, best * (1 - 1e-12));
  }
}

TEST(PrecisionScores, AreTheDivergenceOfTheModelWithOneMatrixRounded) {
  const CalibrationRows data = SmallRows(4, 32, 5), rows = SmallRows(2, 40, 7);
  for (const char* config : {kSmallHybrid, kSmallLlama}) {
    const TemporaryDir dir;
    Pretrained opened = SmallModel(dir, config);
    const Pretrained reference = OpenPretrained(dir / "small.gguf");
    const std::vector<DType> types = {DType::kQ4_0, DType::kQ8_0};
    const auto scores = ScorePrecisions(&opened, data, rows,
                                        {.types = types, .kept = {}, .rule = ScaleRule::kLargest});
    size_t matrices = 0;
    opened.model->VisitParams([&](const Param& param) {
      if (param.weight == nullptr) return;
      const MatrixPrecisions& found = scores.at(matrices++);
      EXPECT_EQ(found.name, param.name);
      Weight rounded = RoundMatrix(param.name, ValuesOf(*param.weight), {DType::kQ4_0},
                                   ScaleRule::kLargest, nullptr);
      std::swap(*param.weight, rounded);
      const double kl = CompareModels(*opened.model, *reference.model, rows.rows).mean_kl();
      std::swap(*param.weight, rounded);
      ASSERT_EQ(found.options.size(), 2u) << param.name;
      // Both are sums of float logits' exponentials: their rounding is small beside a KL of a 4-bit matrix.
      EXPECT_NEAR(found.measured_kl, kl, 1e-3 * kl + 1e-7) << param.name;
      EXPECT_EQ(found.options[0].type, DType::kQ4_0);
      EXPECT_DOUBLE_EQ(found.options[0].score, found.measured_kl);
      // Four more bits: a 16th of the error, whose square counts.
      EXPECT_LT(found.options[1].score, 0.05 * found.options[0].score) << param.name;
      EXPECT_GT(found.options[1].score, 0) << param.name;
    });
    EXPECT_EQ(matrices, scores.size());
    EXPECT_EQ(CompareModels(*opened.model, *reference.model, rows.rows).kl, 0)
        << "the model is as before";
  }
}

TEST(MixedPrecision, TheFileIsAsLargeAsWasSaidAndWithinTheTarget) {
  const CalibrationRows data = SmallRows(2, 32, 5);
  const PrecisionScoreOptions how{.types = {DType::kQ3_K, DType::kQ4_0, DType::kQ5_K, DType::kQ8_0},
                                  .kept = {}};
  for (const char* config : {kSmallHybrid, kSmallLlama}) {
    const TemporaryDir dir;
    Pretrained opened = SmallModel(dir, config);
    const MixedPrecision by_bits = MixPrecisions(&opened, data, data, {.bits = 6}, how);
    const uint64_t target = by_bits.predicted_bytes + 500;
    const MixedPrecision mixed = MixPrecisions(&opened, data, data, {.file_bytes = target}, how);
    EXPECT_LE(mixed.predicted_bytes, target);
    EXPECT_LE(mixed.plan.score, by_bits.plan.score * (1 + 1e-4)) << "it has as many bytes";
    QuantizeOptions quantize;
    quantize.method = QuantizeMethod::kClip;
    quantize.storage = mixed.plan.storage;
    QuantizeModel(&opened, quantize, &data);
    ExportGguf(&opened, dir / "mixed.gguf", std::nullopt);
    EXPECT_EQ(std::filesystem::file_size(dir / "mixed.gguf"), mixed.predicted_bytes);
    ASSERT_GE(mixed.curve.size(), 3u);
    for (size_t i = 1; i < mixed.curve.size(); ++i) {
      EXPECT_GT(mixed.curve[i].bytes, mixed.curve[i - 1].bytes);
      EXPECT_LT(mixed.curve[i].score, mixed.curve[i - 1].score);
    }
  }
}

TEST(MixedPrecision, KeptTypesAreNoQuestionAndImpossibleTargetsSayWhatIsPossible) {
  const CalibrationRows data = SmallRows(2, 32, 5);
  const TemporaryDir dir;
  Pretrained opened = SmallModel(dir, kSmallHybrid);
  PrecisionScoreOptions how{.types = {DType::kQ4_0, DType::kQ8_0},
                            .kept = KeptTypes(opened.model.get(), {"*up_proj*=q5_0", "head=q8_0"})};
  const MixedPrecision mixed = MixPrecisions(&opened, data, data, {.bits = 6}, how);
  EXPECT_EQ(mixed.plan.storage.at("lm_head.weight").type, DType::kQ8_0);
  EXPECT_EQ(mixed.plan.storage.at("backbone.layers.1.mixer.up_proj.weight").type, DType::kQ5_0);
  for (const PrecisionTarget target : {PrecisionTarget{.file_bytes = 1000}, {.bits = 3}}) {
    try {
      MixPrecisions(&opened, data, data, target, how);
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kUsage);
      EXPECT_NE(std::string(error.what()).find("the least that these types allow is"),
                std::string::npos);
    }
  }
}

}  // namespace
}  // namespace planish
