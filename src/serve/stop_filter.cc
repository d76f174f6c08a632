// SPDX-License-Identifier: Apache-2.0
#include "serve/stop_filter.h"

#include <algorithm>
#include <utility>

namespace planish {

std::string StopFilter::Push(std::string_view text) {
  if (has_matched_) return {};
  if (stops_.empty()) return std::string(text);
  // The stop string that is complete first ends the text, however it was cut into pieces.
  for (const char c : text) {
    held_ += c;
    size_t longest = 0;
    for (const std::string& stop : stops_) {
      if (held_.ends_with(stop)) longest = std::max(longest, stop.size());
    }
    if (longest == 0) continue;
    has_matched_ = true;
    held_.resize(held_.size() - longest);
    return std::exchange(held_, {});
  }
  size_t keep = 0;  // the longest end that begins a stop string
  for (const std::string& stop : stops_) {
    for (size_t n = std::min(stop.size() - 1, held_.size()); n > keep; --n) {
      if (std::string_view(held_).substr(held_.size() - n) == std::string_view(stop).substr(0, n))
        keep = n;
    }
  }
  std::string ready = held_.substr(0, held_.size() - keep);
  held_.erase(0, ready.size());
  return ready;
}

std::string StopFilter::Finish() { return std::exchange(held_, {}); }

}  // namespace planish
