// SPDX-License-Identifier: Apache-2.0
#include "base/scatter.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/plot_axis.h"

namespace planish {
namespace {

// In units of the viewBox; room at the left for the name of the y axis.
constexpr double kWidth = 720, kHeight = 400, kLeft = 82, kRight = 18, kTop = 12, kBottom = 44;
constexpr double kLogRatio =
    30;  // of values under a diagonal, from which on both axes are logarithmic
constexpr size_t kLetterWidth = 6;  // of a label, roughly

bool IsFinite(const ScatterPoint& point) {
  return std::isfinite(point.x) && std::isfinite(point.y);
}

std::vector<ScatterPoint> AllPoints(const ScatterPlot& plot) {
  std::vector<ScatterPoint> all;
  for (const ScatterSeries& series : plot.series)
    std::copy_if(series.points.begin(), series.points.end(), std::back_inserter(all), IsFinite);
  return all;
}

PlotExtent YExtent(const std::vector<ScatterPoint>& points, bool is_log) {
  PlotExtent extent;
  for (const ScatterPoint& point : points) {
    for (const double y : {point.y, point.low, point.high}) {
      if (std::isfinite(y) && (!is_log || y > 0)) extent.Add(y);
    }
  }
  return extent;
}

PlotExtent XExtent(const std::vector<ScatterPoint>& points, bool is_log) {
  PlotExtent extent;
  for (const ScatterPoint& point : points) {
    if (!is_log || point.x > 0) extent.Add(point.x);
  }
  return extent;
}

PlotAxis XAxis(const PlotExtent& extent, bool is_log) {
  return PlotAxis(is_log, extent.low, extent.high, kLeft, kWidth - kRight);
}

PlotAxis YAxis(const PlotExtent& extent, bool is_log) {
  return PlotAxis(is_log, extent.low, extent.high, kHeight - kBottom, kTop);
}

std::string DrawGrid(const ScatterPlot& plot, const PlotAxis& y) {
  std::string svg;
  for (const double tick : y.Ticks()) {
    svg += fmt::format(
        "<line class=\"grid\" x1=\"{0}\" x2=\"{1}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\"/>"
        "<text class=\"tick end\" x=\"{3}\" y=\"{4:.1f}\">{5}</text>",
        kLeft, kWidth - kRight, y.At(tick), kLeft - 8, y.At(tick) + 4,
        PlotNumber(tick, plot.y_unit));
  }
  return svg;
}

std::string DrawXAxis(const ScatterPlot& plot, const PlotAxis& x) {
  std::string svg =
      fmt::format("<line class=\"axis\" x1=\"{0}\" x2=\"{1}\" y1=\"{2}\" y2=\"{2}\"/>", kLeft,
                  kWidth - kRight, kHeight - kBottom);
  for (const double tick : x.Ticks()) {
    svg += fmt::format(
        "<line class=\"axis\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\"/>"
        "<text class=\"tick middle\" x=\"{0:.1f}\" y=\"{3}\">{4}</text>",
        x.At(tick), kHeight - kBottom, kHeight - kBottom + 5, kHeight - kBottom + 19,
        PlotNumber(tick, plot.x_unit));
  }
  const double middle = (kTop + kHeight - kBottom) / 2;
  return svg + fmt::format(
                   "<text class=\"label middle\" x=\"{}\" y=\"{}\">{}</text>"
                   "<text class=\"label middle\" transform=\"translate(14 {}) rotate(-90)\">{}"
                   "</text>",
                   (kLeft + kWidth - kRight) / 2, kHeight - 6, EscapeHtml(plot.x_label), middle,
                   EscapeHtml(plot.y_label));
}

std::string TipOf(const ScatterPlot& plot, const ScatterSeries& series, const ScatterPoint& point) {
  std::string tip = point.label.empty() ? series.name : point.label;
  tip += fmt::format("\n{}: {}\n{}: {}", plot.x_label, PlotNumber(point.x, plot.x_unit),
                     plot.y_label, PlotNumber(point.y, plot.y_unit));
  if (std::isfinite(point.low) && std::isfinite(point.high))
    tip += fmt::format(" ({} to {})", PlotNumber(point.low, plot.y_unit),
                       PlotNumber(point.high, plot.y_unit));
  return EscapeHtml(tip);
}

std::string DrawPoints(const ScatterPlot& plot, const PlotAxis& x, const PlotAxis& y) {
  std::string svg;
  for (const ScatterSeries& series : plot.series) {
    const std::string color = fmt::format("var(--c{})", series.color % kPlotColors);
    for (const ScatterPoint& point : series.points) {
      if (!x.Shows(point.x) || !y.Shows(point.y)) continue;
      const double px = x.At(point.x), py = y.At(point.y);
      if (y.Shows(point.low) && y.Shows(point.high))
        svg += PlotWhisker(color, px, y.At(point.low), y.At(point.high));
      svg += fmt::format(
          "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\" style=\"fill:{}\" data-tip=\"{}\"/>", px,
          py, series.is_large ? 6 : 3.5, color, TipOf(plot, series, point));
      if (!series.has_labels || point.label.empty()) continue;
      // Left of the point where the frame would cut it.
      const bool is_left =
          px + 10 + static_cast<double>(kLetterWidth * point.label.size()) > kWidth - kRight;
      svg += fmt::format("<text class=\"name{}\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>",
                         is_left ? " end" : "", is_left ? px - 10 : px + 10, py + 4,
                         EscapeHtml(point.label));
    }
  }
  return svg;
}

// Steps from front point to front point: what is to be had for at most so much x.
std::string DrawFront(const ScatterPlot& plot, const std::vector<ScatterPoint>& points,
                      const PlotAxis& x, const PlotAxis& y) {
  std::string path;
  for (const size_t i : ParetoFront(points, plot.better)) {
    if (!x.Shows(points[i].x) || !y.Shows(points[i].y)) continue;
    path += path.empty() ? fmt::format("M{:.1f} {:.1f}", x.At(points[i].x), y.At(points[i].y))
                         : fmt::format("H{:.1f}V{:.1f}", x.At(points[i].x), y.At(points[i].y));
  }
  if (path.empty()) return {};
  return fmt::format("<path class=\"line front\" d=\"{}H{}\"/>", path, kWidth - kRight);
}

std::string DrawScale(const ScatterPlot& plot, const std::vector<ScatterPoint>& points,
                      const PlotAxis& x, const PlotAxis& y, const char* name) {
  std::string svg = fmt::format("<g class=\"{}\">{}", name, DrawGrid(plot, y));
  if (plot.has_diagonal)
    svg += fmt::format("<path class=\"line diagonal\" d=\"M{} {}L{} {}\"/>", kLeft,
                       kHeight - kBottom, kWidth - kRight, kTop);
  if (plot.better != Better::kNone) svg += DrawFront(plot, points, x, y);
  return svg + DrawPoints(plot, x, y) + "</g>";
}

std::string Legend(const ScatterPlot& plot) {
  std::string html;
  for (const ScatterSeries& series : plot.series) {
    if (plot.series.size() > 1 && !series.points.empty())
      html += fmt::format("<span><i class=\"dot\" style=\"background:var(--c{})\"></i>{}</span>",
                          series.color % kPlotColors, EscapeHtml(series.name));
  }
  if (plot.better != Better::kNone)
    html += "<span><i style=\"background:var(--soft)\"></i>beaten by none</span>";
  if (plot.has_diagonal) html += "<span><i style=\"background:var(--edge)\"></i>equal</span>";
  return html.empty() ? html : "<div class=\"legend\">" + html + "</div>";
}

}  // namespace

std::vector<size_t> ParetoFront(const std::vector<ScatterPoint>& points, Better better) {
  std::vector<size_t> order;
  for (size_t i = 0; i < points.size(); ++i) {
    if (IsFinite(points[i])) order.push_back(i);
  }
  const double sign = better == Better::kLessMore ? -1 : 1;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return points[a].x != points[b].x ? points[a].x < points[b].x
                                      : sign * points[a].y < sign * points[b].y;
  });
  std::vector<size_t> front;
  for (const size_t i : order) {
    if (front.empty() || sign * points[i].y < sign * points[front.back()].y) front.push_back(i);
  }
  return front;
}

