// SPDX-License-Identifier: Apache-2.0
#include "kernels/matmul_int8.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/int8_rows.h"
#include "kernels/isa.h"
#include "kernels/kernel_testing.h"
#include "kernels/packed_testing.h"
#include "kernels/packed_weight.h"

namespace planish {
namespace {

// Every level of this CPU in turn, the best one again afterwards.
template <class Body>
void ForEachLevel(const Body& body) {
  const std::vector<std::string> levels = IsaLevels();
  for (const std::string& level : levels) {
    LimitIsa(level);
    SCOPED_TRACE(level);
    body();
    LimitIsa("");
    if (::testing::Test::HasFailure()) return;
  }
}

Weight Packed(DType dtype, size_t out, size_t in, uint64_t seed) {
  Weight w = RandomPackable(dtype, out, in, seed);
  EXPECT_TRUE(PackWeight(&w));
  return w;
}

std::vector<float> Product(const Weight& w, const float* x, size_t T) {
  std::vector<float> y(T * w.out(), -1e30f);
  const Weight* ws[] = {&w};
  float* ys[] = {y.data()};
  MatMulInt8(ws, x, T, ys);
  return y;
}

// Against sums in double over the dequantised weights and the dequantised activations. Errors: the K types' scales and minima
// are off by 2^-11 (relatively); each group adds at most three roundings of a partial sum, scales_w * scale_x and scaled_sum
// one each, DequantizeRow three; all relative to the sum of magnitudes, where the magnitude of a weight is
// |scale| * |code - zero| + |minimum|, which the value itself may have cancelled: taken from a group's largest.
void ExpectNearReference(const Weight& w, const float* x, size_t T, const std::vector<float>& y) {
  const size_t N = w.out(), K = w.in();
  Int8Rows rows;
  QuantizeRows(x, T, K, 1, &rows);
  const bool has_min = w.dtype() == DType::kQ4_1 || w.dtype() == DType::kQ5_1 ||
                       w.dtype() == DType::kQ4_K || w.dtype() == DType::kQ5_K;
  const bool is_rounded = Traits(w.dtype()).block_elems == 256;
  const double groups = static_cast<double>(K) / 32;
  const double unit = (3 * groups + 6) * kRoundoff + (is_rounded ? 0x1p-11 : 0);
  std::vector<float> row(K);
  for (size_t n = 0; n < N; ++n) {
    w.DequantizeRow(n, row.data());
    for (size_t t = 0; t < T; ++t) {
      const Int8Panel panel = rows.panel(t);
      double want = 0, magnitude = 0;
      for (size_t g = 0; g < K / 32; ++g) {
        double low = row[32 * g], high = low;
        for (size_t k = 0; k < 32; ++k) {
          const double v = row[32 * g + k];
          const double a = static_cast<double>(panel.scales[g]) * panel.codes[32 * g + k];
          want += v * a;
          low = std::min(low, v);
          high = std::max(high, v);
        }
        // Codes span at most [0, 31] where there is a minimum: |minimum| and scale * code are at most the largest value and
        // twice the span (random codes reach at least half of it in 32 draws; the test's seed is fixed).
        const double per_weight =
            std::max(std::abs(low), std::abs(high)) + (has_min ? 4 * (high - low) : 0);
        for (size_t k = 0; k < 32; ++k)
          magnitude += per_weight * panel.scales[g] * std::abs(panel.codes[32 * g + k]);
      }
      ASSERT_LE(std::abs(y[t * N + n] - want), unit * magnitude)
          << "row " << n << " token " << t << ": " << y[t * N + n] << ", want " << want;
    }
  }
}

constexpr size_t kTokenCounts[] = {1, 2, 3, 7, 8, 9, 16, 31, 33, 64, 100};

TEST(MatMulInt8, EveryTypeAndLevelMatchesTheReference) {
  const ThreadCountScope scope(1);
  for (const DType dtype : kPackedTypes) {
    SCOPED_TRACE(Name(dtype));
    const size_t block = Traits(dtype).block_elems;
    // Odd numbers of groups; more than one slab of the tile kernels.
    for (const size_t K : {block, 3 * block, size_t{768}}) {
      for (const size_t N : {1, 15, 16, 17, 33, 67}) {
        const Weight w = Packed(dtype, N, K, 21);
        Random random(5);
        const std::vector<float> x = RandomFloats(random, 100 * K + 1);
        std::vector<float> first;
        ForEachLevel([&] {
          for (const size_t T : kTokenCounts) {
            const std::vector<float> y = Product(w, x.data() + 1, T);
            // T = 100 is checked once against the reference; all else has the bits of its rows.
            if (first.empty()) {
              first = Product(w, x.data() + 1, 100);
              ExpectNearReference(w, x.data() + 1, 100, first);
            }
            ExpectSameBits(y, {first.begin(), first.begin() + static_cast<ptrdiff_t>(T * N)}, "y");
          }
        });
        if (HasFailure()) return;
      }
    }
  }
}

TEST(MatMulInt8, ManyWeightsThreadsAndLargeBatchesKeepTheBits) {
  constexpr size_t kK = 1536;
  const Weight a = Packed(DType::kQ4_K, 700, kK, 1), b = Packed(DType::kQ6_K, 130, kK, 2),
               c = Packed(DType::kQ4_0, 17, kK, 3);
  const Weight* ws[] = {&a, &b, &c};
  Random random(9);
  const std::vector<float> x = RandomFloats(random, 1100 * kK);
  ForEachLevel([&] {
    if (IsaName() == "scalar") return;  // minutes
    for (const size_t T : {1, 8, 40, 300, 1100}) {
      std::vector<float> ya(T * a.out()), yb(T * b.out()), yc(T * c.out());
      float* ys[] = {ya.data(), yb.data(), yc.data()};
      {
        const ThreadCountScope scope(3);
        MatMulInt8(ws, x.data(), T, ys);
      }
      const ThreadCountScope scope(1);
      for (const size_t t : {size_t{0}, T / 2, T - 1}) {
        const float* row = x.data() + t * kK;
        const auto part = [t](const std::vector<float>& y, size_t n) {
          const auto begin = y.begin() + static_cast<ptrdiff_t>(t * n);
          return std::vector<float>(begin, begin + static_cast<ptrdiff_t>(n));
        };
        ExpectSameBits(part(ya, a.out()), Product(a, row, 1), "a");
        ExpectSameBits(part(yb, b.out()), Product(b, row, 1), "b");
        ExpectSameBits(part(yc, c.out()), Product(c, row, 1), "c");
      }
    }
  });
}

TEST(MatMulInt8, NonFiniteRowsGiveNanAndLeaveTheirNeighboursAlone) {
  constexpr size_t kK = 256, kN = 40;
  for (const DType dtype : kPackedTypes) {
    SCOPED_TRACE(Name(dtype));
    const Weight w = Packed(dtype, kN, kK, 4);
    Random random(6);
    for (const size_t T : {2, 20}) {
      const std::vector<float> good = RandomFloats(random, T * kK);
      const std::vector<float> want = Product(w, good.data(), T);
      for (const float bad : {std::numeric_limits<float>::infinity(), std::nanf("")}) {
        std::vector<float> x = good;
        x[kK + 77] = bad;
        ForEachLevel([&] {
          const std::vector<float> y = Product(w, x.data(), T);
          for (size_t i = 0; i < y.size(); ++i) {
            if (i / kN == 1)
              ASSERT_TRUE(std::isnan(y[i])) << i;
            else
              ASSERT_EQ(y[i], want[i]) << i;
          }
        });
      }
    }
  }
}

TEST(MatMulInt8, ZeroRowsGiveZeroAndNothingComesOfNothing) {
  for (const DType dtype : kPackedTypes) {
    const Weight w = Packed(dtype, 20, 256, 4);
    ForEachLevel([&] {
      for (const size_t T : {1, 12}) {
        const std::vector<float> x(T * 256, 0.0f);
        for (const float v : Product(w, x.data(), T)) ASSERT_EQ(v, 0.0f) << Name(dtype);
      }
      EXPECT_TRUE(Product(w, nullptr, 0).empty());
    });
  }
  MatMulInt8({}, nullptr, 3, {});
}

// The codes with the largest sums: where narrow integers would saturate or wrap.
TEST(MatMulInt8, ExtremeCodesNeitherSaturateNorWrap) {
  for (const DType dtype : kPackedTypes) {
    SCOPED_TRACE(Name(dtype));
    for (const uint8_t fill : {0x00, 0x7F, 0x80, 0xFF}) {
      Weight w = RandomPackable(dtype, 16, 256, 8);
      auto* data = reinterpret_cast<uint8_t*>(w.mutable_data());
      std::memset(data, fill, w.bytes());
      const uint16_t half = F16FromFloat(0.0078125f);
      for (size_t block = 0; block < w.bytes(); block += Traits(dtype).block_bytes) {
        for (const size_t offset : HalfOffsets(dtype)) std::memcpy(data + block + offset, &half, 2);
        if (dtype == DType::kMXFP4) data[block] = 120;
      }
      ASSERT_TRUE(PackWeight(&w));
      for (const float sign : {1.0f, -1.0f}) {
        const std::vector<float> x(9 * 256, sign * 127.0f);
        std::vector<float> row(256);
        w.DequantizeRow(0, row.data());
        double want = 0, magnitude = 0;
        for (const float v : row) {
          want += v * static_cast<double>(x[0]);
          magnitude += std::abs(static_cast<double>(v) * x[0]);
        }
        // Minima and codes may cancel: their magnitudes are at most 63 * 0.0078125 * 33.
        magnitude += 256 * 127.0 * 63 * 0.0078125 * 33;
        ForEachLevel([&] {
          for (const size_t T : {1, 9}) {
            for (const float v : Product(w, x.data(), T))
              ASSERT_NEAR(
                  v, want,
                  magnitude * (0x1p-11 * (Traits(dtype).block_elems == 256) + 40 * kRoundoff));
          }
        });
      }
    }
  }
}

}  // namespace
}  // namespace planish
