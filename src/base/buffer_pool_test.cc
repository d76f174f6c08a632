// SPDX-License-Identifier: Apache-2.0
// Released buffers are used again while a pool lives, never hold more than was in use at once, and go with the pool.
#include "base/buffer_pool.h"

#include <gtest/gtest.h>

#include <cstring>
#include <thread>
#include <vector>

#include "base/memory.h"

namespace planish {
namespace {

constexpr size_t kBytes = BufferPool::kSmallest;

TEST(BufferPool, HandsOutWhatWasReleasedToTheNextOfItsSize) {
  const BufferPool pool;
  for (const size_t bytes : {kBytes, kBytes + 1, size_t{5} << 20, (size_t{6} << 20) + 3}) {
    const std::byte* first = AlignedBuffer(bytes).data();
    const AlignedBuffer again(bytes), more(bytes);
    EXPECT_EQ(again.data(), first) << bytes;
    EXPECT_NE(more.data(), first) << bytes;
  }
}

TEST(BufferPool, AlmostTheSameSizeFindsTheMemoryToo) {
  if (internal::PoolGranule(kBytes) == 1) GTEST_SKIP() << "a sanitizer watches every byte";
  const BufferPool pool;
  const std::byte* first = AlignedBuffer(kBytes * 9 / 8).data();
  EXPECT_EQ(AlignedBuffer(kBytes + 1).data(), first);
  EXPECT_NE(AlignedBuffer(kBytes * 9 / 8 + 1).data(), first);
}

TEST(BufferPool, KeepsNothingWithoutAPoolOrBelowItsSmallest) {
  { const AlignedBuffer buffer(4 * kBytes); }
  EXPECT_EQ(BufferPool::WaitingBytes(), 0u);
  const BufferPool pool;
  { const AlignedBuffer buffer(kBytes / 2); }
  EXPECT_EQ(BufferPool::WaitingBytes(), 0u);
  { const AlignedBuffer buffer(kBytes); }
  EXPECT_EQ(BufferPool::WaitingBytes(), kBytes);
}

TEST(BufferPool, GivesEverythingBackWithTheLastPool) {
  const AlignedBuffer before(kBytes);
  {
    const BufferPool outer;
    {
      const BufferPool inner;
      { const AlignedBuffer a(kBytes), b(2 * kBytes); }
    }
    EXPECT_EQ(BufferPool::WaitingBytes(), 3 * kBytes);
  }
  EXPECT_EQ(BufferPool::WaitingBytes(), 0u);
}

TEST(BufferPool, WhatWaitsAndWhatIsUsedStayBelowTheMostEverUsed) {
  const BufferPool pool;
  constexpr size_t kMany = 4096 * kBytes;  // more than any test of this program used before
  { const AlignedBuffer most(kMany); }
  EXPECT_EQ(BufferPool::WaitingBytes(), kMany);
  const AlignedBuffer other(kMany / 2);  // another size: the waiting one must go
  EXPECT_EQ(BufferPool::WaitingBytes(), 0u);
  std::vector<AlignedBuffer> many;
  for (size_t i = 0; i < 8; ++i) many.emplace_back(kMany / 16);
  many.clear();
  EXPECT_EQ(BufferPool::WaitingBytes(), kMany / 2);
  const AlignedBuffer one_more(kMany / 32);  // 16/16 are held already: the longest waiting goes
  EXPECT_EQ(BufferPool::WaitingBytes(), kMany / 16 * 7);
}

TEST(BufferPool, AnyThreadMayTakeAndRelease) {
  const BufferPool pool;
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([t] {
      for (size_t i = 0; i < 200; ++i) {
        AlignedBuffer buffer(kBytes + i % 3 * 64);
        std::memset(buffer.data(), t, buffer.size());
        for (size_t k = 0; k < buffer.size(); k += 4096)
          ASSERT_EQ(buffer.data()[k], static_cast<std::byte>(t));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(BufferPool::WaitingBytes(), 3 * 3 * (kBytes + 128));
}

}  // namespace
}  // namespace planish
