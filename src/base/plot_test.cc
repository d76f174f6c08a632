// SPDX-License-Identifier: Apache-2.0
#include "base/plot.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/json.h"

namespace planish {
namespace {

const double kNan = std::nan("");

TEST(Plot, TicksAreRoundInsideAndEnough) {
  EXPECT_EQ(LinearTicks(-1, 6), (std::vector<double>{-1, 0, 1, 2, 3, 4, 5, 6}));
  EXPECT_FALSE(std::signbit(LinearTicks(-0.5, 6)[0]));
  EXPECT_EQ(LogTicks(1e-3, 2e3), (std::vector<double>{1e-3, 1e-2, 1e-1, 1, 10, 100, 1000}));
  for (const auto& [low, high] :
       {std::pair{2.9, 11.3}, {-3.0, 4.0}, {0.0, 3e-6}, {1e9, 1.2e9}, {4.2, 4.21}, {0.0, 7.0}}) {
    const std::vector<double> ticks = LinearTicks(low, high);
    EXPECT_GE(ticks.size(), 3u) << low << " " << high;
    EXPECT_LE(ticks.size(), 9u) << low << " " << high;
    for (const double tick : ticks) {
      EXPECT_GE(tick, low - 1e-9 * (high - low));
      EXPECT_LE(tick, high + 1e-9 * (high - low));
    }
  }
  for (const auto& [low, high] : {std::pair{2.9, 11.3}, {0.02, 50.0}, {3.0, 3.1}, {1e-12, 1e12}}) {
    const std::vector<double> ticks = LogTicks(low, high);
    EXPECT_GE(ticks.size(), 3u) << low << " " << high;
    EXPECT_LE(ticks.size(), 10u) << low << " " << high;
    EXPECT_TRUE(std::is_sorted(ticks.begin(), ticks.end()));
    for (const double tick : ticks) EXPECT_GT(tick, 0);
  }
}

TEST(Plot, NumbersAreShort) {
  EXPECT_EQ(PlotNumber(0, PlotUnit::kPlain), "0");
  EXPECT_EQ(PlotNumber(3.25, PlotUnit::kPlain), "3.25");
  EXPECT_EQ(PlotNumber(4.5e-6, PlotUnit::kPlain), "4.5e-6");
  EXPECT_EQ(PlotNumber(1e-5, PlotUnit::kPlain), "1e-5");
  EXPECT_EQ(PlotNumber(0.0005, PlotUnit::kPlain), "0.0005");
  EXPECT_EQ(PlotNumber(1500000, PlotUnit::kCount), "1.5M");
  EXPECT_EQ(PlotNumber(12000, PlotUnit::kCount), "12k");
  EXPECT_EQ(PlotNumber(20e12, PlotUnit::kCount), "20T");
  EXPECT_EQ(PlotNumber(-0.0, PlotUnit::kPercent), "0 %");
  EXPECT_EQ(PlotNumber(0.374, PlotUnit::kPercent), "37.4 %");
}

TEST(Plot, ThinningKeepsPeaksAndGaps) {
  std::vector<double> x, y;
  for (int i = 0; i < 10000; ++i) {
    x.push_back(i);
    y.push_back(std::sin(i * 0.01));
  }
  y[4321] = 50;
  y[7000] = -50;
  y[9000] = kNan;
  ThinOut(100, &x, &y);
  EXPECT_LE(x.size(), 200u);
  EXPECT_EQ(x.size(), y.size());
  EXPECT_TRUE(std::is_sorted(x.begin(), x.end()));
  EXPECT_NE(std::find(y.begin(), y.end(), 50.0), y.end());
  EXPECT_NE(std::find(y.begin(), y.end(), -50.0), y.end());
  EXPECT_TRUE(std::any_of(y.begin(), y.end(), [](double v) { return std::isnan(v); }));
  std::vector<double> few_x = {1, 2, 3}, few_y = {4, 5, 6};
  ThinOut(2, &few_x, &few_y);
  EXPECT_EQ(few_y, (std::vector<double>{4, 5, 6}));
}

TEST(Plot, SmoothingIsAWeightedMeanThatSkipsGaps) {
  const std::vector<double> constant = Smoothed({7, 7, kNan, 7}, 3);
  EXPECT_DOUBLE_EQ(constant[1], 7);
  EXPECT_TRUE(std::isnan(constant[2]));
  EXPECT_DOUBLE_EQ(constant[3], 7);
  const std::vector<double> y = Smoothed({0, 3}, 1);  // weights 1/2 and 1
  EXPECT_DOUBLE_EQ(y[0], 0);
  EXPECT_DOUBLE_EQ(y[1], 2);
}

TEST(Plot, EscapesWhatHtmlWouldRead) {
  EXPECT_EQ(EscapeHtml("<a href=\"x\">&\x01\n"), "&lt;a href=&quot;x&quot;&gt;&amp;\xEF\xBF\xBD\n");
}

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(Plot, DrawsBothScalesALegendAndTheValuesForHovering) {
  Plot plot{.title = "Loss <b>", .x_label = "tokens", .series = {}};
  plot.series.push_back({.name = "</script>", .color = 9, .x = {0, 1, 2, 3}, .y = {4, kNan, 2, 1}});
  const std::string html = DrawPlot(plot);
  EXPECT_EQ(Count(html, "<g class=\"linear\">"), 1u);
  EXPECT_EQ(Count(html, "<g class=\"log\">"), 1u);
  EXPECT_EQ(Count(html, "<b>"), 0u);
  EXPECT_EQ(Count(html, "</script>"), 1u);  // its own
  EXPECT_NE(html.find("stroke:var(--c1)"), std::string::npos);
  // The line breaks at the gap: two pieces.
  const size_t begin = html.find(" d=\""), end = html.find('"', begin + 4);
  EXPECT_EQ(Count(html.substr(begin, end - begin), "M"), 2u);
  const size_t data = html.find("application/json\">") + 18;
  const Json json = ParseJson(html.substr(data, html.find("</script>") - data), "plot");
  const Json& series = json.Find("series")->AsArray()[0];
  EXPECT_EQ(series.Find("y")->AsArray().size(), 4u);
  EXPECT_TRUE(series.Find("y")->AsArray()[1].is_null());
  // Places: x ends at the right edge, y of the largest value is above that of the smallest.
  const auto at = [&](const char* key, double value) {
    const Json::Array& scale = json.Find(key)->AsArray();
    return scale[0].AsDouble() + scale[1].AsDouble() * value;
  };
  EXPECT_NEAR(at("x", 0), 64, 1e-6);
  EXPECT_NEAR(at("x", 3), 706, 1e-6);
  EXPECT_LT(at("linear", 4), at("linear", 1));
  EXPECT_LT(at("log", std::log10(4)), at("log", 0));
}

TEST(Plot, NothingToDrawIsNoPlot) {
  Plot plot{.title = "t", .x_label = "x", .series = {}};
  EXPECT_EQ(DrawPlot(plot), "");
  plot.series.push_back({.name = "a", .x = {1, 2}, .y = {kNan, 5}});
  EXPECT_EQ(DrawPlot(plot), "");
  plot.series[0].has_markers = true;
  EXPECT_NE(DrawPlot(plot), "");
  // Zeros only: no logarithmic scale. Constants and one x: no division by zero.
  const std::string zeros =
      DrawPlot({.title = "t", .x_label = "x", .series = {{.name = "a", .x = {1, 2}, .y = {0, 0}}}});
  EXPECT_EQ(zeros.find("class=\"log\""), std::string::npos);
  EXPECT_EQ(zeros.find("nan"), std::string::npos);
  EXPECT_EQ(zeros.find("inf"), std::string::npos);
  const std::string point =
      DrawPlot({.title = "t", .x_label = "x", .series = {{.name = "a", .x = {1, 1}, .y = {3, 3}}}});
  EXPECT_EQ(point.find("nan"), std::string::npos);
  EXPECT_EQ(point.find("inf"), std::string::npos);
}

TEST(Plot, SharesHaveWhiskersNamedTicksAndNoLogarithm) {
  Plot plot{.title = "t", .x_label = "budget", .y_unit = PlotUnit::kPercent, .is_share = true};
  plot.x_names = {{0, "off"}, {1, "<64>"}};
  plot.series = {{.name = "a",
                  .has_markers = true,
                  .x = {0, 1},
                  .y = {0.5, 1},
                  .low = {0.25, 0.75},
                  .high = {0.75, 1}}};
  const std::string html = DrawPlot(plot);
  EXPECT_EQ(html.find("log scale"), std::string::npos);
  EXPECT_NE(html.find(">off</text>"), std::string::npos);
  EXPECT_NE(html.find("&lt;64&gt;"), std::string::npos);
  size_t whiskers = 0;
  for (size_t at = 0; (at = html.find("class=\"whisker\"", at)) != std::string::npos; ++at)
    ++whiskers;
  EXPECT_EQ(whiskers, 2u);
  // 0 and 1 are the ends of the axis: 258 and 12 of the viewBox, so one half is in the middle.
  EXPECT_NE(html.find("cy=\"135.0\""), std::string::npos);
}

TEST(Plot, BarsAreAsLongAsTheirShares) {
  EXPECT_EQ(DrawBars({}), "");
  BarPlot plot{.title = "by skill", .series = {"on", "off"}};
  plot.rows = {{"<money>",
                {{.value = 0.5, .low = 0.4, .high = 0.6, .note = "50 % of 8"},
                 {.value = 1, .low = 0.9, .high = 1}}},
               {"words", {{.value = 0}}}};
  const std::string html = DrawBars(plot);
  EXPECT_NE(html.find("&lt;money&gt;"), std::string::npos);
  EXPECT_NE(html.find("50 % of 8"), std::string::npos);
  for (const char* width : {"width=\"205.0\"", "width=\"410.0\"", "width=\"0.0\""})
    EXPECT_NE(html.find(width), std::string::npos) << width;
}

}  // namespace
}  // namespace planish
