// SPDX-License-Identifier: Apache-2.0
// FP8 quantisation against its definition in scalars (the table of tensor/dtype.h), bit for bit, and against torch's casts.
#include "kernels/fp8_quantize.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <map>

#include "base/file.h"
#include "base/testing.h"
#include "kernels/kernel_testing.h"
#include "tensor/safetensors.h"

namespace planish {
namespace {

constexpr Fp8Tiles kAllTiles[] = {Fp8Tiles::kRows, Fp8Tiles::kColumns, Fp8Tiles::kBlocks,
                                  Fp8Tiles::kTensor};

// Rows and columns of a tile.
std::pair<size_t, size_t> TileOf(Fp8Tiles tiles, size_t R, size_t C) {
  switch (tiles) {
    case Fp8Tiles::kRows:
      return {1, kFp8Block};
    case Fp8Tiles::kColumns:
      return {kFp8Block, 1};
    case Fp8Tiles::kBlocks:
      return {kFp8Block, kFp8Block};
    default:
      return {R, C};
  }
}

void ExpectDefinition(const std::vector<float>& x, size_t stride, size_t R, size_t C, DType dtype,
                      const Fp8Rounding& rounding) {
  SCOPED_TRACE(::testing::Message()
               << R << " x " << C << " tiles " << static_cast<int>(rounding.tiles) << " format "
               << static_cast<int>(rounding.format));
  std::vector<uint16_t> halves(x.size());
  std::vector<float> input = x;
  if (dtype == DType::kBF16)
    for (size_t i = 0; i < x.size(); ++i) {
      halves[i] = BF16FromFloat(x[i]);
      input[i] = FloatFromBF16(halves[i]);
    }
  const PanelSource source = {dtype == DType::kF32 ? static_cast<const void*>(input.data() + 1)
                                                   : static_cast<const void*>(halves.data() + 1),
                              stride, dtype};
  const size_t scale_columns = Fp8ScaleColumns(rounding.tiles, C);
  std::vector<uint16_t> values(R * C);
  std::vector<float> scales(Fp8ScaleRows(rounding.tiles, R) * scale_columns, -1);
  Fp8Statistics statistics;
  QuantizeFp8(source, R, C, rounding, values.data(), scales.data(), &statistics);
  const bool is_e4m3 = rounding.format == Fp8Format::kE4M3;
  const auto [tile_rows, tile_columns] = TileOf(rounding.tiles, R, C);
  uint64_t underflow = 0;
  double greatest = 0;
  for (size_t r0 = 0; r0 < R; r0 += tile_rows) {
    for (size_t c0 = 0; c0 < C; c0 += tile_columns) {
      float amax = 0;
      const auto each = [&](const auto& body) {
        for (size_t r = r0; r < std::min(R, r0 + tile_rows); ++r)
          for (size_t c = c0; c < std::min(C, c0 + tile_columns); ++c)
            body(input[1 + r * stride + c], values[r * C + c]);
      };
      each([&](float value, uint16_t) { amax = std::max(amax, std::abs(value)); });
      greatest = std::max<double>(greatest, amax);
      float scale = amax == 0 ? 1.0f : amax / (is_e4m3 ? 448.0f : 57344.0f);
      if (rounding.power_of_two && amax != 0) scale = std::exp2(std::ceil(std::log2(scale)));
      ASSERT_EQ(scales[r0 / tile_rows * scale_columns + c0 / tile_columns], scale);
      each([&](float value, uint16_t got) {
        const float quotient = value / scale;
        const uint8_t code = is_e4m3 ? F8E4M3FromFloat(quotient) : F8E5M2FromFloat(quotient);
        const float want = is_e4m3 ? FloatFromF8E4M3(code) : FloatFromF8E5M2(code);
        ASSERT_EQ(std::bit_cast<uint32_t>(FloatFromBF16(got)), std::bit_cast<uint32_t>(want))
            << quotient;
        ASSERT_EQ(Fp8Code(got, rounding.format), code) << quotient;
        if (value != 0 && want == 0) ++underflow;
      });
    }
  }
  EXPECT_EQ(statistics.count, R * C);
  EXPECT_EQ(statistics.amax, greatest);
  EXPECT_EQ(statistics.underflow, underflow);
  EXPECT_EQ(statistics.saturated, 0u);
}

// Values over many binades, so that subnormal codes, zeros and ties occur.
std::vector<float> Values(size_t n, uint64_t seed) {
  Random random(seed);
  std::vector<float> values = RandomFloats(random, n);
  for (float& value : values)
    value *= std::exp2(static_cast<float>(static_cast<int>(random.Bits() % 24)) - 20.0f);
  for (size_t i = 0; i + 3 < n; i += 7) values[i] = std::ldexp(std::round(values[i] * 64), -6);
  return values;
}

TEST(Fp8Quantize, EqualsTheDefinitionBitForBitAtEveryLevel) {
  constexpr size_t kSizes[][2] = {{1, 1}, {3, 5}, {2, 127}, {129, 3}, {130, 133}, {5, 300}};
  ForEachSimdLevel([&] {
    for (const auto& [R, C] : kSizes)
      for (const Fp8Tiles tiles : kAllTiles)
        for (const Fp8Format format : {Fp8Format::kE4M3, Fp8Format::kE5M2})
          for (const bool power_of_two : {false, true})
            ExpectDefinition(Values(R * (C + 3) + 1, R + C), C + 3, R, C,
                             power_of_two ? DType::kBF16 : DType::kF32,
                             {format, tiles, power_of_two});
  });
}

TEST(Fp8Quantize, ZeroTilesSubnormalsAndExtremesFollowTheDefinition) {
  std::vector<float> x(1 + 4 * 200, 0.0f);
  x[5] = -0.0f;
  x[1 + 200 + 7] = 1e-42f;
  x[1 + 400 + 9] = 3e38f;
  x[1 + 400 + 10] = -1e-30f;
  for (size_t i = 0; i < 200; ++i) x[1 + 600 + i] = 448.0f / static_cast<float>(i + 1);
  ForEachSimdLevel([&] {
    for (const Fp8Tiles tiles : kAllTiles)
      ExpectDefinition(x, 200, 4, 200, DType::kF32, {Fp8Format::kE4M3, tiles, false});
  });
}

TEST(Fp8Quantize, WhatIsNotFiniteStaysSoAndIsCounted) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  ForEachSimdLevel([&] {
    std::vector<float> x(3 * 130, 2.0f);
    x[1] = std::nanf("");
    x[130 + 1] = kInf;
    std::vector<uint16_t> values(x.size());
    std::vector<float> scales(6);
    Fp8Statistics statistics;
    QuantizeFp8({x.data(), 130}, 3, 130, {}, values.data(), scales.data(), &statistics);
    EXPECT_TRUE(std::isnan(FloatFromBF16(values[1])));
    EXPECT_EQ(FloatFromBF16(values[0]) * scales[0], 2.0f);
    EXPECT_TRUE(std::isnan(FloatFromBF16(values[131])));
    EXPECT_EQ(FloatFromBF16(values[260]), 448.0f);
    EXPECT_EQ(statistics.saturated, 2u);
  });
}

TEST(Fp8Quantize, ThreadsChangeNothing) {
  const std::vector<float> x = Values(500 * 260, 9);
  for (const Fp8Tiles tiles : kAllTiles) {
    std::vector<uint16_t> first;
    for (const int threads : {1, 2, 3}) {
      const ThreadCountScope scope(threads);
      std::vector<uint16_t> values(x.size());
      std::vector<float> scales(500 * 260);
      QuantizeFp8({x.data(), 260}, 500, 260, {.tiles = tiles}, values.data(), scales.data(),
                  nullptr);
      if (threads == 1) first = values;
      EXPECT_EQ(values, first);
    }
  }
}

TEST(Fp8Quantize, GoldenCodesAndScales) {
  const std::string path = planish::testing::GoldenDir() + "/fp8/fp8.safetensors";
  if (!FileExists(path)) GTEST_SKIP() << path << " is missing";
  std::map<std::string, StoredTensor> tensors;
  for (StoredTensor& tensor : ReadSafetensors(path, FileBytes::Access::kRead).tensors)
    tensors[tensor.name] = tensor;
  int cases = 0;
  for (const auto& [name, codes] : tensors) {
    if (!name.ends_with(".code")) continue;
    const std::string stem = name.substr(0, name.size() - 5);
    SCOPED_TRACE(stem);
    const Tensor in = Tensor::ToF32(tensors.at(stem + ".in").view);
    const Tensor want = Tensor::ToF32(tensors.at(stem + ".scale").view);
    const size_t R = in.shape()[0], C = in.shape()[1];
    const Fp8Tiles tiles = stem.starts_with("a1x128") ? Fp8Tiles::kRows : Fp8Tiles::kBlocks;
    std::vector<uint16_t> values(R * C);
    std::vector<float> scales(want.elements());
    QuantizeFp8({in.f32(), C}, R, C, {.tiles = tiles}, values.data(), scales.data(), nullptr);
    for (size_t i = 0; i < scales.size(); ++i) ASSERT_EQ(scales[i], want.f32()[i]) << i;
    for (size_t i = 0; i < values.size(); ++i)
      ASSERT_EQ(Fp8Code(values[i], Fp8Format::kE4M3), static_cast<uint8_t>(codes.view.data[i]))
          << i;
    ++cases;
  }
  EXPECT_GE(cases, 1);
}

}  // namespace
}  // namespace planish
