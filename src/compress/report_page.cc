// SPDX-License-Identifier: Apache-2.0
#include "compress/report_page.h"

#include <fmt/format.h>

#include <cmath>

#include "base/error.h"
#include "base/page.h"
#include "base/scatter.h"

namespace planish {

ReportCell NumberCell(double value, PlotUnit unit) {
  return std::isfinite(value) ? ReportCell(PlotNumber(value, unit), value) : ReportCell("–");
}

std::string SortableTable(const ReportTable& table) {
  if (table.rows.empty()) return {};
  std::vector<bool> is_shown(table.columns.size(), false);
  for (const std::vector<ReportCell>& row : table.rows) {
    PLANISH_CHECK(row.size() == table.columns.size(), "{} cells", row.size());
    for (size_t i = 0; i < row.size(); ++i) is_shown[i] = is_shown[i] || !row[i].text.empty();
  }
  std::string html = "<div class=\"scroll\"><table class=\"sortable\"><thead><tr>";
  for (size_t i = 0; i < table.columns.size(); ++i) {
    if (!is_shown[i]) continue;
    html += fmt::format("<th{}><button type=\"button\">{}</button></th>",
                        table.columns[i].is_number ? " class=\"number\"" : "",
                        EscapeHtml(table.columns[i].name));
  }
  html += "</tr></thead><tbody>\n";
  for (const std::vector<ReportCell>& row : table.rows) {
    html += "<tr>";
    for (size_t i = 0; i < row.size(); ++i) {
      if (!is_shown[i]) continue;
      const bool is_number = table.columns[i].is_number;
      html += fmt::format("<td{}{}>{}</td>", is_number ? " class=\"number\"" : "",
                          is_number && std::isfinite(row[i].value)
                              ? fmt::format(" data-value=\"{:.17g}\"", row[i].value)
                              : "",
                          EscapeHtml(row[i].text));
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

std::string FactsTable(const std::vector<std::pair<std::string, std::string>>& facts) {
  if (facts.empty()) return {};
  std::string html = "<div class=\"scroll\"><table class=\"facts\">";
  for (const auto& [name, value] : facts)
    html += fmt::format("<tr><th>{}</th><td>{}</td></tr>\n", EscapeHtml(name), EscapeHtml(value));
  return html + "</table></div>\n";
}

std::string PredictedMeasuredPlot(const std::string& title, const std::string& quantity,
                                  const std::vector<Prediction>& points, PlotUnit unit) {
  ScatterPlot plot{.title = title,
                   .x_label = "predicted " + quantity,
                   .y_label = "measured " + quantity,
                   .x_unit = unit,
                   .y_unit = unit,
                   .has_diagonal = true};
  ScatterSeries series{.name = title, .has_labels = points.size() <= 8};
  for (const Prediction& point : points)
    series.points.push_back({point.predicted, point.measured, point.label, point.low, point.high});
  plot.series.push_back(std::move(series));
  return DrawScatter(plot);
}

std::string CompressPage(const std::string& title,
                         const std::vector<std::pair<std::string, std::string>>& cards,
                         const std::vector<ReportSection>& sections) {
  std::string html;
  if (!cards.empty()) {
    html += "<section class=\"cards\">";
    for (const auto& [value, name] : cards) html += HtmlCard(value, name);
    html += "</section>\n";
  }
  for (const ReportSection& section : sections) {
    if (section.html.empty()) continue;
    html += "<section>";
    if (!section.heading.empty()) html += fmt::format("<h2>{}</h2>\n", EscapeHtml(section.heading));
    html += section.html + "</section>\n";
  }
  return HtmlPage(title, html);
}

}  // namespace planish
