// SPDX-License-Identifier: Apache-2.0
// Every test runs at every ISA level of the CPU. Weights and activations end at an unreadable page,
// so reading past the end crashes, and their addresses have whatever alignment that gives.
#include "kernels/matmul.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "base/parallel.h"
#include "base/random.h"
#include "kernels/isa.h"
#include "kernels/matmul_testing.h"

namespace planish {
namespace {

std::vector<float> Product(const Weight& w, const float* x, size_t T) {
  std::vector<float> y(T * w.out(), -1e30f);
  MatMul(w, x, T, y.data());
  return y;
}

// Compares with sums in double; the bound is that of a chain of rounded additions, one for each
// vector of a row.
void ExpectNearReference(const Weight& w, const float* x, size_t T, const std::vector<float>& y) {
  const size_t N = w.out(), K = w.in();
  const std::string isa = IsaName();
  const double lanes = isa == "avx512" ? 16 : isa == "avx2" ? 8 : isa == "neon" ? 4 : 1;
  const double roundings = std::ceil(static_cast<double>(K) / lanes) + 6;  // + lanes' tree, product
  const double unit = roundings * std::ldexp(1.0, -24);
  const double factor = unit / (1 - unit);
  std::vector<float> row(K);
  for (size_t n = 0; n < N; ++n) {
    w.DequantizeRow(n, row.data());
    for (size_t t = 0; t < T; ++t) {
      double sum = 0, magnitude = 0;
      for (size_t k = 0; k < K; ++k) {
        const double product = static_cast<double>(row[k]) * x[t * K + k];
        sum += product;
        magnitude += std::abs(product);
      }
      const double bound = factor * magnitude + 1e-40;
      ASSERT_LE(std::abs(y[t * N + n] - sum), bound)
          << isa << " " << Name(w.dtype()) << " [" << N << ", " << K << "] T=" << T << " at t=" << t
          << " n=" << n << ": " << y[t * N + n] << " instead of " << sum;
    }
  }
}

class MatMulTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { LimitIsa(GetParam()); }
  void TearDown() override {
    LimitIsa("");
    SetThreadCount(0);
  }
};

// Lengths around vectors, scale chunks and slabs, for a block size.
std::vector<size_t> RowLengths(size_t block) {
  if (block == 1) return {1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 67, 255, 1023, 1025, 2100};
  if (block == 32) return {32, 64, 480, 512, 544, 576, 1056, 2080};
  return {256, 512, 768, 1280, 2304};
}

TEST_P(MatMulTest, DecodesEveryTypeToTheBitsOfTheReference) {
  for (const DType dtype : kTypes) {
    for (const size_t K : RowLengths(Traits(dtype).block_elems)) {
      const TestWeight w(dtype, 9, K, 1 + K, /*any_scale=*/true);
      const std::vector<int32_t> rows = {8, 0, 3, 3, 1, 2, 4, 5, 6, 7};
      const Floats out(rows.size() * K);
      GatherRows(w.weight, rows, out.data());
      std::vector<float> expected(K);
      for (size_t i = 0; i < rows.size(); ++i) {
        w.weight.DequantizeRow(static_cast<size_t>(rows[i]), expected.data());
        for (size_t k = 0; k < K; ++k) {
          const float got = out.data()[i * K + k];
          if (std::isnan(expected[k]) && std::isnan(got)) continue;
          ASSERT_EQ(std::bit_cast<uint32_t>(got), std::bit_cast<uint32_t>(expected[k]))
              << GetParam() << " " << Name(dtype) << " K=" << K << " row " << rows[i] << " element "
              << k << ": " << got << " instead of " << expected[k];
        }
      }
    }
  }
}

TEST_P(MatMulTest, EveryCodeOfEightBitFloatsDecodesAsTheReference) {
  for (const DType dtype : {DType::kF8E4M3, DType::kF8E5M2}) {
    Weight w("codes", 1, 256, dtype);
    for (size_t i = 0; i < 256; ++i) w.mutable_data()[i] = static_cast<std::byte>(i);
    std::vector<float> got(256), expected(256);
    const int32_t row = 0;
    GatherRows(w, {&row, 1}, got.data());
    w.DequantizeRow(0, expected.data());
    for (size_t i = 0; i < 256; ++i) {
      if (std::isnan(expected[i]))
        EXPECT_TRUE(std::isnan(got[i])) << i;
      else
        EXPECT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(expected[i])) << i;
    }
  }
}

