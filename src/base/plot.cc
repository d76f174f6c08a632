// SPDX-License-Identifier: Apache-2.0
#include "base/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/json.h"
#include "base/plot_axis.h"

namespace planish {
namespace {

// In units of the viewBox.
constexpr double kWidth = 720, kHeight = 300, kLeft = 64, kRight = 14, kTop = 12, kBottom = 42;
constexpr double kPlotWidth = kWidth - kLeft - kRight, kPlotHeight = kHeight - kTop - kBottom;

PlotAxis XAxis(const Plot& plot) {
  PlotExtent extent;
  for (const PlotSeries& series : plot.series) {
    for (const double x : series.x) extent.Add(x);
  }
  if (!plot.x_names.empty()) {  // names at the ends need room
    for (const auto& tick : plot.x_names) extent.Add(tick.first);
    const double room = 0.04 * (extent.high - extent.low);
    extent.low -= room;
    extent.high += room;
  }
  if (extent.low == extent.high) extent.low -= 0.5, extent.high += 0.5;
  return PlotAxis(false, extent.low, extent.high, kLeft, kWidth - kRight);
}

// Over all finite values (positive ones on a logarithmic axis), with some room above and below.
PlotAxis YAxis(const Plot& plot, bool is_log) {
  if (plot.is_share) return PlotAxis(false, 0, 1, kHeight - kBottom, kTop);
  PlotExtent extent;
  for (const PlotSeries& series : plot.series) {
    for (const double y : series.y) {
      if (std::isfinite(y) && (!is_log || y > 0)) extent.Add(y);
    }
  }
  if (plot.from_zero && !is_log) extent.Add(0);
  const bool sits_on_zero = plot.from_zero && !is_log && extent.low == 0;
  extent.Widen(is_log);
  if (sits_on_zero) extent.low = 0;
  return PlotAxis(is_log, extent.low, extent.high, kHeight - kBottom, kTop);
}

std::string PathOf(const PlotSeries& series, const PlotAxis& x, const PlotAxis& y) {
  std::string path;
  bool is_down = false;
  for (size_t i = 0; i < series.x.size(); ++i) {
    if (!y.Shows(series.y[i])) {
      is_down = false;
      continue;
    }
    path +=
        fmt::format("{}{:.1f} {:.1f}", is_down ? "L" : "M", x.At(series.x[i]), y.At(series.y[i]));
    is_down = true;
  }
  return path;
}

std::string DrawSeries(const PlotSeries& series, const PlotAxis& x, const PlotAxis& y) {
  const std::string color = fmt::format("var(--c{})", series.color % kPlotColors);
  std::string svg =
      fmt::format("<path class=\"{}\" style=\"stroke:{}\"{} d=\"{}\"/>",
                  series.is_faint ? "line faint" : "line", color,
                  series.is_dashed ? " stroke-dasharray=\"5 4\"" : "", PathOf(series, x, y));
  for (size_t i = 0; i < series.low.size(); ++i) {
    if (y.Shows(series.y[i]) && y.Shows(series.low[i]) && y.Shows(series.high[i]))
      svg += PlotWhisker(color, x.At(series.x[i]), y.At(series.low[i]), y.At(series.high[i]));
  }
  if (!series.has_markers) return svg;
  for (size_t i = 0; i < series.x.size(); ++i) {
    if (y.Shows(series.y[i]))
      svg += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.6\" style=\"fill:{}\"/>",
                         x.At(series.x[i]), y.At(series.y[i]), color);
  }
  return svg;
}

std::string DrawScale(const Plot& plot, const PlotAxis& x, const PlotAxis& y, const char* name) {
  std::string svg = fmt::format("<g class=\"{}\">", name);
  for (const double tick : y.Ticks()) {
    svg += fmt::format(
        "<line class=\"grid\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>"
        "<text class=\"tick end\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>",
        kLeft, kWidth - kRight, y.At(tick), y.At(tick), kLeft - 8, y.At(tick) + 4,
        PlotNumber(tick, plot.y_unit));
  }
  for (const PlotSeries& series : plot.series) svg += DrawSeries(series, x, y);
  return svg + "</g>";
}

std::string DrawXAxis(const Plot& plot, const PlotAxis& x) {
  std::string svg =
      fmt::format("<line class=\"axis\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>",
                  kLeft, kWidth - kRight, kHeight - kBottom, kHeight - kBottom);
  std::vector<std::pair<double, std::string>> ticks = plot.x_names;
  if (ticks.empty()) {
    for (const double tick : x.Ticks()) ticks.emplace_back(tick, PlotNumber(tick, plot.x_unit));
  }
  for (const auto& [tick, name] : ticks) {
    svg += fmt::format(
        "<line class=\"axis\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\"/>"
        "<text class=\"tick middle\" x=\"{0:.1f}\" y=\"{3:.1f}\">{4}</text>",
        x.At(tick), kHeight - kBottom, kHeight - kBottom + 5, kHeight - kBottom + 18,
        EscapeHtml(name));
  }
  return svg + fmt::format("<text class=\"label middle\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>",
                           kLeft + kPlotWidth / 2, kHeight - 6, EscapeHtml(plot.x_label));
}

std::string Legend(const Plot& plot) {
  const auto lines = std::count_if(plot.series.begin(), plot.series.end(),
                                   [](const PlotSeries& series) { return !series.is_faint; });
  if (lines < 2) return {};  // the title says it
  std::string html = "<div class=\"legend\">";
  for (const PlotSeries& series : plot.series) {
    if (series.is_faint) continue;
    html += fmt::format("<span><i style=\"background:var(--c{})\"{}></i>{}</span>",
                        series.color % kPlotColors, series.is_dashed ? " class=\"dashed\"" : "",
                        EscapeHtml(series.name));
  }
  return html + "</div>";
}

Json RoundedNumbers(const std::vector<double>& values) {
  Json::Array array;
  for (const double value : values) {
    // Six digits are more than a tooltip shows.
    if (std::isfinite(value))
      array.emplace_back(std::stod(fmt::format("{:.6g}", value)));
    else
      array.emplace_back(nullptr);
  }
  return Json(std::move(array));
}

const char* UnitName(PlotUnit unit) {
  switch (unit) {
    case PlotUnit::kCount:
      return "count";
    case PlotUnit::kPercent:
      return "percent";
    case PlotUnit::kMilliseconds:
      return "ms";
    default:
      return "plain";
  }
}

// For the script: how to place a value, and the values.
std::string HoverData(const Plot& plot, const PlotAxis& x, const PlotAxis& linear,
                      const PlotAxis& log) {
  Json json = Json::MakeObject();
  json.Set("x", Json::Array{Json(x.offset), Json(x.factor)});
  json.Set("linear", Json::Array{Json(linear.offset), Json(linear.factor)});
  json.Set("log", Json::Array{Json(log.offset), Json(log.factor)});
  json.Set("xLabel", plot.x_label);
  json.Set("xUnit", UnitName(plot.x_unit));
  Json& names = json.Set("xNames", Json::MakeArray());
  for (const auto& [at, name] : plot.x_names) names.Append(Json::Array{Json(at), Json(name)});
  json.Set("yUnit", UnitName(plot.y_unit));
  Json& list = json.Set("series", Json::MakeArray());
  for (const PlotSeries& series : plot.series) {
    list.Append(Json::Object{{"name", series.name},
                             {"color", uint64_t{series.color % kPlotColors}},
                             {"faint", series.is_faint},
                             {"x", RoundedNumbers(series.x)},
                             {"y", RoundedNumbers(series.y)}});
  }
  std::string text = DumpJson(json), safe;
  for (const char c : text) {  // no "</script>" inside a script
    if (c == '<')
      safe += "\\u003c";
    else
      safe += c;
  }
  return safe;
}

bool IsWorthDrawing(const Plot& plot) {
  for (const PlotSeries& series : plot.series) {
    const auto finite =
        std::count_if(series.y.begin(), series.y.end(), [](double y) { return std::isfinite(y); });
    if (finite >= (series.has_markers ? 1 : 2)) return true;
  }
  return false;
}

}  // namespace

