// SPDX-License-Identifier: Apache-2.0
#include "kernels/rounding.h"

#include <bit>
#include <limits>

#include "kernels/kernel_testing.h"

namespace planish {
namespace {

// The bf16 nearest to x by search among its neighbours in double, ties to the even code.
uint16_t NearestBf16(float x) {
  const auto low = static_cast<uint16_t>(std::bit_cast<uint32_t>(x) >> 16);
  const auto value = [](uint32_t code) {
    if ((code & 0x7FFF) == 0x7F80) return std::ldexp(code & 0x8000 ? -1.0 : 1.0, 128);  // next step
    return static_cast<double>(std::bit_cast<float>(code << 16));
  };
  const double below = std::abs(x - value(low)), above = std::abs(value(low + 1u) - x);
  if (below != above) return below < above ? low : static_cast<uint16_t>(low + 1);
  return (low & 1) == 0 ? low : static_cast<uint16_t>(low + 1);
}

TEST(Rounding, Bf16IsTheNearestWithTiesToEvenAndWidensBack) {
  ForEachSimdLevel([] {
    Random random(1);
    for (const size_t n : kTestSizes) {
      std::vector<float> x(n);
      for (float& v : x) {  // any exponent; every fourth a tie
        const auto bits = random.Bits();
        v = std::bit_cast<float>(bits % 4 == 0 ? (bits & 0xFFFF0000u) | 0x8000u : bits);
        if (!std::isfinite(v)) v = 1.5f;
      }
      std::vector<uint16_t> halves(n);
      RoundRows(x.data(), n, DType::kBF16, halves.data());
      std::vector<float> back(n), same(n);
      WidenRows(halves.data(), DType::kBF16, n, back.data());
      for (size_t i = 0; i < n; ++i) {
        ASSERT_EQ(halves[i], NearestBf16(x[i])) << x[i];
        ASSERT_EQ(std::bit_cast<uint32_t>(back[i]), static_cast<uint32_t>(halves[i]) << 16);
      }
      RoundRows(x.data(), n, DType::kF32, same.data());
      ExpectSameBits(same, x, "float");
    }
    const float special[] = {std::numeric_limits<float>::infinity(),
                             -std::numeric_limits<float>::infinity(), NAN,
                             std::bit_cast<float>(0x7F800001u), -0.0f};
    uint16_t codes[5];
    float back[5];
    RoundRows(special, 5, DType::kBF16, codes);
    WidenRows(codes, DType::kBF16, 5, back);
    EXPECT_EQ(codes[0], 0x7F80);
    EXPECT_EQ(codes[1], 0xFF80);
    EXPECT_TRUE(std::isnan(back[2]));
    EXPECT_TRUE(std::isnan(back[3]));
    EXPECT_EQ(codes[4], 0x8000);
  });
}

}  // namespace
}  // namespace planish
