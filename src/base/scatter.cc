// SPDX-License-Identifier: Apache-2.0
#include "base/scatter.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/plot_axis.h"

namespace planish {
namespace {

// In units of the viewBox; room at the left for the name of the y axis.
constexpr double kWidth = 720, kHeight = 400, kLeft = 82, kRight = 18, kTop = 12, kBottom = 44;
constexpr double kRadius = 3.5, kLargeRadius = 6;  // of points
constexpr double kLogRatio =
    30;  // of values under a diagonal, from which on both axes are logarithmic
// Of a label, roughly; its distance from the point beside it, above and below.
constexpr double kLetterWidth = 7, kLetterHeight = 12, kBeside = 10, kAbove = 11;

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

struct Box {
  double left, right, top, bottom;
  bool Meets(const Box& other) const {
    return left < other.right && other.left < right && top < other.bottom && other.top < bottom;
  }
};

// Where a label of `width` may stand: its text's anchor, and the room it takes.
struct LabelPlace {
  const char* anchor;  // CSS class
  double x, y;
  Box box;
};

std::array<LabelPlace, 4> LabelPlaces(double px, double py, double width) {
  constexpr double kHalf = kLetterHeight / 2;
  const auto box = [&](double left, double middle) {
    return Box{left, left + width, middle - kHalf, middle + kHalf};
  };
  return {{{"", px + kBeside, py + 4, box(px + kBeside, py)},
           {" end", px - kBeside, py + 4, box(px - kBeside - width, py)},
           {" middle", px, py - kAbove, box(px - width / 2, py - kAbove - 4)},
           {" middle", px, py + kAbove + 8, box(px - width / 2, py + kAbove + 4)}}};
}

// Labels beside their points: right of them if there is room, else left, above or below, so that neither the frame, nor a point,
// nor an earlier label is in the way. Where there is room nowhere, at the right if the frame allows.
std::string DrawLabels(const ScatterPlot& plot, const PlotAxis& x, const PlotAxis& y) {
  constexpr Box kFrame{kLeft, kWidth - kRight, kTop - kLetterHeight, kHeight - kBottom};
  std::vector<Box> taken;
  for (const ScatterSeries& series : plot.series) {
    const double r = series.is_large ? kLargeRadius : kRadius;
    for (const ScatterPoint& point : series.points) {
      if (!x.Shows(point.x) || !y.Shows(point.y)) continue;
      const double px = x.At(point.x), py = y.At(point.y);
      taken.push_back({px - r, px + r, py - r, py + r});
    }
  }
  std::string svg;
  for (const ScatterSeries& series : plot.series) {
    if (!series.has_labels) continue;
    for (const ScatterPoint& point : series.points) {
      if (point.label.empty() || !x.Shows(point.x) || !y.Shows(point.y)) continue;
      const auto places = LabelPlaces(x.At(point.x), y.At(point.y),
                                      kLetterWidth * static_cast<double>(point.label.size()));
      const auto fits = [&](const Box& box) {
        return box.left >= kFrame.left && box.right <= kFrame.right && box.top >= kFrame.top &&
               box.bottom <= kFrame.bottom;
      };
      auto place = std::find_if(places.begin(), places.end(), [&](const LabelPlace& p) {
        return fits(p.box) && std::none_of(taken.begin(), taken.end(),
                                           [&](const Box& box) { return box.Meets(p.box); });
      });
      if (place == places.end())
        place = places[0].box.right <= kFrame.right ? &places[0] : &places[1];
      taken.push_back(place->box);
      svg += fmt::format("<text class=\"name{}\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>",
                         place->anchor, place->x, place->y, EscapeHtml(point.label));
    }
  }
  return svg;
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
          py, series.is_large ? kLargeRadius : kRadius, color, TipOf(plot, series, point));
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
  return svg + DrawPoints(plot, x, y) + DrawLabels(plot, x, y) + "</g>";
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
