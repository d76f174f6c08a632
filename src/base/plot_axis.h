// SPDX-License-Identifier: Apache-2.0
// Internal to the plots of base/: how a value becomes a place, ranges of values, and the whisker of an interval.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/plot.h"

namespace planish {

// Value to place: pixel = offset + factor * (value or its decimal logarithm).
struct PlotAxis {
  bool is_log = false;
  double low = 0, high = 1;  // values at the two ends
  double offset = 0, factor = 1;

  PlotAxis() = default;
  PlotAxis(bool log, double low_value, double high_value, double low_pixel, double high_pixel)
      : is_log(log), low(low_value), high(high_value) {
    const double a = Inner(low), b = Inner(high);
    factor = (high_pixel - low_pixel) / (b - a);
    offset = low_pixel - factor * a;
  }
  double Inner(double value) const { return is_log ? std::log10(value) : value; }
  double At(double value) const { return offset + factor * Inner(value); }
  bool Shows(double value) const { return std::isfinite(value) && (!is_log || value > 0); }
  std::vector<double> Ticks() const {
    return is_log ? LogTicks(low, high) : LinearTicks(low, high);
  }
};

struct PlotExtent {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  void Add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool is_empty() const { return !(low <= high); }
  // Some room beyond both ends, so that no point sits on the frame; never a range of length zero.
  void Widen(bool is_log) {
    if (is_empty()) low = high = 1;
    if (is_log) {
      const double room = std::max(std::pow(high / low, 0.05), 1.02);
      low /= room;
      high *= room;
    } else {
      double room = 0.05 * (high - low);
      if (room == 0) room = high == 0 ? 1 : 0.05 * std::abs(high);
      low -= room;
      high += room;
    }
  }
};

// An interval around a point, upright.
inline std::string PlotWhisker(const std::string& color, double x, double low, double high) {
  return fmt::format(
      "<path class=\"whisker\" style=\"stroke:{0}\" d=\"M{1:.1f} {2:.1f}V{3:.1f}M{4:.1f} "
      "{2:.1f}H{5:.1f}M{4:.1f} {3:.1f}H{5:.1f}\"/>",
      color, x, low, high, x - 4, x + 4);
}

}  // namespace planish