std::string DrawPlot(const Plot& plot) {
  if (!IsWorthDrawing(plot)) return {};
  const PlotAxis x = XAxis(plot), linear = YAxis(plot, false), log = YAxis(plot, true);
  const bool can_log =
      !plot.is_share &&
      std::any_of(plot.series.begin(), plot.series.end(), [](const PlotSeries& series) {
        return std::any_of(series.y.begin(), series.y.end(), [](double y) { return y > 0; });
      });
  return fmt::format(
      "<figure class=\"plot{}\"><figcaption><span>{}</span>{}</figcaption>"
      "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">{}{}{}"
      "<g class=\"hover\"></g></svg>{}<script type=\"application/json\">{}</script></figure>\n",
      plot.starts_logarithmic && can_log ? " uses-log" : "", EscapeHtml(plot.title),
      can_log ? "<button type=\"button\" class=\"scale\">log scale</button>" : "", kWidth, kHeight,
      EscapeHtml(plot.title), DrawXAxis(plot, x), DrawScale(plot, x, linear, "linear"),
      can_log ? DrawScale(plot, x, log, "log") : "", Legend(plot), HoverData(plot, x, linear, log));
}

std::string DrawBars(const BarPlot& plot) {
  if (plot.rows.empty()) return {};
  constexpr double kName = 190, kNote = 120, kBar = 11, kGap = 3, kRowGap = 12, kHead = 4,
                   kFoot = 24;
  constexpr double kLength = kWidth - kName - kNote;
  const auto at = [](double share) { return kName + kLength * std::clamp(share, 0.0, 1.0); };
  std::string bars;
  double y = kHead;
  for (const auto& [name, values] : plot.rows) {
    const double height = static_cast<double>(values.size()) * (kBar + kGap) - kGap;
    bars += fmt::format("<text class=\"name end\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", kName - 8,
                        y + height / 2 + 4, EscapeHtml(name));
    for (size_t i = 0; i < values.size(); ++i, y += kBar + kGap) {
      const ShareBar& bar = values[i];
      const double middle = y + kBar / 2;
      bars += fmt::format(
          "<rect x=\"{0:.1f}\" y=\"{1:.1f}\" width=\"{2:.1f}\" height=\"{3}\" "
          "style=\"fill:var(--c{4})\"/><path class=\"whisker\" style=\"stroke:var(--text)\" "
          "d=\"M{5:.1f} {6:.1f}H{7:.1f}\"/><text class=\"tick\" x=\"{8:.1f}\" "
          "y=\"{9:.1f}\">{10}</text>",
          kName, y, at(bar.value) - kName, kBar, i % kPlotColors, at(bar.low), middle, at(bar.high),
          kWidth - kNote + 8, middle + 4, EscapeHtml(bar.note));
    }
    y += kRowGap - kGap;
  }
  std::string grid;
  for (const double tick : LinearTicks(0, 1)) {
    grid += fmt::format(
        "<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"0\" y2=\"{1:.1f}\"/>"
        "<text class=\"tick middle\" x=\"{0:.1f}\" y=\"{2:.1f}\">{3}</text>",
        at(tick), y, y + 16, PlotNumber(tick, PlotUnit::kPercent));
  }
  std::string legend;
  for (size_t i = 0; i < plot.series.size() && plot.series.size() > 1; ++i)
    legend += fmt::format("<span><i style=\"background:var(--c{})\"></i>{}</span>", i % kPlotColors,
                          EscapeHtml(plot.series[i]));
  return fmt::format(
      "<figure class=\"bars\"><figcaption><span>{0}</span></figcaption><svg viewBox=\"0 0 {1} "
      "{2}\" "
      "role=\"img\" aria-label=\"{0}\">{3}{4}</svg><div class=\"legend\">{5}</div></figure>\n",
      EscapeHtml(plot.title), kWidth, y + kFoot, grid, bars, legend);
}

