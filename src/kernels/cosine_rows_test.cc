// SPDX-License-Identifier: Apache-2.0
#include "kernels/cosine_rows.h"

#include "kernels/kernel_testing.h"

namespace planish {
namespace {

void ExpectRows(size_t T, size_t D) {
  SCOPED_TRACE(testing::Message() << T << " x " << D);
  Random random(T * 100 + D);
  const std::vector<float> a = RandomFloats(random, T * D + 1), b = RandomFloats(random, T * D + 1);
  std::vector<uint8_t> mask(T, 1);
  if (T > 2) mask[1] = 0;
  constexpr double kWeight = 0.7;
  std::vector<float> da(T * D + 1, 0.5f);
  std::vector<double> losses(T, -1), want(T), gradient(T * D, 0.5), bound(T * D, kRoundoff);
  CosineRows(a.data() + 1, b.data() + 1, mask.data(), T, D, kWeight, losses.data(), da.data() + 1);
  const double relative = static_cast<double>(D + 8) * kRoundoff;
  for (size_t t = 0; t < T; ++t) {
    double ab = 0, aa = 0, bb = 0, size = 0;
    for (size_t i = 0; i < D; ++i) {
      const double x = a[1 + t * D + i], y = b[1 + t * D + i];
      ab += x * y;
      aa += x * x;
      bb += y * y;
      size += std::abs(x * y);
    }
    const double norms = std::sqrt(aa * bb);
    want[t] = mask[t] == 0 ? 0 : 1 - ab / norms;
    EXPECT_NEAR(losses[t], want[t], 3 * relative * size / norms);
    for (size_t i = 0; i < D && mask[t] != 0; ++i) {
      const double x = a[1 + t * D + i], y = b[1 + t * D + i];
      const double change = kWeight * (ab * x / aa - y) / norms;
      gradient[t * D + i] += change;
      bound[t * D + i] += 4 * relative * kWeight * (size * std::abs(x) / aa + std::abs(y)) / norms +
                          kRoundoff * std::abs(gradient[t * D + i]);
    }
  }
  ExpectWithin(
      da.data() + 1, gradient, [&](size_t i) { return bound[i]; }, "da");
}

TEST(CosineRows, LossAndGradientMatchTheFormulaAtEveryLevel) {
  ForEachSimdLevel([] {
    for (const size_t D : kTestSizes) ExpectRows(3, D);
    ExpectRows(0, 8);
  });
}

TEST(CosineRows, ARowOfZerosHasNoGradientAndItsOwnReferenceNoLoss) {
  std::vector<float> a(20, 0.0f), da(20, 1.0f);
  std::vector<float> b(20, 2.0f);
  for (size_t i = 10; i < 20; ++i) a[i] = 2;
  double losses[2];
  CosineRows(a.data(), b.data(), nullptr, 2, 10, 1, losses, da.data());
  EXPECT_EQ(losses[0], 1);
  EXPECT_NEAR(losses[1], 0, 20 * kRoundoff);
  for (size_t i = 0; i < 10; ++i) EXPECT_EQ(da[i], 1);
}

TEST(CosineRows, ThreadsChangeNoBit) {
  Random random(3);
  constexpr size_t T = 300, D = 129;
  const std::vector<float> a = RandomFloats(random, T * D), b = RandomFloats(random, T * D);
  std::vector<float> first;
  for (const int threads : {1, 2, 3}) {
    const ThreadCountScope scope(threads);
    std::vector<float> da(T * D, 0.0f);
    std::vector<double> losses(T);
    CosineRows(a.data(), b.data(), nullptr, T, D, 1, losses.data(), da.data());
    if (threads == 1) first = da;
    ExpectSameBits(da, first, "da");
  }
}

}  // namespace
}  // namespace planish
