// SPDX-License-Identifier: Apache-2.0
// Projection under Precision::kFp8: near the exact products, by as much as three bits of mantissa lose; equal to the definition
// on quantised values; weights are quantised again after an optimizer step and only then; the first and last blocks stay bf16.
#include "model/fp8_recipe.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/file.h"
#include "base/random.h"
#include "base/testing.h"
#include "model/masters.h"
#include "model/pretrained.h"
#include "model/projection.h"

namespace planish {
namespace {

std::vector<float> Normal(uint64_t seed, size_t n) {
  Random random(seed);
  std::vector<float> values(n);
  for (float& value : values) value = static_cast<float>(random.Normal());
  return values;
}

struct Layer {
  Layer() : layout(SeqLayout::Packed(std::vector<size_t>{kT})) {
    projection.weight = Weight("w", kOut, kIn);
    const std::vector<float> w = Normal(1, kOut * kIn);
    std::copy(w.begin(), w.end(), reinterpret_cast<float*>(projection.weight.mutable_data()));
    projection.grad = grad.data();
  }
  Pass PassOf(Precision precision, const Fp8Options* options = nullptr) {
    Pass pass = {.layout = layout, .workspace = &workspace, .precision = precision};
    pass.fp8 = options;
    return pass;
  }
  static constexpr size_t kT = 150, kIn = 200, kOut = 140;
  SeqLayout layout;
  Workspace workspace;
  Projection projection;
  std::vector<float> grad = std::vector<float>(kOut * kIn);
  std::vector<float> x = Normal(2, kT*kIn), dy = Normal(3, kT*kOut);
};

struct Products {
  std::vector<float> y, dx, dw;
};
Products Compute(Layer* layer, const Pass& pass) {
  Products p{
      std::vector<float>(Layer::kT * Layer::kOut), std::vector<float>(Layer::kT * Layer::kIn), {}};
  std::fill(layer->grad.begin(), layer->grad.end(), 0.0f);
  layer->projection.Forward(pass, Layer::kT, layer->x.data(), p.y.data());
  layer->projection.BackwardInput(pass, Layer::kT, layer->dy.data(), p.dx.data());
  layer->projection.BackwardWeight(pass, Layer::kT, layer->x.data(), layer->dy.data());
  p.dw = layer->grad;
  return p;
}

double RelativeDistance(const std::vector<float>& a, const std::vector<float>& b) {
  double error = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    error += std::pow(a[i] - b[i], 2);
    size += std::pow(b[i], 2);
  }
  return std::sqrt(error / size);
}

TEST(Fp8Recipe, ProductsOfGaussianValuesAreOffByAFewPercent) {
  Layer layer;
  const Products exact = Compute(&layer, layer.PassOf(Precision::kF32));
  for (const bool tensorwise : {false, true}) {
    for (const bool power_of_two : {false, true}) {
      Fp8ClassStatistics statistics;
      const Fp8Options options = {tensorwise, power_of_two, 2, 2, &statistics};
      const Products fp8 = Compute(&layer, layer.PassOf(Precision::kFp8, &options));
      // Rounding to 3 bits is off by 2^-4 / sqrt(3) / ~1.4 of a value, to 2 bits twice that; two operands add in squares.
      for (const double distance :
           {RelativeDistance(fp8.y, exact.y), RelativeDistance(fp8.dx, exact.dx),
            RelativeDistance(fp8.dw, exact.dw)}) {
        EXPECT_GT(distance, 0.02);
        EXPECT_LT(distance, tensorwise ? 0.08 : 0.045);
      }
      EXPECT_EQ(statistics[0].count, Layer::kOut * Layer::kIn);
      EXPECT_EQ(statistics[1].count, 2 * Layer::kT * Layer::kIn);
      EXPECT_EQ(statistics[2].count, 2 * Layer::kT * Layer::kOut);
      for (const Fp8Statistics& part : statistics) {
        EXPECT_EQ(part.saturated, 0u);
        EXPECT_GT(part.amax, 3);
        EXPECT_LT(part.amax, 6);
      }
    }
  }
}

// Quantised from the bf16 values, column-wise for the weight's gradient: the definition in double.
TEST(Fp8Recipe, WeightGradientReadsColumnwiseCodesOfTheBf16Values) {
  Layer layer;
  const Products fp8 = Compute(&layer, layer.PassOf(Precision::kFp8));
  const auto value = [](const std::vector<float>& rows, size_t width, size_t t, size_t c) {
    const size_t begin = t / kFp8Block * kFp8Block;
    float amax = 0;
    const auto at = [&](size_t r) { return FloatFromBF16(BF16FromFloat(rows[r * width + c])); };
    for (size_t r = begin; r < std::min(Layer::kT, begin + kFp8Block); ++r)
      amax = std::max(amax, std::abs(at(r)));
    const float scale = amax / 448.0f;
    return static_cast<double>(FloatFromF8E4M3(F8E4M3FromFloat(at(t) / scale))) * scale;
  };
  for (size_t o = 0; o < Layer::kOut; o += 37) {
    for (size_t i = 0; i < Layer::kIn; i += 23) {
      double sum = 0, size = 0;
      for (size_t t = 0; t < Layer::kT; ++t) {
        const double product =
            value(layer.dy, Layer::kOut, t, o) * value(layer.x, Layer::kIn, t, i);
        sum += product;
        size += std::abs(product);
      }
      EXPECT_NEAR(fp8.dw[o * Layer::kIn + i], sum, (Layer::kT + 12) * 0x1p-23 * size);
    }
  }
}

TEST(Fp8Recipe, RowsDoNotDependOnOtherRowsAndBf16RowsGiveTheSame) {
  Layer layer;
  const Pass pass = layer.PassOf(Precision::kFp8);
  const Products all = Compute(&layer, pass);
  std::vector<float> row(Layer::kOut);
  layer.projection.Forward(pass, 1, layer.x.data() + 77 * Layer::kIn, row.data());
  for (size_t n = 0; n < Layer::kOut; ++n) ASSERT_EQ(row[n], all.y[77 * Layer::kOut + n]);
  std::vector<uint16_t> halves(layer.x.size());
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = BF16FromFloat(layer.x[i]);
  std::vector<float> y(all.y.size());
  layer.projection.Forward(pass, Layer::kT, {halves.data(), DType::kBF16}, y.data());
  EXPECT_EQ(y, all.y);
}

TEST(Fp8Recipe, WeightsAreQuantisedAgainAfterAStepAndOnlyThen) {
  Layer layer;
  Fp8ClassStatistics statistics;
  Fp8Options options;
  options.statistics = &statistics;
  const Pass pass = layer.PassOf(Precision::kFp8, &options);
  const Products before = Compute(&layer, pass);
  Compute(&layer, pass);
  EXPECT_EQ(statistics[0].count, Layer::kOut * Layer::kIn);
  auto* w = reinterpret_cast<float*>(layer.projection.weight.mutable_data());
  for (size_t i = 0; i < Layer::kOut * Layer::kIn; ++i) w[i] *= 2;
  layer.projection.weight.Touch();
  const Products after = Compute(&layer, pass);
  EXPECT_EQ(statistics[0].count, 2 * Layer::kOut * Layer::kIn);
  for (size_t i = 0; i < after.y.size(); ++i) ASSERT_EQ(after.y[i], 2 * before.y[i]);
}

TEST(Fp8Recipe, BlocksAtBothEndsStayBf16) {
  const std::string path = planish::testing::GoldenDir() + "/models/nemotron_h_a";
  if (!FileExists(path + "/config.json")) GTEST_SKIP() << "no golden models";
  Pretrained opened = OpenPretrained(path, {.needs_tokenizer = false});
  HoldMasters(opened.model.get());
  const SeqLayout layout = SeqLayout::Packed(std::vector<size_t>{40});
  const std::vector<int32_t> ids(40, 7);
  Workspace workspace;
  const auto hidden = [&](Precision precision, const Fp8Options* options) {
    Pass pass = {.layout = layout, .workspace = &workspace, .precision = precision};
    pass.fp8 = options;
    std::vector<float> rows(ids.size() * opened.model->config().hidden_size);
    opened.model->Forward(pass, ids, rows.data(), {}, nullptr);
    return rows;
  };
  Fp8ClassStatistics statistics;
  const Fp8Options all_bf16 = {false, false, 4, 100, &statistics}, none_bf16 = {false, false, 0, 0};
  const std::vector<float> bf16 = hidden(Precision::kBf16, nullptr);
  EXPECT_EQ(hidden(Precision::kFp8, &all_bf16), bf16);
  EXPECT_EQ(statistics[0].count, 0u);
  const std::vector<float> some = hidden(Precision::kFp8, nullptr);
  EXPECT_NE(some, bf16);
  EXPECT_NE(some, hidden(Precision::kFp8, &none_bf16));
  EXPECT_LT(RelativeDistance(some, bf16), 0.1);
}

}  // namespace
}  // namespace planish
