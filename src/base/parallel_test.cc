// SPDX-License-Identifier: Apache-2.0
// Each index runs exactly once on any number of threads; nested calls stay on their thread.
#include "base/parallel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>

namespace planish {
namespace {

class ParallelTest : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override { SetThreadCount(GetParam()); }
  void TearDown() override { SetThreadCount(0); }
};

TEST_P(ParallelTest, CallsEveryIndexExactlyOnceWithAThreadBelowTheCount) {
  ASSERT_EQ(ThreadCount(), GetParam());
  for (const size_t n : {0, 1, 2, 3, 7, 64, 1000}) {
    const std::unique_ptr<std::atomic<int>[]> seen(new std::atomic<int>[n + 1] {});
    std::atomic<int> out_of_range = 0;
    ParallelFor(n, [&](size_t i, int thread) {
      if (i >= n || thread < 0 || thread >= ThreadCount())
        ++out_of_range;
      else
        ++seen[i];
    });
    EXPECT_EQ(out_of_range, 0);
    for (size_t i = 0; i < n; ++i) EXPECT_EQ(seen[i], 1) << "index " << i << " of " << n;
  }
}

TEST_P(ParallelTest, NestedCallsRunSeriallyInOrderOnTheCallingThread) {
  constexpr size_t kOuter = 8, kInner = 20;
  std::atomic<int> wrong = 0, done = 0;
  ParallelFor(kOuter, [&](size_t, int) {
    const auto caller = std::this_thread::get_id();
    size_t next = 0;
    ParallelFor(kInner, [&](size_t i, int) {
      if (ThreadCount() > 1 && (std::this_thread::get_id() != caller || i != next)) ++wrong;
      ++next;
      ++done;
    });
    if (next != kInner) ++wrong;
  });
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(done, static_cast<int>(kOuter * kInner));
}

INSTANTIATE_TEST_SUITE_P(Threads, ParallelTest, ::testing::Values(1, 2, 3, 5));

TEST(Parallel, ThreadCountIsClampedAndZeroMeansTheMachine) {
  SetThreadCount(1'000'000);
  EXPECT_EQ(ThreadCount(), 1024);
  SetThreadCount(0);
  EXPECT_GE(ThreadCount(), 1);
  const int automatic = ThreadCount();
  SetThreadCount(-5);
  EXPECT_EQ(ThreadCount(), automatic);
}

}  // namespace
}  // namespace planish
