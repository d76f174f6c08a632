// SPDX-License-Identifier: Apache-2.0
// The fused head and loss: goldens of an autograd run in double; sums in double over odd sizes, masks and several chunks, with
// bounds of the rounding of operands, sums and gradients; independence of neighbours and threads.
#include "train/loss.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>

#include "base/file.h"
#include "base/json.h"
#include "base/parallel.h"
#include "base/random.h"
#include "base/testing.h"
#include "tensor/blocks.h"
#include "tensor/safetensors.h"

namespace planish {
namespace {

constexpr double kUnit = 0x1p-24, kHalfUnit = 0x1p-8;  // roundoff of float and of bf16

std::vector<float> RandomFloats(uint64_t seed, size_t n, double scale) {
  Random random(seed);
  std::vector<float> values(n);
  for (float& value : values) value = static_cast<float>(scale * random.Normal());
  return values;
}

struct Problem {
  Problem(size_t rows, size_t vocabulary, size_t width, Precision precision, float z_coef = 0,
          DType dtype = DType::kF32)
      : T(rows),
        V(vocabulary),
        D(width),
        hidden(RandomFloats(T, T * D, 1.0)),
        targets(T),
        mask(T, 1) {
    const std::vector<float> values =
        RandomFloats(V, V * D, 2.0 / std::sqrt(static_cast<double>(D)));
    head = Weight("head", V, D, dtype);
    for (size_t v = 0; v < V; ++v)
      QuantizeRow(dtype, values.data() + v * D, head.mutable_data() + v * head.row_bytes(), D);
    Random random(3);
    for (int32_t& target : targets) target = static_cast<int32_t>(random.Bits() % V);
    input = {.hidden = hidden.data(), .head = &head, .targets = targets.data()};
    input.mask = mask.data();
    input.T = T;
    input.precision = precision;
    input.z_coef = z_coef;
    input.workspace = &workspace;
  }
  size_t T, V, D;
  std::vector<float> hidden;
  std::vector<int32_t> targets;
  std::vector<uint8_t> mask;
  Weight head;
  Workspace workspace;
  LossInput input;
};

struct Result {
  explicit Result(const Problem& p)
      : rows(p.T, -1), d_hidden(p.T * p.D, 5.0f), d_head(p.V * p.D, 0.5f) {
    sums = LossAndGradient(p.input, rows.data(), d_hidden.data(), d_head.data());
  }
  std::vector<double> rows;
  std::vector<float> d_hidden, d_head;  // d_head starts from 0.5
  LossSums sums;
};

// The formula in double on the operands as the precision rounds them.
void ExpectFormula(const Problem& p) {
  const bool is_bf16 = p.input.precision != Precision::kF32;
  const Result result(p);
  const auto operand = [&](float value) {
    return static_cast<double>(is_bf16 ? FloatFromBF16(BF16FromFloat(value)) : value);
  };
  std::vector<double> w(p.V * p.D), d_head(p.V * p.D, 0.5), d_head_bound(p.V * p.D, 0);
  std::vector<float> row(p.D);
  for (size_t v = 0; v < p.V; ++v) {
    p.head.DequantizeRow(v, row.data());
    for (size_t i = 0; i < p.D; ++i) w[v * p.D + i] = operand(row[i]);
  }
  LossSums want;
  double loss_bound = 0, z_bound = 0;
  for (size_t t = 0; t < p.T; ++t) {
    if (p.mask[t] == 0) {
      EXPECT_EQ(result.rows[t], 0);
      for (size_t i = 0; i < p.D; ++i) ASSERT_EQ(result.d_hidden[t * p.D + i], 0) << t;
      continue;
    }
    std::vector<double> h(p.D), x(p.V), d(p.V), d_bound(p.V);
    for (size_t i = 0; i < p.D; ++i) h[i] = operand(p.hidden[t * p.D + i]);
    double error = 0, max = -INFINITY, sum = 0;
    for (size_t v = 0; v < p.V; ++v) {
      double size = 0;
      for (size_t i = 0; i < p.D; ++i) {
        x[v] += h[i] * w[v * p.D + i];
        size += std::abs(h[i] * w[v * p.D + i]);
      }
      error = std::max(error, static_cast<double>(p.D + 1) * kUnit * size);
      max = std::max(max, x[v]);
    }
    for (const double value : x) sum += std::exp(value - max);
    const double lse = max + std::log(sum), target = x[static_cast<size_t>(p.targets[t])];
    // Exponentials: the error of a logit, of x - max (below 32 here) and 80 units of function and sum.
    const double relative = 2 * error + (32 + 80) * kUnit;
    EXPECT_NEAR(result.rows[t], lse - target, error + relative) << t;
    want.ce += lse - target;
    want.z += lse * lse;
    loss_bound += error + relative;
    z_bound += 2 * std::abs(lse) * relative + relative * relative;
    for (size_t v = 0; v < p.V; ++v) {
      const double p_v = (1 + 2 * p.input.z_coef * lse) * std::exp(x[v] - lse);
      d[v] = p_v - (static_cast<size_t>(p.targets[t]) == v ? 1 : 0);
      d_bound[v] =
          2 * relative * std::abs(p_v) + 2 * kUnit + (is_bf16 ? kHalfUnit * std::abs(d[v]) : 0);
    }
    for (size_t i = 0; i < p.D; ++i) {
      double dx = 0, bound = 0;
      for (size_t v = 0; v < p.V; ++v) {
        dx += d[v] * w[v * p.D + i];
        bound += std::abs(w[v * p.D + i]) *
                 (d_bound[v] + static_cast<double>(p.V + 1) * kUnit * std::abs(d[v]));
        d_head[v * p.D + i] += d[v] * h[i];
        d_head_bound[v * p.D + i] +=
            std::abs(h[i]) * (d_bound[v] + static_cast<double>(p.T + 1) * kUnit * std::abs(d[v]));
      }
      ASSERT_NEAR(result.d_hidden[t * p.D + i], dx, bound) << "d_hidden " << t << " " << i;
    }
    ++want.kept;
  }
  EXPECT_EQ(result.sums.kept, want.kept);
  EXPECT_NEAR(result.sums.ce, want.ce, loss_bound);
  EXPECT_NEAR(result.sums.z, want.z, z_bound);
  for (size_t i = 0; i < d_head.size(); ++i)
    ASSERT_NEAR(result.d_head[i], d_head[i], d_head_bound[i] + static_cast<double>(p.T) * kUnit)
        << "d_head " << i;
  std::vector<double> evaluated(p.T, -1);
  const LossSums sums = EvaluateLoss(p.input, evaluated.data());
  EXPECT_EQ(evaluated, result.rows);
  EXPECT_EQ(sums.ce, result.sums.ce);
}

TEST(HeadLoss, MatchesTheFormulaInDoubleForAllPrecisions) {
  for (const Precision precision : {Precision::kF32, Precision::kBf16, Precision::kFp8}) {
    SCOPED_TRACE(static_cast<int>(precision));
    ExpectFormula(Problem(1, 1, 1, precision));
    ExpectFormula(Problem(3, 17, 5, precision));
    ExpectFormula(Problem(37, 67, 33, precision, 0.01f));
    ExpectFormula(Problem(33, 64, 64, precision, 0, DType::kBF16));
    ExpectFormula(Problem(33, 64, 64, precision, 0, DType::kQ8_0));
    Problem masked(61, 40, 24, precision);
    for (size_t t = 0; t < masked.T; ++t) masked.mask[t] = t % 3 == 1;
    ExpectFormula(masked);
  }
}

TEST(HeadLoss, SeveralChunksAddUp) {
  const size_t T = LossChunkRows(24) + 70;
  ExpectFormula(Problem(T, 24, 9, Precision::kF32));
  Problem masked(2 * T, 24, 9, Precision::kBf16);
  for (size_t t = 0; t < masked.T; ++t) masked.mask[t] = t % 5 < 4;
  ExpectFormula(masked);
}

TEST(HeadLoss, ChunksAreBoundedAndOfWholeTiles) {
  for (const size_t V : {size_t{1}, size_t{500}, size_t{32000}, size_t{131072}, size_t{300000}}) {
    const size_t rows = LossChunkRows(V);
    EXPECT_EQ(rows % 32, 0u);
    EXPECT_GE(rows, 256u);
    EXPECT_LE(rows, 2048u);
    EXPECT_TRUE(rows == 256 || rows * V * sizeof(float) <= size_t{64} << 20) << V;
  }
}

TEST(HeadLoss, RowsKnowNeitherTheirNeighboursNorTheThreads) {
  for (const Precision precision : {Precision::kF32, Precision::kBf16}) {
    Problem p(150, 300, 40, precision);
    SetThreadCount(1);
    const Result one(p);
    SetThreadCount(2);
    const Result two(p);
    EXPECT_EQ(one.rows, two.rows);
    EXPECT_EQ(one.d_hidden, two.d_hidden);
    EXPECT_EQ(one.d_head, two.d_head);
    EXPECT_EQ(one.sums.ce, two.sums.ce);
    for (size_t t = 0; t < p.T; ++t) p.mask[t] = t == 7 || t == 140;
    const Result few(p);
    SetThreadCount(0);
    for (const size_t t : {size_t{7}, size_t{140}}) {
      EXPECT_EQ(few.rows[t], one.rows[t]);
      for (size_t i = 0; i < p.D; ++i)
        ASSERT_EQ(few.d_hidden[t * p.D + i], one.d_hidden[t * p.D + i]);
    }
  }
}

TEST(HeadLoss, NothingKeptIsZeroAndAFrozenHeadGetsNoGradient) {
  Problem p(5, 10, 8, Precision::kBf16);
  std::fill(p.mask.begin(), p.mask.end(), 0);
  p.targets[2] = -1;  // what a masked row holds is not looked at
  const Result none(p);
  EXPECT_EQ(none.sums.kept, 0u);
  EXPECT_EQ(none.sums.ce, 0);
  EXPECT_EQ(none.d_hidden, std::vector<float>(p.T * p.D, 0.0f));
  EXPECT_EQ(none.d_head, std::vector<float>(p.V * p.D, 0.5f));
  p.input.mask = nullptr;
  p.targets[2] = 1;
  const Result all(p);
  std::vector<float> d_hidden(p.T * p.D);
  const LossSums frozen = LossAndGradient(p.input, nullptr, d_hidden.data(), nullptr);
  EXPECT_EQ(frozen.kept, p.T);
  EXPECT_EQ(d_hidden, all.d_hidden);
}

TEST(HeadLoss, NanInAHiddenRowReachesTheSum) {
  Problem p(4, 20, 8, Precision::kBf16);
  p.hidden[9] = std::nanf("");
  EXPECT_TRUE(std::isnan(EvaluateLoss(p.input, nullptr).ce));
}

// Logits of the golden file as hidden rows through a head that is the identity.
TEST(HeadLoss, GoldenLossesAndGradients) {
  const std::string folder = testing::GoldenDir() + "/losses/";
  if (!FileExists(folder + "losses.safetensors")) GTEST_SKIP() << folder << " is missing";
  std::map<std::string, StoredTensor> tensors;
  for (StoredTensor& tensor :
       ReadSafetensors(folder + "losses.safetensors", FileBytes::Access::kRead).tensors)
    tensors[tensor.name] = tensor;
  const Json json = ParseJson(ReadFile(folder + "losses.json", 1 << 20), "losses.json");
  for (const std::string name : {"ce", "ce_zloss", "ce_large_logits"}) {
    SCOPED_TRACE(name);
    const JsonReader scalars = JsonReader(json, "losses.json").Object(name).Object("scalars");
    const Tensor logits = Tensor::ToF32(tensors.at(name + ".logits").view);
    const Tensor want = Tensor::ToF32(tensors.at(name + ".grad_mean").view);
    const TensorView stored = tensors.at(name + ".targets").view;
    const size_t V = logits.shape().last(), T = logits.elements() / V;
    std::vector<int32_t> targets(T);
    std::memcpy(targets.data(), stored.data, stored.bytes());
    std::vector<uint8_t> mask(T);

    Weight head("head", V, V);
    auto* identity = reinterpret_cast<float*>(head.mutable_data());
    std::fill_n(identity, V * V, 0.0f);
    for (size_t v = 0; v < V; ++v) identity[v * V + v] = 1;
    for (size_t t = 0; t < T; ++t) mask[t] = targets[t] >= 0;
    Workspace workspace;
    LossInput input = {.hidden = logits.f32(), .head = &head, .targets = targets.data()};
    input.mask = mask.data();
    input.T = T;
    input.workspace = &workspace;
    input.z_coef = static_cast<float>(name == "ce_zloss" ? scalars.Number("coef", 0, 1) : 0);
    std::vector<float> gradient(T * V);
    const LossSums sums = LossAndGradient(input, nullptr, gradient.data(), nullptr);
    const double kept = static_cast<double>(sums.kept);
    const double mean = scalars.Number("mean", 0, 1e4);
    EXPECT_NEAR(sums.total(input.z_coef) / kept, mean, 1e-6 * mean);
    for (size_t i = 0; i < gradient.size(); ++i)
      ASSERT_NEAR(gradient[i] / kept, want.f32()[i], 1e-6) << i;
  }
}

}  // namespace
}  // namespace planish
