// SPDX-License-Identifier: Apache-2.0
#include "compress/least_squares.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "compress/compress_testing.h"

namespace planish {
namespace {

std::vector<float> Normals(size_t n, uint64_t seed) {
  Random random(seed);
  std::vector<float> values(n);
  for (float& value : values) value = static_cast<float>(random.Normal());
  return values;
}

TEST(LeastSquares, CholeskyFactorTimesItsTransposeIsTheMatrix) {
  for (const size_t n : {1, 2, 3, 7, 8, 9, 31, 64, 97}) {
    const std::vector<float> b = Normals(n * (n + 3), n);
    std::vector<double> a(n * n);
    for (size_t i = 0; i < n; ++i)
      for (size_t j = 0; j < n; ++j)
        for (size_t k = 0; k < n + 3; ++k)
          a[i * n + j] += double{b[i * (n + 3) + k]} * b[j * (n + 3) + k];
    std::vector<double> factor = a;
    ASSERT_TRUE(CholeskyInPlace(n, factor.data())) << n;
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j <= i; ++j) {
        double sum = 0;
        for (size_t k = 0; k <= j; ++k) sum += factor[i * n + k] * factor[j * n + k];
        // Each product is exact to eps, and row i has |L|^2 summing to A_ii.
        const double bound =
            4.0 * static_cast<double>(n + 1) * 2.3e-16 * std::sqrt(a[i * n + i] * a[j * n + j]);
        EXPECT_NEAR(sum, a[i * n + j], bound) << n << " " << i << " " << j;
      }
    }
  }
}

TEST(LeastSquares, AMatrixThatIsNotPositiveDefiniteIsRefused) {
  std::vector<double> a = {1, 0, 2, 1};  // eigenvalues -1 and 3
  EXPECT_FALSE(CholeskyInPlace(2, a.data()));
  std::vector<double> infinite = {INFINITY};
  EXPECT_FALSE(CholeskyInPlace(1, infinite.data()));
}

TEST(LeastSquares, FindsTheMatrixThatMadeTheOutputs) {
  const size_t T = 301, in = 13, out = 7;
  const std::vector<float> x = Normals(T * in, 1), w = Normals(out * in, 2);
  std::vector<float> y(T * out);
  for (size_t t = 0; t < T; ++t)
    for (size_t o = 0; o < out; ++o) {
      double sum = 0;
      for (size_t i = 0; i < in; ++i) sum += double{w[o * in + i]} * x[t * in + i];
      y[t * out + o] = static_cast<float>(sum);
    }
  constexpr double kRidge = 1e-6;
  const std::vector<float> found = RidgeMatrix(x.data(), y.data(), T, in, out, kRidge);
  // The ridge shrinks W by lambda over the smallest eigenvalue of the Gram matrix, which for so many normal rows is above half
  // its mean; float products of the Gram matrix err by eps sqrt(T) relative.
  for (size_t i = 0; i < w.size(); ++i)
    EXPECT_NEAR(found[i], w[i], 10 * (2 * kRidge + 6e-8 * std::sqrt(T)));
}

TEST(LeastSquares, ZeroInputsGiveAZeroMatrixAndThreadsChangeNoBit) {
  const std::vector<float> zeros(20 * 3);
  const std::vector<float> y = Normals(20 * 3, 3);
  for (const float value : RidgeMatrix(zeros.data(), y.data(), 20, 3, 3, 0.1)) EXPECT_EQ(value, 0);
  const std::vector<float> x = Normals(300 * 40, 4), z = Normals(300 * 40, 5);
  std::vector<float> one;
  {
    const testing::Threads threads(1);
    one = RidgeMatrix(x.data(), z.data(), 300, 40, 40, 0.01);
  }
  const testing::Threads threads(2);
  EXPECT_EQ(RidgeMatrix(x.data(), z.data(), 300, 40, 40, 0.01), one);
}

}  // namespace
}  // namespace planish