std::string DrawScatter(const ScatterPlot& plot) {
  const std::vector<ScatterPoint> points = AllPoints(plot);
  if (points.empty()) return {};
  const bool can_log = std::any_of(points.begin(), points.end(),
                                   [](const ScatterPoint& point) { return point.y > 0; });
  std::string drawn;
  bool has_button = false;
  if (plot.has_diagonal) {
    PlotExtent both = YExtent(points, false);
    const PlotExtent x = XExtent(points, false);
    both.Add(x.low);
    both.Add(x.high);
    const bool is_log = both.low > 0 && both.high / both.low > kLogRatio;
    both.Widen(is_log);
    drawn = DrawXAxis(plot, XAxis(both, is_log)) +
            DrawScale(plot, points, XAxis(both, is_log), YAxis(both, is_log), "linear");
  } else {
    PlotExtent extent = XExtent(points, false);
    extent.Widen(false);
    const PlotAxis x = XAxis(extent, false);
    PlotExtent linear = YExtent(points, false);
    linear.Widen(false);
    drawn = DrawXAxis(plot, x) + DrawScale(plot, points, x, YAxis(linear, false), "linear");
    if (can_log) {
      PlotExtent log = YExtent(points, true);
      log.Widen(true);
      drawn += DrawScale(plot, points, x, YAxis(log, true), "log");
      has_button = true;
    }
  }
  return fmt::format(
      "<figure class=\"scatter{}\"><figcaption><span>{}</span>{}</figcaption>"
      "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">{}</svg>{}</figure>\n",
      plot.starts_logarithmic && has_button ? " uses-log" : "", EscapeHtml(plot.title),
      has_button ? "<button type=\"button\" class=\"scale\">log scale</button>" : "", kWidth,
      kHeight, EscapeHtml(plot.title), drawn, Legend(plot));
}

}  // namespace planish
