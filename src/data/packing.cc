// SPDX-License-Identifier: Apache-2.0
#include "data/packing.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "base/error.h"

namespace planish {

std::vector<std::vector<uint32_t>> PackBestFit(std::span<const size_t> lengths, size_t row_tokens,
                                               size_t max_examples) {
  std::vector<uint32_t> by_length(lengths.size());
  std::iota(by_length.begin(), by_length.end(), 0u);
  std::stable_sort(by_length.begin(), by_length.end(),
                   [&](uint32_t a, uint32_t b) { return lengths[a] > lengths[b]; });
  std::vector<std::vector<uint32_t>> rows;
  std::set<std::pair<size_t, size_t>> open;  // (room left, row)
  for (const uint32_t example : by_length) {
    const size_t length = lengths[example];
    PLANISH_CHECK(length > 0 && length <= row_tokens, "example of {} tokens in rows of {}", length,
                  row_tokens);
    size_t row = rows.size(), room = row_tokens;
    if (const auto best = open.lower_bound({length, 0}); best != open.end()) {
      std::tie(room, row) = *best;
      open.erase(best);
    } else {
      rows.emplace_back();
    }
    rows[row].push_back(example);
    room -= length;
    if (room > 0 && rows[row].size() != max_examples) open.emplace(room, row);
  }
  for (std::vector<uint32_t>& row : rows) std::sort(row.begin(), row.end());
  return rows;
}

}  // namespace planish
