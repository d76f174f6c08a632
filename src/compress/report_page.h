// SPDX-License-Identifier: Apache-2.0
// The pieces of the pages that prune, search, fuse, distill and quantize write, on base/page.h: tables to sort, pairs of facts,
// predictions against measurements. Plots are base/plot.h's and base/scatter.h's, the blocks architecture_map.h's.
#pragma once

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "base/plot.h"

namespace planish {

struct ReportCell {
  std::string text;
  double value =
      std::numeric_limits<double>::quiet_NaN();  // by which a column of numbers is sorted
  ReportCell(std::string shown) : text(std::move(shown)) {}
  ReportCell(const char* shown) : text(shown) {}
  ReportCell(std::string shown, double number) : text(std::move(shown)), value(number) {}
};
// A number as short as a plot writes it.
ReportCell NumberCell(double value, PlotUnit unit = PlotUnit::kPlain);

struct ReportTable {
  struct Column {
    std::string name;
    bool is_number = true;
  };
  std::vector<Column> columns;
  std::vector<std::vector<ReportCell>> rows;  // as many cells as columns
};

// Any column sorts the rows when its name is pressed. A column of empty cells is left out. Empty if there are no rows.
std::string SortableTable(const ReportTable& table);
// Pairs of name and value, plain texts.
std::string FactsTable(const std::vector<std::pair<std::string, std::string>>& facts);

struct Prediction {
  std::string label;
  double predicted = 0, measured = 0;
  double low = std::numeric_limits<double>::quiet_NaN(), high = low;  // interval of the measurement
};
// With the diagonal on which all points would lie; `quantity` names what both axes show, unit included: "ms a token".
std::string PredictedMeasuredPlot(const std::string& title, const std::string& quantity,
                                  const std::vector<Prediction>& points,
                                  PlotUnit unit = PlotUnit::kPlain);

// HTML under a heading (plain text; empty: none). An empty section is left out.
struct ReportSection {
  std::string heading, html;
};
// cards: value and name, plain texts.
std::string CompressPage(const std::string& title,
                         const std::vector<std::pair<std::string, std::string>>& cards,
                         const std::vector<ReportSection>& sections);

}  // namespace planish
