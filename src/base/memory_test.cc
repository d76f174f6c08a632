// SPDX-License-Identifier: Apache-2.0
// Alignment, ownership and refusal of AlignedBuffer; that the figures of the process are plausible.
#include "base/memory.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"

#if defined(__SANITIZE_ADDRESS__)
#define PLANISH_UNDER_ASAN 1
#else
#define PLANISH_UNDER_ASAN 0
#endif

namespace planish {
namespace {

TEST(AlignedBuffer, IsAlignedAndWritableToItsLastByte) {
  for (const size_t bytes : {size_t{1}, size_t{63}, size_t{64}, size_t{65}, size_t{4096},
                             (size_t{4} << 20) - 1, size_t{4} << 20, (size_t{4} << 20) + 1}) {
    AlignedBuffer buffer(bytes);
    ASSERT_NE(buffer.data(), nullptr);
    EXPECT_EQ(buffer.size(), bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 64, 0u);
    std::memset(buffer.data(), 0x5A, bytes);
    EXPECT_EQ(buffer.data()[bytes - 1], std::byte{0x5A});
  }
}

TEST(AlignedBuffer, EmptyOnesHoldNothing) {
  const AlignedBuffer none, zero(0);
  EXPECT_EQ(none.data(), nullptr);
  EXPECT_EQ(zero.data(), nullptr);
  EXPECT_EQ(zero.size(), 0u);
}

TEST(AlignedBuffer, MovingHandsOverTheMemory) {
  AlignedBuffer a(100);
  std::byte* const data = a.data();
  AlignedBuffer b(std::move(a));
  EXPECT_EQ(b.data(), data);
  EXPECT_EQ(b.size(), 100u);
  EXPECT_EQ(a.data(), nullptr);  // NOLINT: defined for this class
  EXPECT_EQ(a.size(), 0u);
  AlignedBuffer c(10);
  c = std::move(b);
  EXPECT_EQ(c.data(), data);
  EXPECT_EQ(c.size(), 100u);
}

TEST(AlignedBuffer, WhatTheSystemRefusesIsAnErrorWithItsSize) {
  if (PLANISH_UNDER_ASAN) GTEST_SKIP() << "AddressSanitizer aborts instead of refusing";
  try {
    AlignedBuffer buffer(size_t{1} << 60);
    FAIL() << "got 2^60 bytes";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kNoMemory);
    EXPECT_NE(std::string(error.what()).find("1073741824.00 GiB"), std::string::npos)
        << error.what();
  }
}

TEST(Memory, FiguresOfTheProcessArePlausible) {
  const uint64_t before = ResidentBytes();
  EXPECT_GT(before, uint64_t{1} << 20);
  constexpr size_t kBytes = size_t{64} << 20;
  AlignedBuffer buffer(kBytes);
  std::memset(buffer.data(), 1, kBytes);
  EXPECT_GE(ResidentBytes(), before + kBytes / 2);
  EXPECT_GE(PeakResidentBytes() + (uint64_t{1} << 20), ResidentBytes());
  EXPECT_GT(AvailableBytes(), uint64_t{1} << 20);
}

}  // namespace
}  // namespace planish
