// SPDX-License-Identifier: Apache-2.0
#include "tensor/tensor.h"

#include <gtest/gtest.h>

#include "tensor/format_testing.h"

namespace planish {
namespace {

TEST(Shape, CountsElementsAndPrintsItself) {
  EXPECT_EQ(Shape({64, 128}).ToString(), "[64, 128]");
  EXPECT_EQ(Shape().ToString(), "[]");
  EXPECT_EQ(Shape().elements(), 1u);
  EXPECT_EQ(Shape().last(), 1u);
  EXPECT_EQ(Shape({2, 0, 3}).elements(), 0u);
  EXPECT_EQ(Shape({2, 3, 5, 7}).elements(), 210u);
  EXPECT_EQ(Shape({2, 3}), Shape({2, 3}));
  EXPECT_FALSE(Shape({2, 3}) == Shape({2, 3, 1}));
}

TEST(Tensor, ZerosAreZeroAndEmptyTensorsAreLegal) {
  const Tensor tensor = Tensor::ZerosF32({3, 5});
  for (size_t i = 0; i < tensor.elements(); ++i) EXPECT_EQ(tensor.f32()[i], 0.0f);
  EXPECT_EQ(tensor.row(2), tensor.f32() + 10);
  EXPECT_EQ(Tensor::ZerosF32({0, 5}).bytes(), 0u);
  EXPECT_EQ(Tensor::ToF32(Tensor(DType::kQ4_0, {0, 32}).view()).elements(), 0u);
}

template <typename T>
void ExpectConverts(DType dtype, std::vector<T> values, std::vector<float> expected) {
  std::string bytes(1, '\0');  // one byte ahead, so that the data is unaligned
  for (const T value : values) AppendRaw(&bytes, value);
  const TensorView view = {dtype, {values.size()}, AsBytes(bytes).data() + 1};
  EXPECT_EQ(ToFloats(view), expected) << Name(dtype);
}

TEST(Tensor, EveryTypeConvertsToFloat) {
  ExpectConverts<float>(DType::kF32, {1.5f, -2.0f}, {1.5f, -2.0f});
  ExpectConverts<double>(DType::kF64, {1.5, -0.1}, {1.5f, -0.1f});
  ExpectConverts<uint16_t>(DType::kF16, {0x3C00, 0xC000}, {1.0f, -2.0f});
  ExpectConverts<uint16_t>(DType::kBF16, {0x3F80, 0xC000}, {1.0f, -2.0f});
  ExpectConverts<uint8_t>(DType::kF8E4M3, {0x38, 0xC0}, {1.0f, -2.0f});
  ExpectConverts<uint8_t>(DType::kBool, {0, 1}, {0.0f, 1.0f});
  ExpectConverts<uint8_t>(DType::kU8, {200}, {200.0f});
  ExpectConverts<int8_t>(DType::kI8, {-100}, {-100.0f});
  ExpectConverts<uint16_t>(DType::kU16, {60000}, {60000.0f});
  ExpectConverts<int16_t>(DType::kI16, {-30000}, {-30000.0f});
  ExpectConverts<uint32_t>(DType::kU32, {3000000000u}, {3e9f});
  ExpectConverts<int32_t>(DType::kI32, {-5}, {-5.0f});
  ExpectConverts<uint64_t>(DType::kU64, {uint64_t{1} << 63}, {0x1p63f});
  ExpectConverts<int64_t>(DType::kI64, {-7}, {-7.0f});
}

}  // namespace
}  // namespace planish
