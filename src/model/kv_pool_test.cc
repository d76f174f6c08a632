// SPDX-License-Identifier: Apache-2.0
#include "model/kv_pool.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "base/random.h"

namespace planish {
namespace {

TEST(KvPool, PagesInUseNeverOverlapWhileOthersComeAndGo) {
  struct Page {
    std::shared_ptr<std::byte> memory;
    size_t bytes;
    uint8_t mark;
  };
  const auto holds_mark = [](const Page& page) {
    for (size_t i = 0; i < page.bytes; ++i) {
      if (page.memory.get()[i] != std::byte{page.mark}) return false;
    }
    return true;
  };
  Random random(1);
  std::vector<Page> pages;
  for (int step = 0; step < 400; ++step) {
    if (!pages.empty() && random.Below(5) < 2) {
      const size_t i = random.Below(pages.size());
      ASSERT_TRUE(holds_mark(pages[i])) << step;
      pages.erase(pages.begin() + static_cast<ptrdiff_t>(i));
    } else {
      const size_t sizes[] = {64, 1 << 19, 3 << 20, 9 << 20};
      const size_t bytes = sizes[random.Below(step % 50 == 0 ? 4 : 2)];
      Page page{NewKvPage(bytes), bytes, static_cast<uint8_t>(step)};
      EXPECT_EQ(reinterpret_cast<uintptr_t>(page.memory.get()) % 64, 0u);
      EXPECT_EQ(page.memory.use_count(), 1);
      std::memset(page.memory.get(), page.mark, bytes);
      pages.push_back(std::move(page));
    }
  }
  for (const Page& page : pages) EXPECT_TRUE(holds_mark(page));
}

TEST(KvPool, PagesThatCameBackAreUsedAgain) {
  const auto first = NewKvPage(1 << 20);
  std::byte* again;
  {
    const auto second = NewKvPage(1 << 20);
    again = second.get();
  }
  EXPECT_EQ(NewKvPage(1 << 20).get(), again);
}

}  // namespace
}  // namespace planish
