// SPDX-License-Identifier: Apache-2.0
// Line plots as HTML: one <figure> with an inline SVG, drawn here; nothing is fetched. Every plot is drawn twice, with a
// linear and with a logarithmic y axis; a class on the figure says which is seen. Colours are CSS variables, so that light and
// dark are the page's business. What the page's script needs for hovering stands beside the SVG as JSON.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace planish {

struct PlotSeries {
  std::string name;
  size_t color = 0;          // of the palette, modulo its length
  bool is_faint = false;     // raw values behind a smoothed line: not in the legend
  bool has_markers = false;  // few points
  bool is_dashed = false;
  std::vector<double> x, y;       // by ascending x; a y that is not finite breaks the line
  std::vector<double> low, high;  // bars around each y; empty: none
};

enum class PlotUnit { kPlain, kCount, kPercent, kMilliseconds };

struct Plot {
  std::string title, x_label;
  PlotUnit x_unit = PlotUnit::kCount, y_unit = PlotUnit::kPlain;
  bool starts_logarithmic = false;
  bool from_zero = false;  // the linear axis includes 0
  bool is_share = false;   // the axis is 0 to 1, and never logarithmic
  std::vector<std::pair<double, std::string>>
      x_names;  // ticks of the x axis instead of round numbers
  std::vector<PlotSeries> series;
};

// Horizontal bars of shares in [0, 1] with their intervals, several to a row.
struct ShareBar {
  double value = 0, low = 0, high = 0;
  std::string note;  // behind the bar: "85 % of 120"
};
struct BarPlot {
  std::string title;
  std::vector<std::string> series;  // names, in the order of the bars of a row
  std::vector<std::pair<std::string, std::vector<ShareBar>>> rows;
};
// Empty if there are no rows.
std::string DrawBars(const BarPlot& plot);

inline constexpr size_t kPlotColors = 8;  // --c0 .. --c7

// Empty if no series has two finite points, or one with a marker.
std::string DrawPlot(const Plot& plot);

// 3 to 9 round numbers inside [low, high], ascending: steps of 1, 2 or 5 times a power of ten; on a logarithmic axis powers
// of ten, then 1, 2, 5 of each, then linear steps, whatever gives three first.
std::vector<double> LinearTicks(double low, double high);
std::vector<double> LogTicks(double low, double high);

// "1.5M", "12k", "0.00045", "4.5e-6", "37 %".
std::string PlotNumber(double value, PlotUnit unit);

// At most 2 * `buckets` points of a line that look like all of them: least and largest of each run of points, in order.
void ThinOut(size_t buckets, std::vector<double>* x, std::vector<double>* y);
// Running mean with weights that halve every `half_life` points, from the first point on; points that are not finite are
// left out of it and stay as they are.
std::vector<double> Smoothed(const std::vector<double>& y, double half_life);

// Text for HTML content and attributes in double quotes; control characters but newline and tab become U+FFFD.
std::string EscapeHtml(std::string_view text);

}  // namespace planish