TEST_P(MatMulTest, MatchesSumsInDoubleForEveryTypeAndAwkwardShapes) {
  for (const DType dtype : kTypes) {
    const std::vector<size_t> lengths = RowLengths(Traits(dtype).block_elems);
    size_t i = 0;
    for (const size_t K : lengths) {
      // Row counts around the tiles of 3, 4, 6 and 48 rows; token counts around 2, 4.
      constexpr size_t kN[] = {1, 2, 3, 5, 7, 11, 49};
      constexpr size_t kT[] = {1, 2, 3, 4, 5, 9};
      const size_t N = kN[i % 7];
      const TestWeight w(dtype, N, K, K);
      for (size_t j = 0; j < 2; ++j) {
        const size_t T = j == 0 ? 1 + i % 2 : kT[2 + i % 4];
        const Floats x(T * K, K + T);
        ExpectNearReference(w.weight, x.data(), T, Product(w.weight, x.data(), T));
      }
      ++i;
    }
  }
}

TEST_P(MatMulTest, RowsDoNotDependOnTheBatchForAnyTypeTokenCountAndThreadCount) {
  const bool is_scalar = GetParam() == "scalar";
  constexpr size_t kMaxT = 70;
  for (const int threads : {1, 2}) {
    for (const DType dtype : kTypes) {
      const size_t block = Traits(dtype).block_elems;
      // One thread: two slabs of a row. Two threads: two tasks of 48 rows, on which both work.
      const size_t N = threads == 1 ? 7 : 50;
      const size_t K = threads == 1 ? (block == 1    ? 1061
                                       : block == 32 ? 1056
                                                     : 1280)
                                    : (block == 1    ? 37
                                       : block == 32 ? 64
                                                     : 256);
      const TestWeight w(dtype, N, K, 3);
      const Floats x(kMaxT * K);
      SetThreadCount(1);
      std::vector<float> alone;
      for (size_t t = 0; t < kMaxT; ++t) {
        const std::vector<float> y = Product(w.weight, x.data() + t * K, 1);
        alone.insert(alone.end(), y.begin(), y.end());
      }
      SetThreadCount(threads);
      for (size_t T = 1; T <= kMaxT; ++T) {
        if (is_scalar && T > 9 && T != 33 && T != kMaxT) continue;  // slow there
        const size_t first = (kMaxT - T) / 2;
        const std::vector<float> y = Product(w.weight, x.data() + first * K, T);
        ASSERT_EQ(std::memcmp(y.data(), alone.data() + first * N, y.size() * sizeof(float)), 0)
            << GetParam() << " " << Name(dtype) << " T=" << T << " threads=" << threads;
      }
    }
  }
}

TEST_P(MatMulTest, RowsDoNotDependOnTheBatchAcrossTasksAndBlocksOfTokens) {
  constexpr size_t kMaxT = 645;  // a chunk of 512, and blocks of 128 and 5
  const size_t N = 101;
  for (const DType dtype : {DType::kF32, DType::kQ4_1}) {
    const size_t K = dtype == DType::kF32 ? 45 : 64;
    const TestWeight w(dtype, N, K, 5);
    const Floats x(kMaxT * K);
    std::vector<float> alone;
    for (size_t t = 0; t < kMaxT; ++t) {
      const std::vector<float> y = Product(w.weight, x.data() + t * K, 1);
      alone.insert(alone.end(), y.begin(), y.end());
    }
    for (const int threads : {1, 2, 3}) {
      SetThreadCount(threads);
      for (const size_t T : {size_t{127}, size_t{128}, size_t{129}, size_t{513}, kMaxT}) {
        const std::vector<float> y = Product(w.weight, x.data(), T);
        ASSERT_EQ(std::memcmp(y.data(), alone.data(), y.size() * sizeof(float)), 0)
            << GetParam() << " " << Name(dtype) << " T=" << T << " threads=" << threads;
      }
    }
  }
}

