// SPDX-License-Identifier: Apache-2.0
// The fitted block formats: what is packed reads back as the grid's values, codes are the nearest ones, and the error is not
// above that of ggml's reference quantiser.
#include "tensor/block_grid.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/random.h"
#include "tensor/blocks.h"

namespace planish {
namespace {

const DType kGrids[] = {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1,   DType::kQ5_0,
                        DType::kQ5_1, DType::kQ2_K, DType::kQ3_K,   DType::kQ4_K,
                        DType::kQ5_K, DType::kQ6_K, DType::kIQ4_NL, DType::kIQ4_XS};

std::vector<float> Normals(uint64_t seed, size_t n) {
  std::vector<float> x(n);
  FillNormal(seed, 0, 0, x);
  return x;
}

double SquaredError(DType dtype, const std::vector<float>& x, const std::vector<uint8_t>& bytes,
                    const std::vector<float>& importance = {}) {
  std::vector<float> y(x.size());
  DequantizeRow(dtype, bytes.data(), y.data(), y.size());
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double e = static_cast<double>(y[i]) - x[i];
    sum += (importance.empty() ? 1.0 : importance[i]) * e * e;
  }
  return sum;
}

std::vector<uint8_t> Fitted(DType dtype, const std::vector<float>& x,
                            const std::vector<float>& importance = {}) {
  std::vector<uint8_t> bytes(BytesOf(dtype, x.size()));
  QuantizeRowFitted(dtype, x.data(), importance.empty() ? nullptr : importance.data(), bytes.data(),
                    x.size());
  return bytes;
}

TEST(BlockGrid, PackedCodesReadBackAsTheValuesOfTheGrid) {
  Random random(3);
  for (const DType dtype : kGrids) {
    const std::vector<float> x = Normals(4, 256);
    const BlockGrid grid = FitBlock(dtype, x.data(), nullptr);
    ASSERT_EQ(static_cast<size_t>(grid.values), Traits(dtype).block_elems);
    int codes[256];
    for (int i = 0; i < grid.values; ++i)  // any codes, not only the nearest
      codes[i] = static_cast<int>(random.Below(static_cast<uint64_t>(grid.range.levels) + 1));
    std::vector<uint8_t> bytes(Traits(dtype).block_bytes);
    PackBlock(grid, codes, bytes.data());
    std::vector<float> back(static_cast<size_t>(grid.values));
    DequantizeRow(dtype, bytes.data(), back.data(), back.size());
    for (int i = 0; i < grid.values; ++i)
      EXPECT_EQ(back[static_cast<size_t>(i)], grid.Value(i, codes[i])) << Name(dtype) << " " << i;
  }
}

TEST(BlockGrid, CodesAreTheNearestOnes) {
  for (const DType dtype : kGrids) {
    const std::vector<float> x = Normals(5, 256);
    const BlockGrid grid = FitBlock(dtype, x.data(), nullptr);
    for (int i = 0; i < grid.values; ++i) {
      const float error = std::fabs(grid.Value(i, grid.Code(i, x[i])) - x[i]);
      for (int code = 0; code <= grid.range.levels; ++code)
        EXPECT_LE(error, std::fabs(grid.Value(i, code) - x[i]) * (1 + 0x1p-18) + 0x1p-20)
            << Name(dtype) << " " << i << " " << code;
    }
  }
}

// Root mean square errors of ggml's quantize_row_*_ref (llama.cpp 0.3.36's) on the same 65536 numbers.
TEST(BlockGrid, ErrorIsNotAboveThatOfTheReferenceQuantiser) {
  const struct {
    DType dtype;
    double reference;
  } kCases[] = {
      {DType::kQ2_K, 0.296137},    {DType::kQ3_K, 0.15119},   {DType::kQ4_K, 0.0713113},
      {DType::kQ5_K, 0.0360164},   {DType::kQ6_K, 0.0177006}, {DType::kIQ4_NL, 0.0787457},
      {DType::kIQ4_XS, 0.0768027},
  };
  const std::vector<float> x = Normals(17, 65536);
  for (const auto& [dtype, reference] : kCases) {
    const double rmse = std::sqrt(SquaredError(dtype, x, Fitted(dtype, x)) / 65536.0);
    EXPECT_LE(rmse, reference) << Name(dtype);
    EXPECT_GE(rmse, 0.8 * reference) << Name(dtype) << ": too good to be true";
  }
}

TEST(BlockGrid, FittingBeatsTheLargestValuesRule) {
  const std::vector<float> x = Normals(6, 4096);
  for (const DType dtype : {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1}) {
    std::vector<uint8_t> plain(BytesOf(dtype, x.size()));
    QuantizeRow(dtype, x.data(), plain.data(), x.size());
    EXPECT_LT(SquaredError(dtype, x, Fitted(dtype, x)), SquaredError(dtype, x, plain))
        << Name(dtype);
  }
}

TEST(BlockGrid, ImportanceMovesTheErrorToWhereItMattersLess) {
  const std::vector<float> x = Normals(7, 4096);
  std::vector<float> importance(x.size());
  for (size_t i = 0; i < x.size(); ++i) importance[i] = i % 3 == 0 ? 100.0f : 1.0f;
  for (const DType dtype : kGrids) {
    EXPECT_LT(SquaredError(dtype, x, Fitted(dtype, x, importance), importance),
              SquaredError(dtype, x, Fitted(dtype, x), importance))
        << Name(dtype);
    const std::vector<float> equal(x.size(), 0.25f);
    EXPECT_EQ(Fitted(dtype, x, equal), Fitted(dtype, x)) << Name(dtype);
  }
}

TEST(BlockGrid, ZeroConstantHugeAndNonFiniteValuesAreDefined) {
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const DType dtype : kGrids) {
    for (const float value : {0.0f, -0.0f, 1.0f, -1.0f, 1e-45f, 1e-30f, 3e38f, -3e38f, inf, nan}) {
      std::vector<float> x(256, value), back(256);
      x[7] = 2.0f;
      for (const float weight : {1.0f, 0.0f, nan, inf, -1.0f}) {
        const std::vector<uint8_t> bytes = Fitted(dtype, x, std::vector<float>(256, weight));
        DequantizeRow(dtype, bytes.data(), back.data(), back.size());
        for (const float y : back) EXPECT_TRUE(std::isfinite(y)) << Name(dtype) << " " << value;
      }
      if (std::fabs(value) < 1e-20f) {
        EXPECT_NEAR(back[7], 2.0f, 2.0f * 0x1p-7) << Name(dtype);
        EXPECT_EQ(back[8], dtype == DType::kIQ4_NL || dtype == DType::kIQ4_XS ? back[9] : 0.0f)
            << Name(dtype);
      }
    }
    const std::vector<float> zero(256, 0.0f);
    EXPECT_EQ(SquaredError(dtype, zero, Fitted(dtype, zero)), 0) << Name(dtype);
  }
}

TEST(BlockGrid, RowsThatDoNotFillBlocksGetAnotherType) {
  EXPECT_EQ(WritableType(DType::kQ4_K, 512), DType::kQ4_K);
  EXPECT_EQ(WritableType(DType::kQ4_K, 576), DType::kQ5_0);
  EXPECT_EQ(WritableType(DType::kQ6_K, 480), DType::kQ8_0);
  EXPECT_EQ(WritableType(DType::kQ6_K, 481), DType::kF16);
  EXPECT_EQ(WritableType(DType::kQ4_0, 33), DType::kF16);
  EXPECT_EQ(WritableType(DType::kF32, 33), DType::kF32);
}

}  // namespace
}  // namespace planish
