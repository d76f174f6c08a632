// SPDX-License-Identifier: Apache-2.0
// Points as HTML: quality against cost with the Pareto steps, or what was predicted against what was measured with the
// diagonal. One <figure> with an inline SVG; a point tells its label and values under the pointer (page.h's script).
#pragma once

#include <limits>
#include <string>
#include <vector>

#include "base/plot.h"

namespace planish {

struct ScatterPoint {
  double x = 0, y = 0;  // a point with a value that is not finite is left out
  std::string label;    // plain text
  // Ends of the interval around y; not finite: none.
  double low = std::numeric_limits<double>::quiet_NaN(), high = low;
};

struct ScatterSeries {
  std::string name;
  size_t color = 0;         // of the palette, modulo its length
  bool has_labels = false;  // beside the points: for a few of them
  bool is_large = false;    // points that stand out
  std::vector<ScatterPoint> points;
};

// Which points are better: none are compared; less x and less y (cost and error); less x and more y (cost and accuracy).
enum class Better { kNone, kLessLess, kLessMore };

struct ScatterPlot {
  std::string title, x_label, y_label;
  PlotUnit x_unit = PlotUnit::kPlain, y_unit = PlotUnit::kPlain;
  bool starts_logarithmic = false;  // the y axis; a button changes it
  bool has_diagonal = false;        // y = x; then both axes have one scale
  Better better = Better::kNone;    // steps along the points that no other one beats
  std::vector<ScatterSeries> series;
};

// Empty if there is no point to draw.
std::string DrawScatter(const ScatterPlot& plot);

// Indices of the points that no other one beats (as good in both and better in one), by ascending x; of equal ones the first.
// Points that are not finite take no part.
std::vector<size_t> ParetoFront(const std::vector<ScatterPoint>& points, Better better);

}  // namespace planish
