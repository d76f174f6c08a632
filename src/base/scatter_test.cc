// SPDX-License-Identifier: Apache-2.0
#include "base/scatter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace planish {
namespace {

const double kNan = std::nan("");

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

// Values of an attribute of all circles, in order.
std::vector<double> Circles(const std::string& html, const std::string& attribute) {
  std::vector<double> values;
  const std::string part = " " + attribute + "=\"";
  for (size_t at = html.find("<circle"); at != std::string::npos; at = html.find("<circle", at + 1))
    values.push_back(std::stod(html.substr(html.find(part, at) + part.size())));
  return values;
}

TEST(Scatter, FrontIsWhatNoPointBeats) {
  uint64_t state = 1;
  const auto draw = [&] {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<double>((state >> 33) % 12);  // ties happen
  };
  for (const Better better : {Better::kLessLess, Better::kLessMore}) {
    for (int round = 0; round < 50; ++round) {
      std::vector<ScatterPoint> points;
      for (int i = 0; i < 20; ++i) points.push_back({draw(), draw(), ""});
      points.push_back({kNan, 0, ""});
      const double sign = better == Better::kLessLess ? 1 : -1;
      const auto beats = [&](const ScatterPoint& a, const ScatterPoint& b) {
        return a.x <= b.x && sign * a.y <= sign * b.y && (a.x < b.x || sign * a.y < sign * b.y);
      };
      const std::vector<size_t> front = ParetoFront(points, better);
      for (size_t i = 0; i + 1 < points.size(); ++i) {
        bool is_best = true;
        for (size_t j = 0; j + 1 < points.size(); ++j) {
          const bool is_twin = points[j].x == points[i].x && points[j].y == points[i].y;
          if (beats(points[j], points[i]) || (is_twin && j < i)) is_best = false;
        }
        EXPECT_EQ(std::count(front.begin(), front.end(), i), is_best ? 1 : 0) << "round " << round;
      }
      EXPECT_EQ(std::count(front.begin(), front.end(), points.size() - 1), 0);
      for (size_t i = 1; i < front.size(); ++i)
        EXPECT_LT(points[front[i - 1]].x, points[front[i]].x);
    }
  }
}

TEST(Scatter, DrawsPointsOnBothScalesWithTips) {
  ScatterPlot plot{.title = "t <b>", .x_label = "ms", .y_label = "KL", .better = Better::kLessLess};
  plot.series = {{.name = "a", .points = {{1, 0.01, "half \"x\"", 0.005, 0.02}, {2, 0.001, ""}}},
                 {.name = "<c>", .color = 9, .points = {{3, 0.1, "p"}, {kNan, 1, "q"}}}};
  const std::string html = DrawScatter(plot);
  EXPECT_EQ(Count(html, "<circle"), 6u);  // three points on two scales
  EXPECT_EQ(Count(html, "class=\"whisker\""), 2u);
  EXPECT_EQ(Count(html, "<b>"), 0u);
  EXPECT_NE(html.find("half &quot;x&quot;\nms: 1\nKL: 0.01 (0.005 to 0.02)"), std::string::npos);
  EXPECT_NE(html.find("&lt;c&gt;"), std::string::npos);
  EXPECT_NE(html.find("fill:var(--c1)"), std::string::npos);
  EXPECT_EQ(Count(html, "line front"), 2u);
  const std::vector<double> x = Circles(html, "cx"), y = Circles(html, "cy");
  EXPECT_NEAR(x[2] - x[1], x[1] - x[0], 0.11);  // one decimal of a pixel each
  EXPECT_LT(y[0], y[1]);                        // larger is higher
  // On the logarithmic scale equal ratios are equal distances.
  EXPECT_NEAR(y[4] - y[3], y[3] - y[5], 0.21);
}

TEST(Scatter, EqualValuesLieOnTheDiagonal) {
  for (const double scale : {1.0, 1000.0}) {  // linear, and logarithmic over a wide range
    ScatterPlot plot{.title = "t", .x_label = "x", .y_label = "y", .has_diagonal = true};
    plot.series = {{.name = "a", .points = {{1, 1, ""}, {2, 2, ""}, {3 * scale, 3 * scale, ""}}}};
    const std::string html = DrawScatter(plot);
    EXPECT_EQ(html.find("log scale"), std::string::npos);
    const size_t at = html.find("diagonal\" d=\"M");
    ASSERT_NE(at, std::string::npos);
    double x0, y0, x1, y1;
    ASSERT_EQ(std::sscanf(html.c_str() + at + 13, "M%lf %lfL%lf %lf", &x0, &y0, &x1, &y1), 4);
    const std::vector<double> x = Circles(html, "cx"), y = Circles(html, "cy");
    ASSERT_EQ(x.size(), 3u);
    for (size_t i = 0; i < 3; ++i)
      EXPECT_NEAR(y[i], y0 + (y1 - y0) * (x[i] - x0) / (x1 - x0), 0.11);
  }
}

TEST(Scatter, LabelsKeepOutOfTheWayOfPointsFrameAndEachOther) {
  ScatterPlot plot{.title = "t", .x_label = "x", .y_label = "y"};
  const auto labels = [&](std::vector<ScatterPoint> points) {
    plot.series = {{.name = "a", .has_labels = true, .points = std::move(points)}};
    const std::string html = DrawScatter(plot);
    std::vector<std::string> classes;  // of the labels of the linear drawing
    const size_t end = html.find("<g class=\"log\"");
    for (size_t at = html.find("class=\"name"); at < end; at = html.find("class=\"name", at + 1))
      classes.push_back(html.substr(at + 7, html.find('"', at + 7) - at - 7));
    return classes;
  };
  using Classes = std::vector<std::string>;
  // Points far apart: right, and left at the right edge.
  EXPECT_EQ(labels({{0, 0, "left"}, {100, 100, "right"}}), (Classes{"name", "name end"}));
  // A point without label at the right of one: that one's label goes to its left.
  EXPECT_EQ(labels({{0, 0, ""}, {50, 50, "label"}, {52, 50, ""}, {100, 100, ""}}),
            Classes{"name end"});
  // Points on both sides: above.
  EXPECT_EQ(labels({{0, 0, ""}, {48, 50, ""}, {50, 50, "label"}, {52, 50, ""}, {100, 100, ""}}),
            Classes{"name middle"});
  // Two in one place: the second label does not cover the first.
  EXPECT_EQ(labels({{0, 0, ""}, {50, 50, "one"}, {50, 50, "two"}, {100, 100, ""}}),
            (Classes{"name", "name end"}));
}

TEST(Scatter, NothingToDrawAndOnePointAreFine) {
  ScatterPlot plot{.title = "t", .x_label = "x", .y_label = "y"};
  EXPECT_EQ(DrawScatter(plot), "");
  plot.series = {{.name = "a", .points = {{kNan, 1, ""}}}};
  EXPECT_EQ(DrawScatter(plot), "");
  for (const double value : {0.0, -3.0, 5.0}) {
    for (const bool has_diagonal : {false, true}) {
      plot.series[0].points = {{value, value, "p"}};
      plot.has_diagonal = has_diagonal;
      const std::string html = DrawScatter(plot);
      EXPECT_NE(html.find("<circle"), std::string::npos);
      EXPECT_EQ(html.find("nan"), std::string::npos);
      EXPECT_EQ(html.find("inf"), std::string::npos);
      EXPECT_EQ(html.find("log scale") != std::string::npos, value > 0 && !has_diagonal);
    }
  }
}

}  // namespace
}  // namespace planish
