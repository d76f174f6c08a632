// SPDX-License-Identifier: Apache-2.0
// Every instruction-set level against double sums of the bf16-rounded operands. Products of two bf16 numbers are exact in
// float, so the error is that of K float additions: K Bf16Roundoff() sum |a b|, and K smallest normal numbers where the units flush.
#include "kernels/bf16_panels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/memory.h"
#include "base/random.h"
#include "kernels/isa.h"
#include "kernels/kernel_testing.h"

namespace planish {
namespace {

class Bf16PanelsTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { LimitIsa(GetParam()); }
  void TearDown() override { LimitIsa(""); }
};

// A random [R, K] matrix stored as asked, at an address that is no multiple of 64.
struct Matrix {
  Matrix(size_t rows, size_t depth, DType dtype, bool is_transposed, uint64_t seed)
      : R(rows), K(depth) {
    Random random(seed);
    const size_t lines = is_transposed ? K : R, length = is_transposed ? R : K;
    const size_t stride = length + 3;
    floats = RandomFloats(random, lines * stride + 1);
    halves.resize(floats.size());
    for (size_t i = 0; i < floats.size(); ++i) halves[i] = BF16FromFloat(floats[i]);
    const void* data = dtype == DType::kF32 ? static_cast<const void*>(floats.data() + 1)
                                            : static_cast<const void*>(halves.data() + 1);
    source = {data, stride, dtype, is_transposed};
  }
  double At(size_t r, size_t k) const {
    const size_t i = source.is_transposed ? k * source.stride + r : r * source.stride + k;
    return FloatFromBF16(halves[i + 1]);
  }
  size_t R, K;
  std::vector<float> floats;
  std::vector<uint16_t> halves;
  PanelSource source;
};

struct Packed {
  Packed(size_t R, size_t K) : memory(PackedElems(R, K) * sizeof(uint16_t)) {}
  uint16_t* data() { return reinterpret_cast<uint16_t*>(memory.data()); }
  AlignedBuffer memory;
};

std::vector<float> Multiply(const Matrix& a, const Matrix& b, const float* from = nullptr) {
  Packed left(a.R, a.K), right(b.R, b.K);
  PackLeft(a.source, a.R, a.K, left.data());
  PackRight(b.source, b.R, b.K, right.data());
  std::vector<float> c(a.R * b.R, 77.0f);
  MultiplyPanels({.left = left.data(),
                  .right = right.data(),
                  .M = a.R,
                  .N = b.R,
                  .K = a.K,
                  .from = from,
                  .from_stride = b.R,
                  .c = c.data(),
                  .c_stride = b.R});
  return c;
}

void ExpectProduct(const Matrix& a, const Matrix& b, const float* from,
                   const std::vector<float>& got) {
  std::vector<double> want(got.size()), bound(got.size());
  for (size_t m = 0; m < a.R; ++m) {
    for (size_t n = 0; n < b.R; ++n) {
      double sum = from == nullptr ? 0 : from[m * b.R + n], size = std::abs(sum);
      for (size_t k = 0; k < a.K; ++k) {
        const double product = a.At(m, k) * b.At(n, k);
        sum += product;
        size += std::abs(product);
      }
      want[m * b.R + n] = sum;
      bound[m * b.R + n] = static_cast<double>(a.K + 1) * (Bf16Roundoff() * 1.01 * size + 0x1p-126);
    }
  }
  ExpectWithin(
      got.data(), want, [&](size_t i) { return bound[i]; }, "c");
}

TEST_P(Bf16PanelsTest, ProductsMatchDoubleSumsForEveryStorageAndOddSizes) {
  const size_t sizes[][3] = {{1, 1, 1},    {2, 3, 5},     {16, 16, 32},   {17, 15, 31},
                             {15, 17, 33}, {33, 65, 64},  {31, 47, 127},  {64, 32, 96},
                             {5, 81, 200}, {48, 49, 257}, {130, 35, 515}, {3, 64, 2}};
  uint64_t seed = 1;
  for (const auto& [M, N, K] : sizes) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      for (const int transposed : {0, 1, 2, 3}) {
        SCOPED_TRACE(testing::Message() << M << " x " << N << " x " << K << " " << Name(dtype)
                                        << " transposed " << transposed);
        const Matrix a(M, K, dtype, (transposed & 1) != 0, ++seed);
        const Matrix b(N, K, dtype, (transposed & 2) != 0, ++seed);
        ExpectProduct(a, b, nullptr, Multiply(a, b));
        Random random(++seed);
        const std::vector<float> from = RandomFloats(random, M * N, 10);
        ExpectProduct(a, b, from.data(), Multiply(a, b, from.data()));
        if (HasFailure()) return;
      }
    }
  }
}

TEST_P(Bf16PanelsTest, AnElementDependsOnItsOwnRowsOnly) {
  const Matrix a(150, 321, DType::kF32, false, 3), b(83, 321, DType::kF32, true, 4);
  const std::vector<float> all = Multiply(a, b);
  for (const size_t m : {size_t{0}, size_t{37}, size_t{149}}) {
    for (const size_t count : {size_t{1}, size_t{16}, size_t{40}}) {
      Matrix part = a;
      part.source = a.source.At(m, 0);
      part.R = std::min(count, a.R - m);
      const std::vector<float> some = Multiply(part, b);
      for (size_t i = 0; i < some.size(); ++i)
        ASSERT_EQ(std::bit_cast<uint32_t>(some[i]), std::bit_cast<uint32_t>(all[m * b.R + i]))
            << m << " + " << i;
    }
  }
}