std::vector<double> LinearTicks(double low, double high) {
  const double raw = (high - low) / 8;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  const double step = power * (raw / power <= 1   ? 1
                               : raw / power <= 2 ? 2
                               : raw / power <= 5 ? 5
                                                  : 10);
  std::vector<double> ticks;
  const double first = std::ceil(low / step - 1e-9);
  for (double k = first; k * step <= high + 1e-9 * step; ++k)
    ticks.push_back(k == 0 ? 0 : k * step);
  return ticks;
}

std::vector<double> LogTicks(double low, double high) {
  const int first = static_cast<int>(std::floor(std::log10(low))),
            last = static_cast<int>(std::ceil(std::log10(high)));
  for (const std::vector<double>& digits : {std::vector<double>{1}, std::vector<double>{1, 2, 5}}) {
    std::vector<double> ticks;
    const int every = digits.size() == 1 ? (last - first) / 8 + 1 : 1;  // of the powers of ten
    for (int power = first; power <= last; power += every) {
      for (const double digit : digits) {
        const double tick = digit * std::pow(10, power);
        if (tick >= low && tick <= high) ticks.push_back(tick);
      }
    }
    if (ticks.size() >= 3) return ticks;
  }
  std::vector<double> ticks = LinearTicks(low, high);
  std::erase_if(ticks, [](double tick) { return tick <= 0; });
  return ticks;
}

