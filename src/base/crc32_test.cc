// SPDX-License-Identifier: Apache-2.0
#include "base/crc32.h"

#include <gtest/gtest.h>

#include <string>

#include "base/random.h"

namespace planish {
namespace {

uint32_t BitByBit(const std::string& bytes) {
  uint32_t crc = ~0u;
  for (const char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xEDB88320u : 0u);
  }
  return ~crc;
}

TEST(Crc32, EqualsTheDefinitionAndThePublishedCheckValue) {
  EXPECT_EQ(Crc32("123456789", 9), 0xCBF43926u);
  EXPECT_EQ(Crc32("", 0), 0u);
  Random random(1);
  for (size_t size = 0; size < 70; ++size) {
    std::string bytes(size + 3, '\0');
    for (char& c : bytes) c = static_cast<char>(random.Below(256));
    for (size_t from = 0; from <= 3; ++from)
      EXPECT_EQ(Crc32(bytes.data() + from, size), BitByBit(bytes.substr(from, size)));
    EXPECT_EQ(Crc32(bytes.data() + size / 3, size - size / 3, Crc32(bytes.data(), size / 3)),
              BitByBit(bytes.substr(0, size)));
  }
}

}  // namespace
}  // namespace planish
