// SPDX-License-Identifier: Apache-2.0
// Finds stop strings in text that comes in pieces, across all their borders. What may be the beginning of one is held back.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace planish {

class StopFilter {
 public:
  explicit StopFilter(std::vector<std::string> stops) : stops_(std::move(stops)) {}
  // What is certainly no part of a stop string. After a match: what stood before it, then nothing more.
  std::string Push(std::string_view text);
  std::string Finish();  // what was held back
  bool has_matched() const { return has_matched_; }
  bool holds() const { return !held_.empty(); }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool has_matched_ = false;
};

}  // namespace planish
