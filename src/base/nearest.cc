// SPDX-License-Identifier: Apache-2.0
#include "base/nearest.h"

#include <algorithm>
#include <utility>

namespace planish {

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t best = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = std::exchange(row[j], best);
    }
  }
  return row[b.size()];
}

std::string Nearest(const std::string& word, const std::vector<std::string>& candidates) {
  for (const std::string& candidate : candidates) {
    if (word.size() > 3 && candidate.starts_with(word)) return candidate;
  }
  const auto closer = [&](const std::string& a, const std::string& b) {
    return EditDistance(word, a) < EditDistance(word, b);
  };
  const auto best = std::min_element(candidates.begin(), candidates.end(), closer);
  const bool is_near =
      best != candidates.end() && EditDistance(word, *best) <= std::max<size_t>(2, word.size() / 2);
  return is_near ? *best : "";
}

}  // namespace planish
