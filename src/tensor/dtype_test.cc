// SPDX-License-Identifier: Apache-2.0
#include "tensor/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

namespace planish {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(DType, EveryNameAndIdLeadsBackToItsType) {
  std::set<int> ids;
  for (size_t i = 0; i < kDTypeCount; ++i) {
    const auto dtype = static_cast<DType>(i);
    const DTypeTraits& traits = Traits(dtype);
    EXPECT_EQ(DTypeFromName(traits.name), dtype);
    if (!traits.safetensors.empty()) {
      EXPECT_EQ(DTypeFromSafetensors(traits.safetensors), dtype);
    }
    if (traits.gguf_id >= 0) {
      EXPECT_EQ(DTypeFromGguf(static_cast<uint32_t>(traits.gguf_id)), dtype);
      EXPECT_TRUE(ids.insert(traits.gguf_id).second) << traits.name;
    }
    EXPECT_EQ(BytesOf(dtype, 512), 512 / traits.block_elems * traits.block_bytes);
  }
  EXPECT_FALSE(DTypeFromName("q9_9").has_value());
  EXPECT_FALSE(DTypeFromSafetensors("").has_value());
  EXPECT_FALSE(DTypeFromSafetensors("F8_E8M0").has_value());
  EXPECT_FALSE(DTypeFromGguf(9).has_value());
  EXPECT_FALSE(DTypeFromGguf(0xFFFFFFFF).has_value());
}

// The value of an F16 code from its definition.
double ValueOfF16(uint16_t code) {
  const int exponent = (code >> 10) & 31;
  const int mantissa = code & 1023;
  double value =
      exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  if (exponent == 31) value = mantissa == 0 ? INFINITY : NAN;
  return (code & 0x8000) != 0 ? -value : value;
}

TEST(DType, EveryF16CodeHasItsValueAndComesBack) {
  for (uint32_t code = 0; code < 65536; ++code) {
    const float value = FloatFromF16(static_cast<uint16_t>(code));
    const double expected = ValueOfF16(static_cast<uint16_t>(code));
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(value)) << code;
      ASSERT_TRUE(std::isnan(FloatFromF16(F16FromFloat(value)))) << code;
      continue;
    }
    ASSERT_EQ(value, expected) << code;
    ASSERT_EQ(std::signbit(value), (code & 0x8000) != 0) << code;
    ASSERT_EQ(F16FromFloat(value), code);
  }
}

// Checks that rounding takes the nearest code, the even one halfway, between every two neighbours.
// `codes` are the non-negative finite codes in ascending order; `convert` and `back` the pair.
template <typename Code, typename ToFloat, typename FromFloat>
void CheckRoundingBetweenNeighbours(Code largest, ToFloat to_float, FromFloat from_float,
                                    uint32_t sign_bit) {
  for (uint32_t low = 0; low < largest; ++low) {
    const uint32_t high = low + 1;
    const double a = to_float(static_cast<Code>(low));
    const double b = to_float(static_cast<Code>(high));
    const auto middle = static_cast<float>((a + b) / 2);  // exact: one more bit than the format
    ASSERT_EQ(middle, (a + b) / 2);
    const uint32_t even = low % 2 == 0 ? low : high;
    ASSERT_EQ(from_float(middle), even) << low;
    ASSERT_EQ(from_float(std::nextafter(middle, -kInf)), low) << low;
    ASSERT_EQ(from_float(std::nextafter(middle, kInf)), high) << low;
    ASSERT_EQ(from_float(-middle), (even | sign_bit)) << low;
    ASSERT_EQ(from_float(-std::nextafter(middle, kInf)), (high | sign_bit)) << low;
  }
}

TEST(DType, F16RoundsToTheNearestAndToEvenHalfway) {
  CheckRoundingBetweenNeighbours<uint16_t>(0x7BFF, FloatFromF16, F16FromFloat, 0x8000);
  EXPECT_EQ(F16FromFloat(65519.996f), 0x7BFF);
  EXPECT_EQ(F16FromFloat(65520.0f), 0x7C00);
  EXPECT_EQ(F16FromFloat(-1e30f), 0xFC00);
  EXPECT_EQ(F16FromFloat(kInf), 0x7C00);
  EXPECT_EQ(F16FromFloat(0x1p-25f), 0);
  EXPECT_EQ(F16FromFloat(-0.0f), 0x8000);
  EXPECT_EQ(F16FromFloat(1e-42f), 0);
  EXPECT_TRUE(std::isnan(FloatFromF16(F16FromFloat(kNan))));
  // A signalling NaN whose payload is in the lost bits must not become infinity.
  EXPECT_TRUE(std::isnan(FloatFromF16(F16FromFloat(std::bit_cast<float>(0x7F800001u)))));
}

TEST(DType, BF16RoundsToTheNearestAndToEvenHalfway) {
  CheckRoundingBetweenNeighbours<uint16_t>(0x7F7F, FloatFromBF16, BF16FromFloat, 0x8000);
  EXPECT_EQ(BF16FromFloat(std::numeric_limits<float>::max()), 0x7F80);
  EXPECT_TRUE(std::isnan(FloatFromBF16(BF16FromFloat(std::bit_cast<float>(0x7F800001u)))));
}

TEST(DType, F8E4M3RoundsToTheNearestAndSaturates) {
  CheckRoundingBetweenNeighbours<uint8_t>(0x7E, FloatFromF8E4M3, F8E4M3FromFloat, 0x80);
  EXPECT_EQ(FloatFromF8E4M3(0x7E), 448.0f);
  EXPECT_EQ(FloatFromF8E4M3(0x01), 0x1p-9f);
  EXPECT_TRUE(std::isnan(FloatFromF8E4M3(0x7F)));
  EXPECT_TRUE(std::isnan(FloatFromF8E4M3(0xFF)));
  EXPECT_EQ(F8E4M3FromFloat(1e30f), 0x7E);
  EXPECT_EQ(F8E4M3FromFloat(-kInf), 0xFE);
  EXPECT_EQ(F8E4M3FromFloat(kNan) & 0x7F, 0x7F);
  EXPECT_EQ(F8E4M3FromFloat(-0.0f), 0x80);
  EXPECT_EQ(F8E4M3FromFloat(1e-42f), 0x00);
}

TEST(DType, F8E5M2RoundsToTheNearestAndSaturates) {
  CheckRoundingBetweenNeighbours<uint8_t>(0x7B, FloatFromF8E5M2, F8E5M2FromFloat, 0x80);
  EXPECT_EQ(FloatFromF8E5M2(0x7B), 57344.0f);
  EXPECT_EQ(FloatFromF8E5M2(0x7C), kInf);
  EXPECT_TRUE(std::isnan(FloatFromF8E5M2(0xFD)));
  EXPECT_EQ(F8E5M2FromFloat(kInf), 0x7B);
  EXPECT_EQ(F8E5M2FromFloat(-1e9f), 0xFB);
  const uint8_t nan = F8E5M2FromFloat(kNan);
  EXPECT_TRUE(std::isnan(FloatFromF8E5M2(nan)));
}

}  // namespace
}  // namespace planish
