// SPDX-License-Identifier: Apache-2.0
#include "kernels/sample.h"

#include <limits>
#include <numeric>

#include "kernels/kernel_testing.h"
#include "kernels/reference.h"

namespace planish {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<int32_t> SlowTopK(const std::vector<float>& x, size_t k) {
  std::vector<int32_t> order(x.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    if (std::isnan(x[a]) || std::isnan(x[b])) return !std::isnan(x[a]) && std::isnan(x[b]);
    return x[a] > x[b];
  });
  order.resize(std::min(k, x.size()));
  return order;
}

TEST(Sample, TopKAndArgMaxMatchAStableSortWithTiesAndNan) {
  ForEachSimdLevel([] {
    Random random(12);
    for (size_t n : kTestSizes) {
      for (int kind = 0; kind < 4; ++kind) {
        auto x = RandomFloats(random, n);
        if (kind >= 1) {
          for (float& v : x) v = std::round(v * 2);  // many ties, both zeros
        }
        if (kind >= 2) {
          for (size_t i = 0; i < n; i += 1 + random.Below(4)) x[i] = kNan;
        }
        if (kind == 3) {
          for (size_t i = 0; i < n; i += 1 + random.Below(3)) x[i] = random.Below(2) ? -kInf : kInf;
        }
        for (size_t k : {size_t{0}, size_t{1}, size_t{2}, size_t{7}, n / 2, n, n + 3}) {
          ASSERT_EQ(TopK(x.data(), n, k), SlowTopK(x, k)) << "n " << n << " k " << k;
        }
        ASSERT_EQ(ArgMax(x.data(), n), static_cast<size_t>(SlowTopK(x, 1)[0])) << "n " << n;
      }
    }
  });
}

TEST(Sample, ArgMaxOfOnlyNanIsZeroAndOfMinusInfinityTheFirst) {
  ForEachSimdLevel([] {
    std::vector<float> x(37, kNan);
    EXPECT_EQ(ArgMax(x.data(), x.size()), 0u);
    x[20] = x[30] = -kInf;
    EXPECT_EQ(ArgMax(x.data(), x.size()), 20u);
  });
}

TEST(Sample, LogSumExpMatchesReferenceFarFromZeroToo) {
  ForEachSimdLevel([] {
    Random random(13);
    for (size_t n : kTestSizes) {
      for (double shift : {0.0, 1000.0, -1e6}) {
        auto x = RandomFloats(random, n, 5.0);
        for (float& v : x) v += static_cast<float>(shift);
        const double want = reference::LogSumExp(Widen(x).data(), n);
        // Each exponential is off by two roundings, and by that of its argument.
        const float largest = *std::max_element(x.begin(), x.end());
        double argument = 0;
        for (float v : x) argument += std::exp(v - want) * (largest - v);
        const double bound = (3 + argument) * kRoundoff + std::abs(want) * 0x1p-51;
        EXPECT_NEAR(LogSumExp(x.data(), n), want, bound) << "n " << n << " shift " << shift;
        const std::vector<int32_t> indices = {static_cast<int32_t>(n - 1), 0};
        double out[2];
        LogSoftmaxAt(x.data(), n, indices, out);
        EXPECT_NEAR(out[0], x[n - 1] - want, bound);
        EXPECT_NEAR(out[1], x[0] - want, bound);
      }
    }
  });
}

TEST(Sample, LogSumExpOfInfinitiesAndNan) {
  ForEachSimdLevel([] {
    for (size_t n : {1u, 5u, 40u}) {
      std::vector<float> x(n, -kInf);
      EXPECT_EQ(LogSumExp(x.data(), n), -kInf);
      x[n / 2] = 3.0f;
      EXPECT_EQ(LogSumExp(x.data(), n), 3.0);
      x[n - 1] = kInf;
      EXPECT_EQ(LogSumExp(x.data(), n), kInf);
      x[0] = kNan;
      EXPECT_TRUE(std::isnan(LogSumExp(x.data(), n)));
    }
  });
}

}  // namespace
}  // namespace planish
