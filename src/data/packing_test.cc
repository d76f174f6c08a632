// SPDX-License-Identifier: Apache-2.0
#include "data/packing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/random.h"

namespace planish {
namespace {

using Rows = std::vector<std::vector<uint32_t>>;

// The definition with a plain search through the open rows.
Rows Reference(const std::vector<size_t>& lengths, size_t row_tokens, size_t max_examples) {
  std::vector<uint32_t> order(lengths.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return lengths[a] > lengths[b]; });
  Rows rows;
  std::vector<size_t> room;
  for (const uint32_t example : order) {
    size_t best = rows.size();
    for (size_t r = 0; r < rows.size(); ++r) {
      if (room[r] < lengths[example] || (max_examples > 0 && rows[r].size() >= max_examples))
        continue;
      if (best == rows.size() || room[r] < room[best]) best = r;
    }
    if (best == rows.size()) {
      rows.emplace_back();
      room.push_back(row_tokens);
    }
    rows[best].push_back(example);
    room[best] -= lengths[example];
  }
  for (auto& row : rows) std::sort(row.begin(), row.end());
  return rows;
}

TEST(Packing, EqualsThePlainSearch) {
  Random random(3);
  for (int round = 0; round < 200; ++round) {
    const size_t row_tokens = 1 + random.Below(60);
    std::vector<size_t> lengths(random.Below(80));
    for (size_t& length : lengths) length = 1 + random.Below(row_tokens);
    for (const size_t max_examples : {0u, 1u, 3u}) {
      ASSERT_EQ(PackBestFit(lengths, row_tokens, max_examples),
                Reference(lengths, row_tokens, max_examples));
    }
  }
}

TEST(Packing, FillsRowsAlmostCompletely) {
  Random random(4);
  std::vector<size_t> lengths(4096);
  size_t tokens = 0;
  for (size_t& length : lengths) tokens += length = 20 + random.Below(1500);
  const Rows rows = PackBestFit(lengths, 4096);
  EXPECT_LT(static_cast<double>(rows.size() * 4096), 1.01 * static_cast<double>(tokens));
}

TEST(Packing, KnownCases) {
  EXPECT_EQ(PackBestFit(std::vector<size_t>{}, 8), Rows{});
  EXPECT_EQ(PackBestFit(std::vector<size_t>{3, 8, 5, 4, 4}, 8), (Rows{{1}, {0, 2}, {3, 4}}));
  EXPECT_EQ(PackBestFit(std::vector<size_t>{2, 2, 2}, 8, 1), (Rows{{0}, {1}, {2}}));
}

}  // namespace
}  // namespace planish
