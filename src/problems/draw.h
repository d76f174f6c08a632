// SPDX-License-Identifier: Apache-2.0
// Random choices of one problem, a pure function of (seed, stream).
#pragma once

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "base/random.h"

namespace planish {

class Draw {
 public:
  Draw(uint64_t seed, uint64_t stream) : random_(seed, stream) {}

  int64_t Between(int64_t low, int64_t high) {  // both included; low if the range is empty
    if (high <= low) return low;
    return low + static_cast<int64_t>(random_.Below(static_cast<uint64_t>(high - low + 1)));
  }
  bool Chance(int percent) { return random_.Below(100) < static_cast<uint64_t>(percent); }
  size_t Index(size_t n) { return static_cast<size_t>(random_.Below(n)); }
  template <typename Table>
  const auto& Of(const Table& table) {
    return std::begin(table)[Index(std::size(table))];
  }
  template <typename T>
  void Shuffle(std::vector<T>* values) {
    for (size_t i = values->size(); i > 1; --i) std::swap((*values)[i - 1], (*values)[Index(i)]);
  }
  // `count` different elements of a table, in random order.
  template <typename Table>
  auto Several(const Table& table, size_t count) {
    using T = std::decay_t<decltype(*std::begin(table))>;
    std::vector<T> all(std::begin(table), std::end(table));
    for (size_t i = 0; i < count; ++i) std::swap(all[i], all[i + Index(all.size() - i)]);
    all.erase(all.begin() + static_cast<ptrdiff_t>(count), all.end());
    return all;
  }

 private:
  Random random_;
};

}  // namespace planish
