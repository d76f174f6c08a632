// SPDX-License-Identifier: Apache-2.0
#include "kernels/kv_page.h"

#include <limits>

#include "kernels/kernel_testing.h"
#include "tensor/blocks.h"

namespace planish {
namespace {

// What a page holds for channel c of one position, by the layout that kv_page.h states.
float Element(const KvLayout& layout, const std::byte* head, bool is_key, size_t position,
              size_t c) {
  const size_t P = layout.head_dim;
  const std::byte* from = is_key ? head : head + layout.Values();
  const size_t index = is_key ? c * 64 + position : position * P + c;
  uint16_t bits;
  float value;
  switch (layout.type) {
    case DType::kF32:
      std::memcpy(&value, from + 4 * index, 4);
      return value;
    case DType::kBF16:
      std::memcpy(&bits, from + 2 * index, 2);
      return FloatFromBF16(bits);
    case DType::kF16:
      std::memcpy(&bits, from + 2 * index, 2);
      return FloatFromF16(bits);
    default: {
      const size_t at = is_key ? (c / 4 * 64 + position) * 4 + c % 4 : index;
      const auto code = static_cast<float>(static_cast<int8_t>(from[at]));
      std::memcpy(&bits,
                  head + (is_key ? layout.KeyScales() : layout.ValueScales()) +
                      (c / 32 * 64 + position) * 2,
                  2);
      return FloatFromF16(bits) * code;
    }
  }
}

TEST(KvPage, ElementsAreRoundedAsTheFileFormatsAreAndOnlyTheirPositionsAreWritten) {
  ForEachSimdLevel([] {
    Random random(40);
    for (const DType type : {DType::kF32, DType::kBF16, DType::kF16, DType::kQ8_0}) {
      for (const size_t head_dim : {1u, 3u, 4u, 16u, 31u, 32u, 33u, 64u, 80u, 128u}) {
        const KvLayout layout{type, 2, head_dim};
        const size_t T = 45, row = 2 * head_dim, stride = row + 3, first = 50;
        const auto k = RandomFloats(random, T * stride), v = RandomFloats(random, T * stride, 3);
        std::vector<std::vector<std::byte>> pages(2, std::vector<std::byte>(layout.PageBytes()));
        std::byte* const to[] = {pages[0].data(), pages[1].data()};
        WriteKv(layout, k.data(), stride, v.data(), stride, T, first, to);
        for (size_t position = 0; position < 128; ++position) {
          const bool is_written = position >= first && position < first + T;
          for (size_t head = 0; head < 2; ++head) {
            for (const bool is_key : {true, false}) {
              for (size_t c = 0; c < head_dim; ++c) {
                float want = 0;
                if (is_written) {
                  const float* x = (is_key ? k : v).data() + (position - first) * stride +
                                   head * head_dim + c / 32 * 32;
                  float group[32] = {}, back[32];
                  std::byte bytes[128];
                  std::copy_n(x, std::min<size_t>(32, head_dim - c / 32 * 32), group);
                  QuantizeRow(type, group, bytes, 32);
                  DequantizeRow(type, bytes, back, 32);
                  want = back[c % 32];
                }
                ASSERT_EQ(Element(layout, to[position / 64] + head * layout.HeadBytes(), is_key,
                                  position % 64, c),
                          want)
                    << Name(type) << " " << head_dim << " position " << position << " channel "
                    << c;
              }
            }
          }
        }
      }
    }
  });
}

TEST(KvPage, BytesPerElementAreThoseOfTheTypes) {
  for (const auto& [type, bytes] : {std::pair{DType::kF32, 4.0},
                                    {DType::kBF16, 2.0},
                                    {DType::kF16, 2.0},
                                    {DType::kQ8_0, 1.0625}}) {
    const KvLayout layout{type, 8, 128};
    EXPECT_EQ(static_cast<double>(layout.PageBytes()), bytes * 2 * 8 * 64 * 128) << Name(type);
    EXPECT_EQ(layout.HeadBytes() % 64, 0u);
    EXPECT_EQ(layout.Values() % 64, 0u);
  }
}

TEST(KvPage, NotFiniteValuesStayVisible) {
  for (const DType type : {DType::kF32, DType::kBF16, DType::kF16, DType::kQ8_0}) {
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      const KvLayout layout{type, 1, 64};
      std::vector<float> k(64, 1.0f), v(64, 2.0f);
      k[40] = v[3] = bad;
      std::vector<std::byte> page(layout.PageBytes());
      WriteKvPage(layout, k.data(), 64, v.data(), 64, 1, 7, page.data());
      EXPECT_FALSE(std::isfinite(Element(layout, page.data(), true, 7, 40))) << Name(type);
      EXPECT_FALSE(std::isfinite(Element(layout, page.data(), false, 7, 3))) << Name(type);
      EXPECT_NEAR(Element(layout, page.data(), true, 7, 0), 1.0f, 0.01f);
      EXPECT_NEAR(Element(layout, page.data(), false, 7, 63), 2.0f, 0.02f);
    }
  }
}

}  // namespace
}  // namespace planish