TEST_P(MatMulTest, ARowOfAWeightDoesNotDependOnItsPlaceInTheMatrix) {
  const size_t N = 60, K = 96, T = 5;
  const TestWeight w(DType::kQ8_0, N, K, 11);
  const Floats x(T * K);
  const std::vector<float> whole = Product(w.weight, x.data(), T);
  for (size_t n = 0; n < N; ++n) {
    const Weight row("row", 1, K, DType::kQ8_0, w.weight.row(n), nullptr);
    const std::vector<float> y = Product(row, x.data(), T);
    for (size_t t = 0; t < T; ++t)
      ASSERT_EQ(std::bit_cast<uint32_t>(y[t]), std::bit_cast<uint32_t>(whole[t * N + n]))
          << n << " " << t;
  }
}

TEST_P(MatMulTest, SeveralWeightsInOneCallGiveTheBitsOfSeparateCalls) {
  const size_t K = 256;
  const TestWeight q(DType::kQ4_K, 100, K, 1), k(DType::kQ6_K, 20, K, 2), v(DType::kF16, 1, K, 3);
  const Weight none("none", 0, K);
  const Weight* const weights[] = {&q.weight, &k.weight, &none, &v.weight};
  for (const size_t T : {size_t{0}, size_t{1}, size_t{2}, size_t{3}, size_t{17}}) {
    const Floats x(T * K);
    std::vector<float> yq(T * 100), yk(T * 20), yv(T);
    float* const outputs[] = {yq.data(), yk.data(), nullptr, yv.data()};
    MatMulMany(weights, x.data(), T, outputs);
    EXPECT_EQ(yq, Product(q.weight, x.data(), T));
    EXPECT_EQ(yk, Product(k.weight, x.data(), T));
    EXPECT_EQ(yv, Product(v.weight, x.data(), T));
  }
}

TEST_P(MatMulTest, ScalesOfEightBitFloatsApplyByTensorRowAndBlock) {
  struct Case {
    size_t N, K, block_out, block_in;
  };
  // One scale; one a row; blocks as in checkpoints; blocks that end inside vectors, slabs and rows.
  for (const Case& c : {Case{7, 100, 7, 100}, Case{7, 100, 1, 100}, Case{130, 300, 128, 128},
                        Case{9, 1100, 4, 24}, Case{3, 70, 2, 3}, Case{3, 17, 2, 1000}}) {
    for (const DType dtype : {DType::kF8E4M3, DType::kBF16}) {
      TestWeight w(dtype, c.N, c.K, 21);
      Weight::Scales scales;
      scales.block_out = c.block_out;
      scales.block_in = c.block_in;
      const size_t rows = (c.N + c.block_out - 1) / c.block_out,
                   cols = (c.K + c.block_in - 1) / c.block_in;
      scales.values = Tensor::F32({rows, cols});
      Random random(5);
      for (size_t i = 0; i < rows * cols; ++i)
        scales.values.f32()[i] = static_cast<float>(random.Uniform() + 0.1);
      w.weight.SetScales(std::move(scales));
      const Floats x(6 * c.K);
      const std::vector<float> y = Product(w.weight, x.data(), 6);
      ExpectNearReference(w.weight, x.data(), 6, y);
      const std::vector<float> first = Product(w.weight, x.data(), 1);
      EXPECT_EQ(std::memcmp(first.data(), y.data(), c.N * sizeof(float)), 0);
      const int32_t last = static_cast<int32_t>(c.N - 1);
      std::vector<float> got(c.K), expected(c.K);
      GatherRows(w.weight, {&last, 1}, got.data());
      w.weight.DequantizeRow(c.N - 1, expected.data());
      EXPECT_EQ(got, expected);
    }
  }
}

TEST_P(MatMulTest, EmptyShapesWriteNothingOrZeros) {
  const Weight no_rows("no rows", 0, 32), no_columns("no columns", 3, 0);
  const float x = 1;
  MatMul(no_rows, &x, 1, nullptr);
  MatMul(no_columns, nullptr, 0, nullptr);
  EXPECT_EQ(Product(no_columns, &x, 2), std::vector<float>(6, 0.0f));
  GatherRows(no_rows, {}, nullptr);
}

INSTANTIATE_TEST_SUITE_P(, MatMulTest, testing::ValuesIn(SimdLevels()),
                         [](const auto& param_info) { return param_info.param; });

}  // namespace
}  // namespace planish
