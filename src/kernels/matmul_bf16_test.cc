// SPDX-License-Identifier: Apache-2.0
// Every level against double sums of rounded operands: products of bf16 numbers are exact in float, so K float additions are
// off by at most K Bf16Roundoff() sum |x w|.
#include "kernels/matmul_bf16.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/bf16_panels.h"
#include "kernels/isa.h"
#include "kernels/kernel_testing.h"
#include "kernels/matmul_testing.h"
#include "kernels/packed_weight.h"

namespace planish {
namespace {

double Rounded(float value) { return FloatFromBF16(BF16FromFloat(value)); }

std::vector<float> Product(const Weight& w, const float* x, size_t T) {
  std::vector<float> y(T * w.out(), -1e30f);
  const Weight* const weights[] = {&w};
  float* const outputs[] = {y.data()};
  MatMulBf16(weights, x, T, outputs);
  return y;
}

// `values`: [out, in], what the weight holds.
void ExpectNearReference(const std::vector<float>& values, size_t N, size_t K, const float* x,
                         size_t T, const std::vector<float>& y, const char* what) {
  std::vector<double> want(T * N), bound(T * N);
  for (size_t t = 0; t < T; ++t) {
    for (size_t n = 0; n < N; ++n) {
      double sum = 0, size = 0;
      for (size_t k = 0; k < K; ++k) {
        const float w = values[n * K + k];
        const double product = Rounded(x[t * K + k]) * (HasBf16Units() ? Rounded(w) : w);
        sum += product;
        size += std::abs(product);
      }
      want[t * N + n] = sum;
      bound[t * N + n] = static_cast<double>(K + 1) * (1.01 * Bf16Roundoff() * size + 0x1p-126);
    }
  }
  ExpectWithin(
      y.data(), want, [&](size_t i) { return bound[i]; }, what);
}

std::vector<float> Values(const Weight& w) {
  std::vector<float> values(w.out() * w.in());
  for (size_t n = 0; n < w.out(); ++n) w.DequantizeRow(n, values.data() + n * w.in());
  return values;
}

class MatMulBf16Test : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { LimitIsa(GetParam()); }
  void TearDown() override {
    LimitIsa("");
    SetThreadCount(0);
  }
};

TEST_P(MatMulBf16Test, MatchesDoubleSumsForEveryTypeAndAwkwardShapes) {
  for (const DType dtype : kTypes) {
    const size_t block = Traits(dtype).block_elems;
    // Row counts around panels, their pairs and fours; lengths around tiles and blocks of k.
    constexpr size_t kN[] = {1, 15, 16, 17, 33, 63, 65, 100};
    constexpr size_t kT[] = {1, 2, 16, 17, 31, 33, 50};
    const std::vector<size_t> lengths = block == 1
                                            ? std::vector<size_t>{1, 2, 3, 31, 33, 67, 511, 1090}
                                        : block == 32 ? std::vector<size_t>{32, 64, 480, 544, 1056}
                                                      : std::vector<size_t>{256, 512, 768, 1280};
    for (size_t i = 0; i < lengths.size(); ++i) {
      const size_t K = lengths[i], N = kN[(i + block) % std::size(kN)];
      const TestWeight w(dtype, N, K, K);
      for (const size_t T : {kT[i % std::size(kT)], kT[(i + 3) % std::size(kT)]}) {
        SCOPED_TRACE(testing::Message() << Name(dtype) << " [" << N << ", " << K << "] T=" << T);
        const Floats x(T * K, K + T);
        ExpectNearReference(Values(w.weight), N, K, x.data(), T, Product(w.weight, x.data(), T),
                            "y");
        if (HasFailure()) return;
      }
    }
  }
}

// What the packed view of a weight holds, by the formula of packed_weight.h.
std::vector<float> PackedValues(const Weight& w, const PackedFormat& format) {
  const auto* data = reinterpret_cast<const uint8_t*>(w.packed(kPackedLayout)->data.data());
  std::vector<float> values(w.out() * w.in());
  for (size_t n = 0; n < w.out(); ++n) {
    for (size_t k = 0; k < w.in(); ++k) {
      const size_t r = n % 16, i = k % 32;
      const uint8_t* group = data + (n / 16 * PackedGroups(w.in()) + k / 32) * format.group_bytes();
      const auto half = [&](size_t set) {
        uint16_t bits;
        std::memcpy(&bits, group + set * 32 + 2 * r, 2);
        return FloatFromF16(bits);
      };
      const float scale = half(format.scales_per_group == 2 ? i / 16 : 0);
      const uint8_t* codes = group + format.header_bytes();
      int code = 0;
      if (format.is_4bit)
        code = codes[i % 16 / 4 * 64 + 4 * r + i % 4] >> (i < 16 ? 0 : 4) & 15;
      else
        code = codes[i / 4 * 64 + 4 * r + i % 4];
      const int level = format.table != nullptr ? format.table[code] : code - format.zero;
      const float product = scale * static_cast<float>(level);  // exact
      values[n * w.in() + k] = format.has_min ? product - half(format.scales_per_group) : product;
    }
  }
  return values;
}

TEST_P(MatMulBf16Test, ReadsThePackedViewOfEveryTypeThatHasOne) {
  if (!HasBf16Units()) GTEST_SKIP() << "the float product reads the canonical data";
  size_t packed_types = 0;
  for (const DType dtype : kTypes) {
    PackedFormat format;
    if (!PackedFormatOf(dtype, &format)) continue;
    for (const size_t N : {size_t{1}, size_t{16}, size_t{33}, size_t{70}}) {
      for (const size_t K : {size_t{256}, size_t{768}}) {
        TestWeight w(dtype, N, K, N + K);
        if (!PackWeight(&w.weight)) continue;  // random scales may not fit
        ++packed_types;
        SCOPED_TRACE(testing::Message() << Name(dtype) << " [" << N << ", " << K << "]");
        const size_t T = N % 40 + 1;
        const Floats x(T * K, 3);
        const std::vector<float> y = Product(w.weight, x.data(), T);
        ExpectNearReference(PackedValues(w.weight, format), N, K, x.data(), T, y, "y");
        // Values in float are exact but for a minimum's, so types without one give the canonical bits.
        if (dtype == DType::kQ4_0 || dtype == DType::kQ8_0 || dtype == DType::kQ4_1) {
          const TestWeight same(dtype, N, K, N + K);
          EXPECT_EQ(y, Product(same.weight, x.data(), T));
        }
        if (HasFailure()) return;
      }
    }
  }
  EXPECT_GE(packed_types, 20u);
}

TEST_P(MatMulBf16Test, RowsDoNotDependOnTheBatchOrTheThreads) {
  constexpr size_t kMaxT = 600, N = 300;  // two chunks of tokens, several tasks of rows
  for (const DType dtype : {DType::kBF16, DType::kF32, DType::kQ4_0, DType::kF8E4M3}) {
    const size_t K = 576;  // two blocks of k
    const TestWeight w(dtype, N, K, 5);
    const Floats x(kMaxT * K);
    SetThreadCount(1);
    std::vector<float> alone;
    for (size_t t = 0; t < kMaxT; ++t) {
      // Every level gives equal rows; one at a time is slow, so sixteen represent the rest there.
      if (!HasBf16Units() && t >= 16) break;
      const std::vector<float> y = Product(w.weight, x.data() + t * K, 1);
      alone.insert(alone.end(), y.begin(), y.end());
    }
    for (const int threads : {1, 2, 3}) {
      SetThreadCount(threads);
      for (const size_t T : {size_t{2}, size_t{7}, size_t{15}, size_t{16}, size_t{17}, size_t{31},
                             size_t{32}, size_t{33}, size_t{48}, size_t{65}, size_t{255},
                             size_t{511}, size_t{512}, size_t{513}, kMaxT}) {
        const std::vector<float> y = Product(w.weight, x.data(), T);
        const size_t bytes = std::min(y.size(), alone.size()) * sizeof(float);
        ASSERT_EQ(std::memcmp(y.data(), alone.data(), bytes), 0)
            << Name(dtype) << " T=" << T << " threads=" << threads;
      }
    }
  }
}

TEST_P(MatMulBf16Test, EveryTokenCountUpTo600GivesTheSameRows) {
  constexpr size_t kMaxT = 600, N = 17, K = 33;
  const TestWeight w(DType::kBF16, N, K, 5);
  const Floats x(kMaxT * K);
  const std::vector<float> all = Product(w.weight, x.data(), kMaxT);
  for (size_t T = 1; T < kMaxT; ++T) {
    const size_t first = kMaxT - T;
    const std::vector<float> y = Product(w.weight, x.data() + first * K, T);
    ASSERT_EQ(std::memcmp(y.data(), all.data() + first * N, y.size() * sizeof(float)), 0) << T;
  }
}

TEST_P(MatMulBf16Test, SeveralWeightsInOneCallGiveTheBitsOfSeparateCalls) {
  const size_t K = 256;
  const TestWeight q(DType::kQ4_K, 100, K, 1), k(DType::kBF16, 20, K, 2), v(DType::kF16, 1, K, 3);
  const Weight none("none", 0, K);
  const Weight* const weights[] = {&q.weight, &k.weight, &none, &v.weight};
  for (const size_t T : {size_t{0}, size_t{1}, size_t{17}}) {
    const Floats x(T * K);
    std::vector<float> yq(T * 100), yk(T * 20), yv(T);
    float* const outputs[] = {yq.data(), yk.data(), nullptr, yv.data()};
    MatMulBf16(weights, x.data(), T, outputs);
    EXPECT_EQ(yq, Product(q.weight, x.data(), T));
    EXPECT_EQ(yk, Product(k.weight, x.data(), T));
    EXPECT_EQ(yv, Product(v.weight, x.data(), T));
  }
}

TEST_P(MatMulBf16Test, ScalesOfEightBitFloatsApplyBeforeTheRounding) {
  TestWeight w(DType::kF8E4M3, 40, 600, 21);
  Weight::Scales scales;
  scales.block_out = 16;
  scales.block_in = 24;
  scales.values = Tensor::F32({3, 25});
  for (size_t i = 0; i < 75; ++i) scales.values.f32()[i] = 0.1f + 0.01f * static_cast<float>(i);
  w.weight.SetScales(std::move(scales));
  const Floats x(20 * 600);
  ExpectNearReference(Values(w.weight), 40, 600, x.data(), 20, Product(w.weight, x.data(), 20),
                      "y");
}

TEST_P(MatMulBf16Test, NanAndInfinityOfATokenOrAWeightReachTheirSumsOnly) {
  constexpr size_t kT = 20, N = 40, K = 50;
  Weight w("w", N, K, DType::kF32);
  auto* values = reinterpret_cast<float*>(w.mutable_data());
  std::fill_n(values, N * K, 0.5f);
  values[33 * K + 49] = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> x(kT * K, 1.0f);
  x[18 * K] = std::numeric_limits<float>::infinity();
  const std::vector<float> y = Product(w, x.data(), kT);
  for (size_t t = 0; t < kT; ++t) {
    for (size_t n = 0; n < N; ++n) {
      if (n == 33)
        EXPECT_TRUE(std::isnan(y[t * N + n]));
      else
        EXPECT_EQ(y[t * N + n], t == 18 ? std::numeric_limits<float>::infinity() : 25.0f);
    }
  }
}

TEST_P(MatMulBf16Test, EmptyShapesWriteNothingOrZeros) {
  const Weight no_rows("no rows", 0, 32), no_columns("no columns", 3, 0);
  const float x = 1;
  EXPECT_TRUE(Product(no_rows, &x, 0).empty());
  EXPECT_EQ(Product(no_columns, &x, 2), std::vector<float>(6, 0.0f));
}

// The levels with bf16 units, and the best one without.
std::vector<std::string> Levels() {
  std::vector<std::string> levels = {SimdLevels().back()};
  for (const std::string& level : IsaLevels())
    if (level == "bf16" || level == "amx") levels.push_back(level);
  return levels;
}

INSTANTIATE_TEST_SUITE_P(, MatMulBf16Test, testing::ValuesIn(Levels()),
                         [](const auto& param_info) { return param_info.param; });

}  // namespace
}  // namespace planish