std::string PlotNumber(double value, PlotUnit unit) {
  const double size = std::abs(value);
  if (size < 1e-300) value = 0;  // and no "-0"
  if (unit == PlotUnit::kPercent) return fmt::format("{:.3g} %", 100 * value);
  if (value == 0) return "0";
  if (unit != PlotUnit::kPlain || size >= 1e5) {
    for (const auto& [scale, suffix] : {std::pair{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}}) {
      if (size >= scale) return fmt::format("{:.4g}{}", value / scale, suffix);
    }
  }
  if (size >= 1e-4) return fmt::format("{:.4g}", value);
  // 4.5e-6, not 4.5e-06
  const int power = static_cast<int>(std::floor(std::log10(size) + 1e-12));
  return fmt::format("{:.3g}e{}", value / std::pow(10, power), power);
}

void ThinOut(size_t buckets, std::vector<double>* x, std::vector<double>* y) {
  const size_t n = x->size();
  if (n <= 2 * buckets) return;
  std::vector<double> thin_x, thin_y;
  const auto keep = [&](size_t i) {
    thin_x.push_back((*x)[i]);
    thin_y.push_back((*y)[i]);
  };
  for (size_t b = 0; b < buckets; ++b) {
    const size_t begin = n * b / buckets, end = n * (b + 1) / buckets;
    size_t least = begin, largest = begin;
    for (size_t i = begin; i < end; ++i) {
      if (!((*y)[i] >= (*y)[least])) least = i;  // a NaN wins, so that gaps stay
      if ((*y)[i] > (*y)[largest]) largest = i;
    }
    keep(std::min(least, largest));
    if (least != largest) keep(std::max(least, largest));
  }
  *x = std::move(thin_x);
  *y = std::move(thin_y);
}

std::vector<double> Smoothed(const std::vector<double>& y, double half_life) {
  const double decay = std::pow(0.5, 1 / half_life);
  std::vector<double> smooth = y;
  double sum = 0, weight = 0;
  for (double& value : smooth) {
    if (!std::isfinite(value)) continue;
    sum = decay * sum + value;
    weight = decay * weight + 1;
    value = sum / weight;
  }
  return smooth;
}

std::string EscapeHtml(std::string_view text) {
  std::string html;
  for (const char c : text) {
    switch (c) {
      case '&':
        html += "&amp;";
        break;
      case '<':
        html += "&lt;";
        break;
      case '>':
        html += "&gt;";
        break;
      case '"':
        html += "&quot;";
        break;
      default:
        if ((static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7F)
          html += "\xEF\xBF\xBD";
        else
          html += c;
    }
  }
  return html;
}

}  // namespace planish
