// SPDX-License-Identifier: Apache-2.0
// GPTQ's factor against its definition, and its rounding against plain rounding.
#include "compress/gptq.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "base/parallel.h"
#include "base/random.h"
#include "compress/round_matrix.h"

namespace planish {
namespace {

Tensor RandomMatrix(uint64_t seed, size_t rows, size_t columns) {
  Tensor x = Tensor::F32({rows, columns});
  for (size_t r = 0; r < rows; ++r) FillNormal(seed, 0, r, {x.row(r), columns});
  return x;
}

// Of inputs whose channels are mixed and of different size.
Tensor CorrelatedGram(uint64_t seed, size_t n) {
  const size_t tokens = 3 * n;
  const Tensor x = RandomMatrix(seed, tokens, n);
  Tensor gram = Tensor::ZerosF32({n, n});
  for (size_t t = 0; t < tokens; ++t) {
    std::vector<float> mixed(n);
    for (size_t c = 0; c < n; ++c)
      mixed[c] = (x.row(t)[c] + 0.8f * x.row(t)[(c + 1) % n] + 0.5f * x.row(t)[0]) *
                 (c % 7 == 0 ? 4.0f : 1.0f);
    for (size_t a = 0; a < n; ++a)
      for (size_t b = 0; b < n; ++b) gram.row(a)[b] += mixed[a] * mixed[b];
  }
  return gram;
}

TEST(Gptq, FactorTimesItsTransposeIsTheInverseOfTheDampedGramMatrix) {
  for (const size_t n : {32, 96, 160}) {
    const Tensor gram = CorrelatedGram(n, n);
    const GptqFactors factors = FactorGram(gram, 32, 0.01);
    double mean = 0;
    for (size_t j = 0; j < n; ++j) mean += gram.row(j)[j] / static_cast<double>(n);
    double worst = 0;
    for (size_t a = 0; a < n; ++a) {  // H U^T U = I
      std::vector<double> row(n, 0.0);
      for (size_t k = 0; k < n; ++k) {
        const double h = gram.row(factors.order[a])[factors.order[k]] + (a == k ? 0.01 * mean : 0);
        double sum;
        for (size_t b = 0; b < n; ++b) {
          sum = 0;
          for (size_t i = 0; i <= std::min(k, b); ++i)
            sum += static_cast<double>(factors.u.row(i)[k]) * factors.u.row(i)[b];
          row[b] += h * sum;
        }
      }
      for (size_t b = 0; b < n; ++b) worst = std::max(worst, std::fabs(row[b] - (a == b)));
    }
    // U has float entries: relative 2^-24 each, times the condition of H, below 1e4 by the damping.
    EXPECT_LT(worst, 1e4 * 0x1p-22) << n;
    for (size_t r = 0; r < n; ++r)
      for (size_t c = 0; c < r; ++c) ASSERT_EQ(factors.u.row(r)[c], 0);
  }
}

TEST(Gptq, OrderFallsInEnergyAndKeepsBlocksTogether) {
  const Tensor gram = CorrelatedGram(1, 96);
  const GptqFactors factors = FactorGram(gram, 32, 0.01);
  EXPECT_EQ(std::set<uint32_t>(factors.order.begin(), factors.order.end()).size(), 96u);
  for (size_t p = 1; p < 96; ++p) {
    const uint32_t a = factors.order[p - 1], b = factors.order[p];
    if (p % 32 == 0) continue;
    EXPECT_EQ(a / 32, b / 32);
    EXPECT_GE(gram.row(a)[a], gram.row(b)[b]);
  }
}

TEST(Gptq, IndependentInputsGiveTheBytesOfPlainFitting) {
  const size_t n = 256;
  Tensor gram = Tensor::ZerosF32({n, n});
  for (size_t j = 0; j < n; ++j) gram.row(j)[j] = 2.0f;
  const double damping = 1;  // every channel has H = 4, whose roots are exact
  const Tensor w = RandomMatrix(3, 11, n);
  for (const DType type : {DType::kQ4_0, DType::kQ8_0, DType::kQ4_1, DType::kQ4_K, DType::kQ6_K}) {
    const size_t block = Traits(type).block_elems;
    const Weight found =
        RoundByGptq("w", RandomMatrix(3, 11, n), FactorGram(gram, block, damping), type);
    const Weight expected = RoundMatrix("w", w, {type}, ScaleRule::kFitted, nullptr);
    EXPECT_TRUE(std::equal(found.data(), found.data() + found.bytes(), expected.data()))
        << Name(type);
  }
}

TEST(Gptq, ProductsLoseLessThanByRoundingEachWeightAlone) {
  const size_t n = 256;
  const Tensor gram = CorrelatedGram(5, n), w = RandomMatrix(6, 37, n);
  for (const DType type : {DType::kQ4_0, DType::kQ4_K, DType::kQ3_K}) {
    const size_t block = Traits(type).block_elems;
    const Weight plain = RoundMatrix("w", w, {type}, ScaleRule::kFitted, nullptr);
    const Weight gptq =
        RoundByGptq("w", RandomMatrix(6, 37, n), FactorGram(gram, block, 0.01), type);
    EXPECT_LT(ProductNoise(w, ValuesOf(gptq), gram).noise,
              0.7 * ProductNoise(w, ValuesOf(plain), gram).noise)
        << Name(type);
  }
}

TEST(Gptq, BytesDoNotDependOnThreads) {
  const Tensor gram = CorrelatedGram(7, 160);
  const int before = ThreadCount();
  std::vector<std::byte> first;
  for (const int threads : {1, 2, 5}) {
    SetThreadCount(threads);
    const Weight found =
        RoundByGptq("w", RandomMatrix(8, 21, 160), FactorGram(gram, 32, 0.01), DType::kQ4_0);
    const std::vector<std::byte> bytes(found.data(), found.data() + found.bytes());
    if (first.empty()) first = bytes;
    EXPECT_EQ(bytes, first) << threads;
  }
  SetThreadCount(before);
}

TEST(Gptq, ChannelsThatAreAlwaysZeroAreNoError) {
  Tensor gram = CorrelatedGram(9, 64);
  for (size_t j = 0; j < 64; ++j) gram.row(5)[j] = gram.row(j)[5] = 0;
  const Weight found =
      RoundByGptq("w", RandomMatrix(2, 3, 64), FactorGram(gram, 32, 0.01), DType::kQ4_0);
  const Tensor values = ValuesOf(found);
  for (size_t i = 0; i < 3 * 64; ++i) EXPECT_TRUE(std::isfinite(values.f32()[i]));
  const GptqFactors none = FactorGram(Tensor::ZerosF32({64, 64}), 32, 0.01);
  EXPECT_TRUE(std::isfinite(none.u.row(0)[0]));
}

}  // namespace
}  // namespace planish