TEST_P(Bf16PanelsTest, CutsOfKGiveTheBitsOfTheWhole) {
  Matrix a(20, 300, DType::kF32, false, 5), b(40, 300, DType::kF32, false, 6);
  const std::vector<float> whole = Multiply(a, b);
  std::vector<float> c;
  for (size_t k = 0; k < 300; k += 96) {
    Matrix a_part = a, b_part = b;
    a_part.source = a.source.At(0, k);
    b_part.source = b.source.At(0, k);
    a_part.K = b_part.K = std::min<size_t>(96, 300 - k);
    c = Multiply(a_part, b_part, k == 0 ? nullptr : c.data());
  }
  ExpectSameBits(c, whole, "c");
}

TEST_P(Bf16PanelsTest, APartOfPackedOperandsGivesTheBitsOfThatPartPackedAlone) {
  const Matrix a(85, 150, DType::kF32, false, 15), b(70, 150, DType::kF32, true, 16);
  Packed left(a.R, a.K), right(b.R, b.K);
  PackLeft(a.source, a.R, a.K, left.data());
  PackRight(b.source, b.R, b.K, right.data());
  const size_t panel = TileCount(a.K) * kTileElems;
  for (const size_t k : {size_t{32}, size_t{96}}) {
    for (const size_t depth : {size_t{32}, a.K - k}) {
      Matrix a_part = a, b_part = b;
      a_part.source = a.source.At(48, k);
      b_part.source = b.source.At(16, k);
      a_part.R -= 48;
      b_part.R -= 16;
      a_part.K = b_part.K = std::min(depth, a.K - k);
      std::vector<float> c(a_part.R * b_part.R);
      MultiplyPanels({.left = left.data() + 3 * panel + k / 32 * kTileElems,
                      .right = right.data() + panel + k / 32 * kTileElems,
                      .M = a_part.R,
                      .N = b_part.R,
                      .K = a_part.K,
                      .c = c.data(),
                      .c_stride = b_part.R,
                      .left_panel = panel,
                      .right_panel = panel});
      ExpectSameBits(Multiply(a_part, b_part), c, "c");
    }
  }
}

TEST_P(Bf16PanelsTest, InfinitiesAndNanStayInTheirRows) {
  Matrix a(18, 40, DType::kF32, false, 7), b(19, 40, DType::kF32, false, 8);
  a.floats[1 + 2 * a.source.stride + 39] = std::numeric_limits<float>::quiet_NaN();
  a.floats[1 + 17 * a.source.stride + 5] = std::numeric_limits<float>::infinity();
  const std::vector<float> c = Multiply(a, b);
  for (size_t m = 0; m < a.R; ++m) {
    for (size_t n = 0; n < b.R; ++n) {
      const float value = c[m * b.R + n];
      if (m == 2)
        EXPECT_TRUE(std::isnan(value));
      else if (m == 17)
        EXPECT_TRUE(std::isinf(value) && (value > 0) == (b.At(n, 5) > 0));
      else
        EXPECT_TRUE(std::isfinite(value));
    }
  }
}

TEST_P(Bf16PanelsTest, SubnormalsAreKeptOrTakenForZero) {
  Matrix a(1, 1, DType::kBF16, false, 9), b(1, 1, DType::kBF16, false, 10);
  a.halves[1] = 0x0040;  // 2^-127
  b.halves[1] = BF16FromFloat(0x1p100f);
  const float value = Multiply(a, b)[0];
  EXPECT_EQ(value, HasBf16Units() ? 0.0f : 0x1p-27f);
}

TEST_P(Bf16PanelsTest, NothingBeyondTheMatrixIsWritten) {
  const Matrix a(17, 33, DType::kF32, false, 11), b(18, 33, DType::kF32, false, 12);
  Packed left(17, 33), right(18, 33);
  PackLeft(a.source, 17, 33, left.data());
  PackRight(b.source, 18, 33, right.data());
  std::vector<float> c(19 * 25, -3.0f);
  MultiplyPanels({.left = left.data(),
                  .right = right.data(),
                  .M = 17,
                  .N = 18,
                  .K = 33,
                  .c = c.data(),
                  .c_stride = 25});
  for (size_t i = 0; i < c.size(); ++i) EXPECT_EQ(c[i] == -3.0f, i / 25 >= 17 || i % 25 >= 18) << i;
}

TEST(Bf16Panels, PackersRoundLikeTheScalarConversion) {
  Random random(13);
  std::vector<float> x(16 * 64);
  for (float& v : x) {
    do v = std::bit_cast<float>(static_cast<uint32_t>(random.Bits()));
    while (!std::isnormal(v) || !std::isfinite(FloatFromBF16(BF16FromFloat(v))));
  }
  Packed packed(16, 64);
  PackLeft({x.data(), 64}, 16, 64, packed.data());
  for (size_t r = 0; r < 16; ++r)
    for (size_t k = 0; k < 64; ++k)
      ASSERT_EQ(packed.data()[k / 32 * kTileElems + r * 32 + k % 32], BF16FromFloat(x[r * 64 + k]));
}

INSTANTIATE_TEST_SUITE_P(, Bf16PanelsTest, testing::ValuesIn(IsaLevels()),
                         [](const auto& param_info) { return param_info.param; });

}  // namespace
}  // namespace planish
