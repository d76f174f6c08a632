// SPDX-License-Identifier: Apache-2.0
// FP8 products against double sums over the quantised values: |error| <= (K + 4 + 3 K / 128) 2^-24 sum |products|, at every level.
#include "kernels/gemm_fp8.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "base/file.h"
#include "base/testing.h"
#include "kernels/kernel_testing.h"
#include "tensor/safetensors.h"

namespace planish {
namespace {

// A matrix quantised as an operand [R, K] of a product, and its dequantised values.
struct Quantised {
  Quantised(size_t R, size_t K, Fp8Tiles tiles, bool is_transposed, uint64_t seed,
            Fp8Format format = Fp8Format::kE4M3)
      : depth(K) {
    Random random(seed);
    const size_t rows = is_transposed ? K : R, columns = is_transposed ? R : K;
    const std::vector<float> x = RandomFloats(random, rows * columns);
    values.resize(x.size());
    scales.resize(Fp8ScaleRows(tiles, rows) * Fp8ScaleColumns(tiles, columns));
    QuantizeFp8({x.data(), columns}, rows, columns, {.format = format, .tiles = tiles},
                values.data(), scales.data(), nullptr);
    operand = is_transposed ? Fp8Operand::Transposed(values.data(), scales.data(), columns, tiles)
                            : Fp8Operand::AsStored(values.data(), scales.data(), columns, tiles);
  }
  double At(size_t r, size_t k) const {
    const auto* value = static_cast<const uint16_t*>(operand.values.At(r, k).data);
    return static_cast<double>(FloatFromBF16(*value)) *
           static_cast<double>(operand.Scale(r, k / kFp8Block));
  }
  size_t depth;
  std::vector<uint16_t> values;
  std::vector<float> scales;
  Fp8Operand operand;
};

void ExpectProduct(const Quantised& a, const Quantised& b, size_t M, size_t N, size_t K,
                   bool accumulate) {
  SCOPED_TRACE(::testing::Message()
               << M << " x " << N << " x " << K << " accumulate " << accumulate);
  const size_t stride = N + 3;
  const std::vector<float> before(M * stride, 1.5f);
  std::vector<float> c;
  for (const int threads : {1, 2}) {
    const ThreadCountScope scope(threads);
    std::vector<float> found = before;
    GemmFp8(a.operand, b.operand, M, N, K, accumulate, found.data(), stride);
    if (threads == 1) c = found;
    ExpectSameBits(found, c, "threads");
  }
  std::vector<double> want(c.size(), 1.5), bound(c.size(), 0);
  for (size_t m = 0; m < M; ++m) {
    for (size_t n = 0; n < N; ++n) {
      double sum = accumulate ? 1.5 : 0, size = sum;
      for (size_t k = 0; k < K; ++k) {
        const double product = a.At(m, k) * b.At(n, k);
        sum += product;
        size += std::abs(product);
      }
      want[m * stride + n] = sum;
      bound[m * stride + n] =
          static_cast<double>(K + 4 + 3 * (K / 128 + 1)) * Bf16Roundoff() * size;
    }
  }
  ExpectWithin(
      c.data(), want, [&](size_t i) { return bound[i]; }, "c");
}

class GemmFp8Test : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { LimitIsa(GetParam()); }
  void TearDown() override { LimitIsa(""); }
};

TEST_P(GemmFp8Test, ThreeProductsOfTrainingMatchDoubleSums) {
  constexpr size_t kSizes[][3] = {{1, 1, 1}, {5, 33, 130}, {130, 40, 257}, {17, 270, 128}};
  for (const auto& [T, out, in] : kSizes) {
    for (const bool by_tensor : {false, true}) {
      const auto tiles = [&](Fp8Tiles fine) { return by_tensor ? Fp8Tiles::kTensor : fine; };
      const auto format = by_tensor ? Fp8Format::kE5M2 : Fp8Format::kE4M3;
      const Quantised w(out, in, tiles(Fp8Tiles::kBlocks), false, 1),
          w_columns(in, out, tiles(Fp8Tiles::kBlocks), true, 2),
          x(T, in, tiles(Fp8Tiles::kRows), false, 3),
          x_columns(in, T, tiles(Fp8Tiles::kColumns), true, 4),
          dy(T, out, tiles(Fp8Tiles::kRows), false, 5, format),
          dy_columns(out, T, tiles(Fp8Tiles::kColumns), true, 6, format);
      ExpectProduct(x, w, T, out, in, false);
      ExpectProduct(dy, w_columns, T, in, out, false);
      ExpectProduct(dy_columns, x_columns, out, in, T, true);
      if (HasFailure()) return;
    }
  }
}

TEST_P(GemmFp8Test, ChunksOfDepthAddUp) {
  const Quantised a(3, 2300, Fp8Tiles::kRows, false, 1), b(35, 2300, Fp8Tiles::kColumns, true, 2);
  ExpectProduct(a, b, 3, 35, 2300, false);
}

TEST_P(GemmFp8Test, ARowDoesNotKnowTheOthers) {
  constexpr size_t M = 300, N = 300, K = 200;
  const Quantised a(M, K, Fp8Tiles::kRows, false, 1), b(N, K, Fp8Tiles::kBlocks, false, 2);
  std::vector<float> c(M * N);
  GemmFp8(a.operand, b.operand, M, N, K, false, c.data(), N);
  for (const size_t m : {size_t{0}, size_t{129}, M - 1}) {
    Fp8Operand one = a.operand;
    one.values = one.values.At(m, 0);
    one.scales += m * one.row_step;
    std::vector<float> row(N);
    GemmFp8(one, b.operand, 1, N, K, false, row.data(), N);
    ExpectSameBits({c.begin() + m * N, c.begin() + (m + 1) * N}, row, "row");
  }
}

TEST_P(GemmFp8Test, GoldenProduct) {
  const std::string path = planish::testing::GoldenDir() + "/fp8/fp8.safetensors";
  if (!FileExists(path)) GTEST_SKIP() << path << " is missing";
  std::map<std::string, Tensor> tensors;
  for (const StoredTensor& tensor : ReadSafetensors(path, FileBytes::Access::kRead).tensors)
    if (tensor.name.starts_with("gemm.")) tensors[tensor.name] = Tensor::ToF32(tensor.view);
  if (tensors.empty()) GTEST_SKIP() << "no product in this set";
  const Tensor &x = tensors.at("gemm.x"), &w = tensors.at("gemm.w"), &y = tensors.at("gemm.y"),
               &exact = tensors.at("gemm.y_unquantised");
  const size_t T = x.shape()[0], K = x.shape()[1], N = w.shape()[0];
  std::vector<uint16_t> xv(T * K), wv(N * K);
  std::vector<float> xs(T * Fp8ScaleColumns(Fp8Tiles::kRows, K)),
      ws(Fp8ScaleRows(Fp8Tiles::kBlocks, N) * Fp8ScaleColumns(Fp8Tiles::kBlocks, K));
  QuantizeFp8({x.f32(), K}, T, K, {.tiles = Fp8Tiles::kRows}, xv.data(), xs.data(), nullptr);
  QuantizeFp8({w.f32(), K}, N, K, {.tiles = Fp8Tiles::kBlocks}, wv.data(), ws.data(), nullptr);
  std::vector<float> found(T * N);
  GemmFp8(Fp8Operand::AsStored(xv.data(), xs.data(), K, Fp8Tiles::kRows),
          Fp8Operand::AsStored(wv.data(), ws.data(), K, Fp8Tiles::kBlocks), T, N, K, false,
          found.data(), N);
  double scale = 0, error = 0, size = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    scale = std::max<double>(scale, std::abs(y.f32()[i]));
    error += std::pow(found[i] - exact.f32()[i], 2);
    size += std::pow(exact.f32()[i], 2);
  }
  for (size_t i = 0; i < found.size(); ++i) ASSERT_NEAR(found[i], y.f32()[i], 1e-4 * scale) << i;
  // Three significant bits of mantissa in both operands: some 3-4 % of the product's norm.
  EXPECT_LT(std::sqrt(error / size), 0.06);
  EXPECT_GT(std::sqrt(error / size), 0.01);
}

TEST_P(GemmFp8Test, AnEmptySumIsZeroOrAddsNothing) {
  float c[4] = {1, 2, 3, 4};
  GemmFp8({}, {}, 2, 2, 0, /*accumulate=*/true, c, 2);
  EXPECT_EQ(c[3], 4);
  GemmFp8({}, {}, 2, 2, 0, /*accumulate=*/false, c, 2);
  EXPECT_EQ(c[3], 0);
}

std::vector<std::string> Levels() {
  std::vector<std::string> levels = SimdLevels();
  for (const std::string& level : IsaLevels())
    if (level == "bf16" || level == "amx") levels.push_back(level);
  return levels;
}
INSTANTIATE_TEST_SUITE_P(, GemmFp8Test, ::testing::ValuesIn(Levels()),
                         [](const auto& param_info) { return param_info.param; });

}  // namespace
}  // namespace planish
