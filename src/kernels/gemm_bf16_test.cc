// SPDX-License-Identifier: Apache-2.0
// The three products of training against double sums of rounded operands (bound as in bf16_panels_test.cc).
#include "kernels/gemm_bf16.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "base/memory.h"
#include "kernels/isa.h"
#include "kernels/kernel_testing.h"

namespace planish {
namespace {

struct Operand {
  Operand(size_t R, size_t K, bool is_transposed, uint64_t seed) {
    Random random(seed);
    const size_t stride = (is_transposed ? R : K) + 5;
    values = RandomFloats(random, (is_transposed ? K : R) * stride);
    source = {values.data(), stride, DType::kF32, is_transposed};
  }
  double At(size_t r, size_t k) const {
    const float* value = static_cast<const float*>(source.At(r, k).data);
    return FloatFromBF16(BF16FromFloat(*value));
  }
  std::vector<float> values;
  PanelSource source;
};

class GemmBf16Test : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { LimitIsa(GetParam()); }
  void TearDown() override {
    LimitIsa("");
    SetThreadCount(0);
  }
};

TEST_P(GemmBf16Test, ForwardAndBothBackwardProductsMatchDoubleSumsOnAnyThreads) {
  constexpr size_t kSizes[][3] = {{1, 1, 1},     {33, 65, 517},  {530, 40, 70},
                                  {20, 300, 33}, {258, 130, 33}, {258, 33, 520}};
  for (const auto& [M, N, K] : kSizes) {
    for (const int transposed : {0, 1, 2, 3}) {
      for (const bool accumulate : {false, true}) {
        SCOPED_TRACE(testing::Message() << M << " x " << N << " x " << K << " transposed "
                                        << transposed << " accumulate " << accumulate);
        const Operand a(M, K, (transposed & 1) != 0, M), b(N, K, (transposed & 2) != 0, N + 1);
        const size_t stride = N + 3;
        const std::vector<float> before(M * stride, 2.5f);
        std::vector<float> first;
        for (const int threads : {1, 2, 3}) {
          SetThreadCount(threads);
          std::vector<float> c = before;
          GemmBf16(a.source, b.source, M, N, K, accumulate, c.data(), stride);
          if (threads == 1) first = c;
          ExpectSameBits(c, first, "c");
          if (accumulate) continue;
          std::vector<float> taken = before;
          GemmBf16ToSink(a.source, b.source, M, N, K, [&](const ProductBlock& block) {
            for (size_t r = 0; r < block.rows; ++r)
              std::copy_n(block.values + r * block.stride, block.columns,
                          &taken[(block.row + r) * stride + block.column]);
          });
          ExpectSameBits(taken, first, "taken by a sink");
        }
        std::vector<double> want(M * stride, 2.5), bound(M * stride, 0);
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
            first.data(), want, [&](size_t i) { return bound[i]; }, "c");
        if (HasFailure()) return;
      }
    }
  }
}

// A large C with aligned rows is written past the caches, whole lines of it only.
TEST_P(GemmBf16Test, LargeOutputsHoldTheBitsOfSmallOnesAndNothingElseIsWritten) {
  constexpr size_t M = 512, N = 1035, K = 40;
  const Operand a(M, K, false, 1), b(N, K, false, 2);
  for (const size_t stride : {size_t{1040}, size_t{1041}}) {  // rows aligned and not
    AlignedBuffer memory(M * stride * sizeof(float));
    const std::span<float> c(reinterpret_cast<float*>(memory.data()), M * stride);
    std::fill(c.begin(), c.end(), 77.0f);
    GemmBf16(a.source, b.source, M, N, K, /*accumulate=*/false, c.data(), stride);
    for (size_t m = 0; m < M; m += 73) {
      std::vector<float> row(N);
      GemmBf16(a.source.At(m, 0), b.source, 1, N, K, /*accumulate=*/false, row.data(), N);
      ExpectSameBits({c.data() + m * stride, c.data() + m * stride + N}, row, "row");
    }
    for (size_t m = 0; m < M; ++m)
      for (size_t n = N; n < stride; ++n) ASSERT_EQ(c[m * stride + n], 77.0f) << m << " " << n;
  }
}

// More rows than one pass takes: both operands are packed beforehand and tasks are cut otherwise.
TEST_P(GemmBf16Test, ManyRowsHoldTheBitsOfSingleOnes) {
  constexpr size_t M = 530, N = 560, K = 530;
  for (const int kind : {0, 3, 5, 6}) {
    const bool accumulate = (kind & 4) != 0;
    const Operand a(M, K, (kind & 1) != 0, 1), b(N, K, (kind & 2) != 0, 2);
    AlignedBuffer memory(M * N * sizeof(float));
    const std::span<float> c(reinterpret_cast<float*>(memory.data()), M * N);
    std::fill(c.begin(), c.end(), 3.0f);
    GemmBf16(a.source, b.source, M, N, K, accumulate, c.data(), N);
    for (size_t m = 0; m < M; m += 107) {
      std::vector<float> row(N, 3.0f);
      GemmBf16(a.source.At(m, 0), b.source, 1, N, K, accumulate, row.data(), N);
      ExpectSameBits({c.data() + m * N, c.data() + (m + 1) * N}, row, "row");
    }
  }
}

TEST_P(GemmBf16Test, AnEmptySumIsZeroOrAddsNothing) {
  float c[4] = {1, 2, 3, 4};
  GemmBf16({}, {}, 2, 2, 0, /*accumulate=*/true, c, 2);
  EXPECT_EQ(c[3], 4);
  GemmBf16({}, {}, 2, 2, 0, /*accumulate=*/false, c, 2);
  EXPECT_EQ(c[3], 0);
}

std::vector<std::string> Levels() {
  std::vector<std::string> levels = {SimdLevels().back()};
  for (const std::string& level : IsaLevels())
    if (level == "bf16" || level == "amx") levels.push_back(level);
  return levels;
}

INSTANTIATE_TEST_SUITE_P(, GemmBf16Test, testing::ValuesIn(Levels()),
                         [](const auto& param_info) { return param_info.param; });

}  // namespace
}  // namespace planish
