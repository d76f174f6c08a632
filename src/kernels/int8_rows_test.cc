// SPDX-License-Identifier: Apache-2.0
#include "kernels/int8_rows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/kernel_testing.h"

namespace planish {
namespace {

// Compares every entry of token t with the definition in the header.
void ExpectQuantised(const Int8Rows& rows, size_t t, const float* x, size_t K) {
  const Int8Panel panel = rows.panel(t / rows.height());
  const size_t i0 = t % rows.height();
  for (size_t g = 0; g < rows.groups(); ++g) {
    float amax = 0.0f;
    bool finite = true;
    for (size_t k = 32 * g; k < std::min(K, 32 * g + 32); ++k) {
      amax = std::max(amax, std::fabs(x[k]));
      finite &= std::isfinite(x[k]);
    }
    const size_t i = g * panel.height + i0;
    int sums[2] = {0, 0};
    for (size_t k = 0; k < 32; ++k) {
      int code = 0;
      if (finite && amax >= 0x1p-100f && 32 * g + k < K)
        code = static_cast<int>(std::nearbyint(x[32 * g + k] * (127.0f / amax)));
      ASSERT_EQ(panel.codes[32 * i + k], code) << "group " << g << " input " << k;
      sums[k / 16] += code;
    }
    if (!finite) {
      ASSERT_TRUE(std::isnan(panel.scales[i]));
      ASSERT_TRUE(std::isnan(panel.scaled_sums[i]));
    } else {
      ASSERT_EQ(panel.scales[i], amax < 0x1p-100f ? 0.0f : amax / 127.0f);
      ASSERT_EQ(panel.scaled_sums[i], panel.scales[i] * static_cast<float>(sums[0] + sums[1]));
    }
    ASSERT_EQ(panel.minus_8_sums[i], -8 * (sums[0] + sums[1]));
    ASSERT_EQ(panel.minus_128_sums[i], -128 * (sums[0] + sums[1]));
    for (size_t h = 0; h < 2; ++h)
      ASSERT_EQ(panel.minus_128_halves[(2 * g + h) * panel.height + i0], -128 * sums[h]);
  }
}

TEST(Int8Rows, CodesScalesAndSumsFollowTheDefinitionOnEveryLevel) {
  ForEachSimdLevel([] {
    Random random(1);
    for (const size_t T : {1, 2, 7, 16, 17, 33}) {
      for (const size_t K : {1, 31, 32, 33, 64, 100, 576}) {
        for (const size_t height : {size_t{1}, size_t{16}, T}) {
          const std::vector<float> x = RandomFloats(random, T * K + 1);
          Int8Rows rows;
          QuantizeRows(x.data() + 1, T, K, height, &rows);  // + 1: not aligned
          for (size_t t = 0; t < T; ++t) ExpectQuantised(rows, t, x.data() + 1 + t * K, K);
        }
      }
    }
  });
}

TEST(Int8Rows, TiesGoToTheEvenCode) {
  ForEachSimdLevel([] {
    std::vector<float> x(32, 0.0f);
    x[0] = 127.0f;  // scale 1
    x[1] = 0.5f;
    x[2] = 1.5f;
    x[3] = -0.5f;
    x[4] = -2.5f;
    x[5] = 3.5f;
    Int8Rows rows;
    QuantizeRows(x.data(), 1, 32, 1, &rows);
    const int8_t* codes = rows.panel(0).codes;
    EXPECT_EQ(codes[0], 127);
    EXPECT_EQ(codes[1], 0);
    EXPECT_EQ(codes[2], 2);
    EXPECT_EQ(codes[3], 0);
    EXPECT_EQ(codes[4], -2);
    EXPECT_EQ(codes[5], 4);
  });
}

TEST(Int8Rows, ZerosTinyHugeAndNonFiniteGroups) {
  ForEachSimdLevel([] {
    const float inf = std::numeric_limits<float>::infinity();
    for (const float v : {0.0f, -0.0f, 0x1p-101f, 0x1p-149f, 0x1p-100f, 3e38f, -3.4e38f, inf, -inf,
                          std::nanf("")}) {
      for (const size_t place : {0, 13, 31}) {
        std::vector<float> x(96, 1.0f);
        std::fill(x.begin() + 32, x.begin() + 64, 0.0f);
        x[32 + place] = v;
        Int8Rows rows;
        QuantizeRows(x.data(), 1, 96, 1, &rows);
        ExpectQuantised(rows, 0, x.data(), 96);
      }
    }
  });
}

TEST(Int8Rows, PaddingTokensAreZeroAlsoInReusedMemory) {
  Random random(2);
  const std::vector<float> x = RandomFloats(random, 32 * 64);
  Int8Rows rows;
  QuantizeRows(x.data(), 32, 64, 16, &rows);
  QuantizeRows(x.data(), 19, 64, 16, &rows);
  const Int8Panel panel = rows.panel(1);
  for (size_t g = 0; g < 2; ++g) {
    for (size_t t = 3; t < 16; ++t) {
      EXPECT_EQ(panel.scales[g * 16 + t], 0.0f);
      EXPECT_EQ(panel.scaled_sums[g * 16 + t], 0.0f);
      EXPECT_EQ(panel.minus_128_sums[g * 16 + t], 0);
      for (size_t k = 0; k < 32; ++k) EXPECT_EQ(panel.codes[(g * 16 + t) * 32 + k], 0);
    }
  }
}

}  // namespace
}  // namespace planish
