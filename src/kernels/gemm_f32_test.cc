// SPDX-License-Identifier: Apache-2.0
// The float products of training against double sums: |error| <= (K + 1) 2^-24 (|C| + sum_k |a b|), which holds for any order.
#include "kernels/gemm_f32.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/kernel_testing.h"

namespace planish {
namespace {

// An [R, K] matrix stored either way, at an unaligned address, rows apart.
struct Operand {
  Operand(size_t R, size_t K, bool is_transposed, uint64_t seed) {
    Random random(seed);
    const size_t stride = (is_transposed ? R : K) + 3;
    values = RandomFloats(random, (is_transposed ? K : R) * stride + 1);
    source = {values.data() + 1, stride, DType::kF32, is_transposed};
  }
  double At(size_t r, size_t k) const { return *static_cast<const float*>(source.At(r, k).data); }
  std::vector<float> values;
  PanelSource source;
};

void ExpectProduct(size_t M, size_t N, size_t K, bool a_transposed, bool b_transposed,
                   bool accumulate) {
  SCOPED_TRACE(testing::Message() << M << " x " << N << " x " << K << " transposed " << a_transposed
                                  << b_transposed << " accumulate " << accumulate);
  const Operand a(M, K, a_transposed, M), b(N, K, b_transposed, N + 100);
  const size_t stride = N + 5;
  std::vector<float> c(M * stride, 2.5f);
  GemmF32(a.source, b.source, M, N, K, accumulate, c.data(), stride);
  std::vector<double> want(c.size(), 2.5), bound(c.size(), 0);
  for (size_t m = 0; m < M; ++m) {
    for (size_t n = 0; n < N; ++n) {
      double sum = accumulate ? 2.5 : 0, size = sum;
      for (size_t k = 0; k < K; ++k) {
        sum += a.At(m, k) * b.At(n, k);
        size += std::abs(a.At(m, k) * b.At(n, k));
      }
      want[m * stride + n] = sum;
      bound[m * stride + n] = static_cast<double>(K + 1) * 1.01 * kRoundoff * size;
    }
  }
  ExpectWithin(
      c.data(), want, [&](size_t i) { return bound[i]; }, "c");
}

TEST(GemmF32, AllStoragesOfOddSizesMatchDoubleSumsAtEveryLevel) {
  constexpr size_t kSizes[][3] = {{1, 1, 1},   {2, 3, 5},     {4, 13, 4},   {11, 31, 7},
                                  {12, 32, 8}, {13, 33, 257}, {67, 97, 61}, {193, 17, 300}};
  ForEachSimdLevel([&] {
    for (const auto& [M, N, K] : kSizes)
      for (const int kind : {0, 1, 2, 3, 4, 5, 6, 7})
        ExpectProduct(M, N, K, (kind & 1) != 0, (kind & 2) != 0, (kind & 4) != 0);
  });
}

TEST(GemmF32, SeveralChunksOfColumnsAndDepthAddUp) {
  ExpectProduct(5, 1550, 130, false, false, false);
  ExpectProduct(7, 9, 4100, false, true, false);
  ExpectProduct(7, 9, 2060, true, true, true);
}

// An element is the same in a product of one row and one column, on any threads and in any storage.
TEST(GemmF32, AnElementDoesNotKnowTheOtherRowsNorTheThreads) {
  constexpr size_t M = 200, N = 450, K = 2100;
  const Operand a(M, K, false, 1), b(N, K, false, 2);
  std::vector<float> first;
  for (const int threads : {1, 2, 3}) {
    const ThreadCountScope scope(threads);
    std::vector<float> c(M * N, 1.0f);
    GemmF32(a.source, b.source, M, N, K, /*accumulate=*/true, c.data(), N);
    if (threads == 1) first = c;
    ExpectSameBits(c, first, "c");
  }
  for (const size_t m : {size_t{0}, size_t{37}, M - 1}) {
    for (const size_t n : {size_t{0}, size_t{385}, N - 1}) {
      float one = 1.0f;
      GemmF32(a.source.At(m, 0), b.source.At(n, 0), 1, 1, K, /*accumulate=*/true, &one, 1);
      EXPECT_EQ(one, first[m * N + n]) << m << " " << n;
    }
  }
  std::vector<float> flipped(K * M);
  for (size_t m = 0; m < M; ++m)
    for (size_t k = 0; k < K; ++k) flipped[k * M + m] = static_cast<float>(a.At(m, k));
  std::vector<float> c(M * N, 1.0f);
  GemmF32({flipped.data(), M, DType::kF32, true}, b.source, M, N, K, /*accumulate=*/true, c.data(),
          N);
  ExpectSameBits(c, first, "transposed storage");
}

TEST(GemmF32, NothingBetweenTheRowsOfCIsWritten) {
  constexpr size_t M = 14, N = 35, K = 9, kStride = 40;
  const Operand a(M, K, false, 1), b(N, K, true, 2);
  std::vector<float> c(M * kStride, 77.0f);
  GemmF32(a.source, b.source, M, N, K, /*accumulate=*/false, c.data(), kStride);
  for (size_t m = 0; m < M; ++m)
    for (size_t n = N; n < kStride; ++n) ASSERT_EQ(c[m * kStride + n], 77.0f) << m << " " << n;
}

TEST(GemmF32, AnEmptySumIsZeroOrAddsNothing) {
  float c[4] = {1, 2, 3, 4};
  GemmF32({}, {}, 2, 2, 0, /*accumulate=*/true, c, 2);
  EXPECT_EQ(c[3], 4);
  GemmF32({}, {}, 2, 2, 0, /*accumulate=*/false, c, 2);
  EXPECT_EQ(c[3], 0);
  GemmF32({}, {}, 0, 2, 3, /*accumulate=*/false, nullptr, 2);
  GemmF32({}, {}, 2, 0, 3, /*accumulate=*/false, nullptr, 0);
}

}  // namespace
}  // namespace planish
