// SPDX-License-Identifier: Apache-2.0
// Channel scales change nothing before rounding, statistics have their definition, and a quantised model is what its file holds.
#include "compress/quantize_model.h"

#include <gtest/gtest.h>

#include <cmath>

#include "compress/input_scaling.h"
#include "compress/quantize_report.h"
#include "compress/quantize_testing.h"

namespace planish {
namespace {

using testing::HiddenOf;
using testing::kSmallHybrid;
using testing::kSmallLlama;
using testing::SmallModel;
using testing::SmallRows;
using testing::TemporaryDir;

TEST(InputScaling, ScalesOfEveryGroupLeaveTheModelAsItWas) {
  for (const char* config : {kSmallHybrid, kSmallLlama}) {
    const TemporaryDir dir;
    Pretrained opened = SmallModel(dir, config);
    Model* model = opened.model.get();
    const std::vector<int32_t> ids = SmallRows(1, 40, 3).rows[0];
    const std::vector<float> before = HiddenOf(*model, ids);
    Random random(9);
    size_t scaled = 0;
    for (size_t block = 0; block < model->config().blocks.size(); ++block) {
      std::vector<InputGroup> groups = InputGroupsOf(model, block);
      EXPECT_EQ(groups.size(), 2u);
      WorkMatrices work;
      for (const InputGroup& group : groups)
        for (const Param& product : group.products)
          work.emplace(product.weight, ValuesOf(*product.weight));
      for (size_t g = groups.size(); g-- > 0;) {
        // Random statistics, made equal over the heads that share one by the same code as real ones.
        InputStatistics inputs(groups[g].in());
        for (double& sum : inputs.abs_sum) sum = std::exp(random.Normal());
        inputs.tokens = 1;
        ApplyScale(groups[g], inputs.MeanAbs(groups[g]), &work);
        ++scaled;
      }
      for (auto& [weight, values] : work)
        for (size_t r = 0; r < weight->out(); ++r) {
          auto* changed = const_cast<Weight*>(weight);
          if (changed->is_mapped()) *changed = Weight("", weight->out(), weight->in());
          std::memcpy(changed->mutable_data() + r * weight->row_bytes(), values.row(r),
                      weight->row_bytes());
        }
    }
    EXPECT_EQ(scaled, 2 * model->config().blocks.size());
    const std::vector<float> after = HiddenOf(*model, ids);
    double difference = 0, size = 0;
    for (size_t i = 0; i < before.size(); ++i) {
      difference += std::pow(static_cast<double>(after[i]) - before[i], 2);
      size += std::pow(static_cast<double>(before[i]), 2);
    }
    // A few hundred roundings of float a layer, in another order.
    EXPECT_LT(std::sqrt(difference / size), 1e-4);
    EXPECT_GT(difference, 0) << "something was changed";
  }
}

TEST(InputStatistics, HaveTheirDefinition) {
  const size_t T = 37, in = 33;
  Tensor x = Tensor::F32({T, in});
  for (size_t t = 0; t < T; ++t) FillNormal(4, 0, t, {x.row(t), in});
  InputStatistics found(in);
  found.Add(20, x.f32());
  found.Add(T - 20, x.row(20));
  for (size_t a = 0; a < in; ++a) {
    double abs_sum = 0;
    float abs_max = 0;
    for (size_t t = 0; t < T; ++t) {
      abs_sum += std::fabs(x.row(t)[a]);
      abs_max = std::max(abs_max, std::fabs(x.row(t)[a]));
    }
    EXPECT_NEAR(found.abs_sum[a], abs_sum, 1e-9);
    EXPECT_EQ(found.abs_max[a], abs_max);
    for (size_t b = 0; b < in; ++b) {
      double sum = 0, absolute = 0;
      for (size_t t = 0; t < T; ++t) {
        const double product = static_cast<double>(x.row(t)[a]) * x.row(t)[b];
        sum += product;
        absolute += std::fabs(product);
      }
      EXPECT_NEAR(found.gram.row(a)[b], sum, absolute * T * 0x1p-24);
    }
  }
}

TEST(QuantizeModel, TheFileHoldsWhatStandsInMemoryForEveryMethod) {
  const CalibrationRows rows = SmallRows(2, 32, 5);
  for (const char* config : {kSmallHybrid, kSmallLlama}) {
    const std::vector<QuantizeMethod> methods =
        config == kSmallHybrid
            ? std::vector{QuantizeMethod::kRtn, QuantizeMethod::kClip, QuantizeMethod::kAwqGptq}
            : std::vector{QuantizeMethod::kAwqGptq, QuantizeMethod::kSmoothQuant};
    for (const QuantizeMethod method : methods) {
      const TemporaryDir dir;
      Pretrained opened = SmallModel(dir, config);
      QuantizeOptions options;
      options.method = method;
      options.awq_steps = 2;
      options.storage = PlanStorage(opened.model.get(), {.base = {DType::kQ4_K}, .keeps = {}});
      const auto tensors =
          QuantizeModel(&opened, options, method == QuantizeMethod::kRtn ? nullptr : &rows);
      ExportGguf(&opened, dir / "out.gguf", std::nullopt);
      const Pretrained back = OpenPretrained(dir / "out.gguf");
      EXPECT_EQ(HiddenOf(*opened.model, rows.rows[0]), HiddenOf(*back.model, rows.rows[0]))
          << Name(method);
      for (const QuantizedTensor& tensor : tensors) {
        EXPECT_LT(tensor.bytes, tensor.source_bytes) << tensor.name;
        EXPECT_GT(tensor.weight_sqnr, 10) << tensor.name;
        EXPECT_LT(tensor.weight_sqnr, 60) << tensor.name;
      }
    }
  }
}

TEST(QuantizeModel, GptqKeepsMoreOfTheProductsThanRoundingToNearest) {
  const CalibrationRows rows = SmallRows(4, 48, 6);
  double sqnr[2] = {};
  for (const QuantizeMethod method : {QuantizeMethod::kClip, QuantizeMethod::kGptq}) {
    const TemporaryDir dir;
    Pretrained opened = SmallModel(dir, kSmallHybrid);
    QuantizeOptions options;
    options.method = method;
    options.precision = Precision::kF32;
    options.storage = PlanStorage(opened.model.get(), {.base = {DType::kQ4_0}, .keeps = {}});
    for (const QuantizedTensor& tensor : QuantizeModel(&opened, options, &rows)) {
      if (!std::isnan(tensor.product_sqnr))
        sqnr[method == QuantizeMethod::kGptq] += tensor.product_sqnr;
    }
  }
  EXPECT_GT(sqnr[1], sqnr[0]);
}

TEST(QuantizeModel, Fp8FoldersOpenToTheSameValues) {
  for (const size_t shared : {size_t{128}, StorageType::kRow}) {
    const TemporaryDir dir;
    Pretrained opened = SmallModel(dir, kSmallLlama);
    QuantizeOptions options;
    options.storage =
        PlanStorage(opened.model.get(), {.base = {DType::kF8E4M3, shared}, .keeps = {}});
    QuantizeModel(&opened, options, nullptr);
    ExportHf(&opened, dir / "fp8", std::nullopt, uint64_t{1} << 30, {.keeps_fp8 = true});
    const Pretrained back = OpenPretrained(dir / "fp8");
    const std::vector<int32_t> ids = SmallRows(1, 20, 3).rows[0];
    EXPECT_EQ(HiddenOf(*opened.model, ids), HiddenOf(*back.model, ids));
    size_t codes = 0;
    back.model->VisitParams([&](const Param& param) {
      if (param.weight != nullptr) codes += param.weight->dtype() == DType::kF8E4M3;
    });
    EXPECT_EQ(codes, 2u * 7);
  }
}

TEST(RoundMatrix, SharedScalesAreEqualInTheirBlocks) {
  Tensor w = Tensor::F32({3, 160});
  for (size_t r = 0; r < 3; ++r) FillNormal(4, 0, r, {w.row(r), 160});
  for (const auto rule : {ScaleRule::kLargest, ScaleRule::kFitted}) {
    const Weight row = RoundMatrix("w", w, {DType::kQ8_0, StorageType::kRow}, rule, nullptr);
    const Weight pairs = RoundMatrix("w", w, {DType::kQ8_0, 64}, rule, nullptr);
    for (size_t r = 0; r < 3; ++r) {
      for (size_t b = 1; b < 5; ++b) {
        EXPECT_TRUE(std::equal(row.row(r), row.row(r) + 2, row.row(r) + b * 34));
        if (b % 2 == 1) {
          EXPECT_TRUE(std::equal(pairs.row(r) + (b - 1) * 34, pairs.row(r) + (b - 1) * 34 + 2,
                                 pairs.row(r) + b * 34));
        }
      }
    }
    EXPECT_GT(WeightNoise(w, ValuesOf(pairs)).decibels(), WeightNoise(w, ValuesOf(row)).decibels());
  }
}

TEST(StoragePlan, KeepsWhatIsSensitiveAndWhatIsAskedFor) {
  const TemporaryDir dir;
  Pretrained opened = SmallModel(dir, kSmallHybrid);
  Model* model = opened.model.get();
  auto plan = PlanStorage(model, {.base = {DType::kQ4_0}, .keeps = {}});
  EXPECT_EQ(plan.at("backbone.embeddings.weight").type, DType::kQ8_0);
  EXPECT_EQ(plan.at("lm_head.weight").type, DType::kQ8_0) << "64 inputs do not fill q6_k";
  EXPECT_EQ(plan.at("backbone.layers.0.mixer.in_proj.weight").type, DType::kQ4_0);
  plan = PlanStorage(model, {.base = {DType::kQ4_0}, .keeps = {"*down*=q5_1", "dt=q8_0"}});
  EXPECT_EQ(plan.at("backbone.layers.0.mixer.in_proj.weight").type, DType::kQ8_0);
  EXPECT_EQ(plan.at("backbone.layers.1.mixer.down_proj.weight").type, DType::kQ5_1);
  EXPECT_EQ(plan.at("backbone.layers.1.mixer.up_proj.weight").type, DType::kQ4_0);
  for (const char* bad : {"nothing=q8_0", "dt", "dt=q9_9", "=q8_0", "dt=i32"})
    EXPECT_THROW(PlanStorage(model, {.base = {DType::kQ4_0}, .keeps = {bad}}), Error) << bad;
}

TEST(StoragePlan, PatternsTakeAnyCharactersForAStar) {
  EXPECT_TRUE(MatchesPattern("*", "")) << "nothing, too";
  EXPECT_TRUE(MatchesPattern("a*c", "abbc"));
  EXPECT_TRUE(MatchesPattern("*b*b", "abab"));
  EXPECT_FALSE(MatchesPattern("a*c", "abcd"));
  EXPECT_FALSE(MatchesPattern("abc", "ab"));
  EXPECT_FALSE(MatchesPattern("", "a"));
}

TEST(QuantizeReport, JsonIsFiniteAndThePageStandsAlone) {
  QuantizeReport report;
  report.model = "a <b> model";
  report.tensors = {{.name = "w",
                     .shape = {2, 32},
                     .storage = {DType::kQ8_0},
                     .bytes = 68,
                     .source_bytes = 256,
                     .weight_sqnr = INFINITY}};
  report.divergence = Divergence{.nll = 22, .reference_nll = 20, .kl = 1, .tokens = 10};
  report.bytes = 68;
  EXPECT_NEAR(report.bits_per_weight(), 8.5, 1e-12);
  EXPECT_NEAR(report.loss_change(), 0.1, 1e-12);
  const std::string json = DumpJson(ReportJson(report));
  EXPECT_EQ(ParseJson(json, "report").Find("tensors")->AsArray()[0].Find("type")->AsString(),
            "q8_0");
  const std::string page = ReportPage(report);
  EXPECT_NE(page.find("a &lt;b&gt; model"), std::string::npos);
  EXPECT_EQ(page.find("=\"http"), std::string::npos);
}

}  // namespace
}  // namespace planish
