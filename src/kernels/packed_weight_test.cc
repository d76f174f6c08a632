// SPDX-License-Identifier: Apache-2.0
#include "kernels/packed_weight.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/kernel_testing.h"
#include "kernels/packed_testing.h"

namespace planish {
namespace {

float HalfAt(const uint8_t* p) {
  uint16_t bits;
  std::memcpy(&bits, p, 2);
  return FloatFromF16(bits);
}

// Element (row, k) of a packed view and how far f16 scales may have moved it, read by the header's description.
struct Unpacked {
  double value;
  double bound;
};
Unpacked UnpackElement(const PackedFormat& f, const uint8_t* data, size_t groups, size_t row,
                       size_t k) {
  const uint8_t* group = data + (row / kPackedRows * groups + k / kPackedGroup) * f.group_bytes();
  const size_t r = row % kPackedRows, i = k % kPackedGroup;
  const size_t s = f.scales_per_group == 2 ? i / 16 : 0;
  const double scale = HalfAt(group + (s * kPackedRows + r) * 2);
  const double min = f.has_min ? HalfAt(group + (f.scales_per_group * kPackedRows + r) * 2) : 0.0;
  const uint8_t* codes = group + f.header_bytes();
  int code;
  if (f.is_4bit) {
    const uint8_t both = codes[64 * (i % 16 / 4) + 4 * r + i % 4];
    code = i < 16 ? both & 15 : both >> 4;
  } else {
    code = codes[64 * (i / 4) + 4 * r + i % 4];
  }
  const double factor = f.table != nullptr ? f.table[code] : code - f.zero;
  return {scale * factor - min, std::abs(scale * factor) + std::abs(min)};
}

TEST(PackedWeight, EveryTypeUnpacksToItsValuesWithinTheRoundingOfScales) {
  for (const DType dtype : kPackedTypes) {
    SCOPED_TRACE(Name(dtype));
    for (const size_t out : {1, 2, 15, 16, 17, 48, 131}) {
      for (const size_t in : {256, 768}) {
        Weight w = RandomPackable(dtype, out, in, 11);
        ASSERT_TRUE(PackWeight(&w));
        PackedFormat format;
        ASSERT_TRUE(PackedFormatOf(dtype, &format));
        const PackedView& view = *w.packed(kPackedLayout);
        ASSERT_EQ(view.data.size(), PackedBlocks(out) * PackedGroups(in) * format.group_bytes());
        EXPECT_EQ(reinterpret_cast<uintptr_t>(view.data.data()) % 64, 0u);
        const auto* data = reinterpret_cast<const uint8_t*>(view.data.data());
        // Scales of K types are rounded to 11 bits; DequantizeRow rounds products to 24 bits.
        const bool is_rounded = Traits(dtype).block_elems == 256;
        const double relative = is_rounded ? 0x1p-11 : 4 * kRoundoff;
        std::vector<float> row(in);
        for (size_t r = 0; r < out; ++r) {
          w.DequantizeRow(r, row.data());
          for (size_t k = 0; k < in; ++k) {
            const Unpacked got = UnpackElement(format, data, PackedGroups(in), r, k);
            ASSERT_NEAR(got.value, row[k], relative * got.bound * (1 + 0x1p-10))
                << "row " << r << " k " << k;
          }
        }
      }
    }
  }
}

TEST(PackedWeight, RowsBeyondTheLastAreZero) {
  Weight w = RandomPackable(DType::kQ4_1, 17, 64, 3);
  ASSERT_TRUE(PackWeight(&w));
  PackedFormat format;
  ASSERT_TRUE(PackedFormatOf(DType::kQ4_1, &format));
  const auto* data = reinterpret_cast<const uint8_t*>(w.packed(kPackedLayout)->data.data());
  for (size_t row = 17; row < 32; ++row)
    for (size_t k = 0; k < 64; ++k)
      EXPECT_EQ(UnpackElement(format, data, 2, row, k).bound, 0.0) << row << ", " << k;
}

TEST(PackedWeight, TypesWithoutAFormatAreLeftAlone) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF8E4M3, DType::kQ2_K}) {
    Weight w("w", 4, 256, dtype);
    std::memset(w.mutable_data(), 0, w.bytes());
    EXPECT_FALSE(PackWeight(&w)) << Name(dtype);
    EXPECT_EQ(w.packed(kPackedLayout), nullptr);
  }
}

// A block of `dtype` whose F16 numbers are `half` (MXFP4: its scale byte is `exponent`).
Weight WithScale(DType dtype, float half, uint8_t exponent) {
  Weight w = RandomPackable(dtype, 16, 256, 5);
  auto* data = reinterpret_cast<uint8_t*>(w.mutable_data());
  const uint16_t bits = F16FromFloat(half);
  for (size_t block = 0; block < w.bytes(); block += Traits(dtype).block_bytes) {
    for (const size_t offset : HalfOffsets(dtype)) std::memcpy(data + block + offset, &bits, 2);
    if (dtype == DType::kMXFP4) data[block] = exponent;
  }
  return w;
}

TEST(PackedWeight, ScalesThatF16CannotHoldAreRefused) {
  const float inf = std::numeric_limits<float>::infinity();
  for (const DType dtype : {DType::kQ4_K, DType::kQ5_K, DType::kQ6_K, DType::kIQ4_XS}) {
    SCOPED_TRACE(Name(dtype));
    for (const float bad : {60000.0f, inf, std::nanf("")}) {
      Weight w = WithScale(dtype, bad, 0);
      EXPECT_FALSE(PackWeight(&w)) << bad;
      EXPECT_EQ(w.packed(kPackedLayout), nullptr);
    }
    for (const float good : {0.0f, 0.02f, 0x1p-14f, 0x1p-15f}) {
      Weight w = WithScale(dtype, good, 0);
      EXPECT_TRUE(PackWeight(&w)) << good;
    }
  }
  Weight small = WithScale(DType::kMXFP4, 0, 90), large = WithScale(DType::kMXFP4, 0, 144);
  EXPECT_FALSE(PackWeight(&small));
  EXPECT_FALSE(PackWeight(&large));
  Weight lowest = WithScale(DType::kMXFP4, 0, 104), highest = WithScale(DType::kMXFP4, 0, 143);
  EXPECT_TRUE(PackWeight(&lowest));
  EXPECT_TRUE(PackWeight(&highest));
}

TEST(PackedWeight, AFreshViewIsKeptAndAStaleOneMadeAgain) {
  Weight w = RandomPackable(DType::kQ8_0, 16, 64, 1);
  ASSERT_TRUE(PackWeight(&w));
  const std::byte* before = w.packed(kPackedLayout)->data.data();
  ASSERT_TRUE(PackWeight(&w));
  EXPECT_EQ(w.packed(kPackedLayout)->data.data(), before);
  w.Touch();
  EXPECT_EQ(w.packed(kPackedLayout), nullptr);
  ASSERT_TRUE(PackWeight(&w));
  EXPECT_NE(w.packed(kPackedLayout), nullptr);
}

}  // namespace
}  // namespace planish
