// SPDX-License-Identifier: Apache-2.0
#include "cli/demo_page.h"

#include <fmt/format.h>

#include "base/page.h"
#include "base/plot.h"

namespace planish {
namespace {

std::string Cards(const DemoRecord& record) {
  std::string html;
  for (const TaskResult& result : record.sweep) {
    for (const Summary& summary : result.summaries) {
      if (!summary.setting.has_budget())
        html += HtmlCard(fmt::format("{:.0f} %", 100 * summary.accuracy.mean),
                         fmt::format("right with thinking {}", Name(summary.setting)));
    }
  }
  html +=
      HtmlCard(fmt::format("{:.0f}", record.decode_tokens_per_s), "tokens a second, one answer");
  if (record.batch_tokens_per_s > 0)
    html +=
        HtmlCard(fmt::format("{:.0f}", record.batch_tokens_per_s), "tokens a second, many at once");
  html += HtmlCard(
      fmt::format("{:.0f} MiB", static_cast<double>(record.resident_bytes) / (1 << 20)), "memory");
  return "<section class=\"cards\">" + html + "</section>\n";
}

std::string AnswerHtml(const DemoAnswer& answer) {
  std::string verdict;
  if (answer.has_key)
    verdict =
        fmt::format("<em class=\"{}\">{}</em>, expected {} · ", answer.is_right ? "good" : "bad",
                    answer.is_right ? "right" : "wrong", EscapeHtml(answer.key));
  const std::string reasoning =
      answer.reasoning.empty() ? "" : "<i>" + EscapeHtml(answer.reasoning) + "</i>";
  return fmt::format(
      "<article><header>{} · {}{} tokens, {} of them reasoning, {:.0f} a "
      "second</header><pre><b>{}</b>\n"
      "{}{}</pre></article>\n",
      EscapeHtml(answer.setting), verdict, answer.tokens, answer.reasoning_tokens,
      answer.tokens_per_s, EscapeHtml(answer.question), reasoning, EscapeHtml(answer.answer));
}

std::string ToolHtml(const DemoToolRun& run) {
  return fmt::format(
      "<article><header><em class=\"{}\">{}</em></header><pre><b>{}</b>\n<i>{}</i>{}\n→ "
      "{}\n{}</pre>"
      "</article>\n",
      run.is_valid ? "good" : "bad", run.is_valid ? "called" : "no valid call",
      EscapeHtml(run.question), EscapeHtml(run.reasoning), EscapeHtml(run.call),
      EscapeHtml(run.result), EscapeHtml(run.answer));
}

std::string ShrunkTable(const std::vector<ShrunkModel>& rows) {
  std::string html =
      "<section><h2>Smaller by 30 %</h2><p>The model pruned, then distilled for a short while on "
      "new "
      "problems; and its new shape trained from scratch on the same ones.</p><div "
      "class=\"scroll\"><table><tr><th></th><th>parameters</th><th>bf16 MiB</th><th>trained "
      "tokens</th><th>seconds</th><th>tokens/s, 64 at once</th><th>right with thinking</th></tr>\n";
  for (const ShrunkModel& row : rows) {
    const Share& accuracy = row.summary.accuracy;
    html += fmt::format(
        "<tr><th>{}</th><td>{}</td><td>{:.1f}</td><td>{}</td><td>{:.1f}</td><td>{:.0f}</"
        "td><td>{:.0f} "
        "% ({:.0f} to {:.0f})</td></tr>\n",
        EscapeHtml(row.name), row.parameters, static_cast<double>(row.bytes) / (1 << 20),
        row.tokens, row.seconds, row.summary.tokens_per_s, 100 * accuracy.mean,
        100 * accuracy.interval.low, 100 * accuracy.interval.high);
  }
  return html + "</table></div></section>\n";
}

}  // namespace

std::string DemoPage(const std::string& model, const DemoRecord& record) {
  std::string html = Cards(record);
  if (!record.sweep.empty()) {
    html += "<h2>More thinking, more right answers</h2>\n";
    for (const TaskResult& result : record.sweep) html += EvalPlots(result) + EvalTable(result);
  }
  html += "<section><h2>Answers</h2>\n";
  for (const DemoAnswer& answer : record.answers) html += AnswerHtml(answer);
  html += "</section>\n";
  if (!record.tools.empty()) {
    html += "<section><h2>Tools</h2>\n";
    for (const DemoToolRun& run : record.tools) html += ToolHtml(run);
    html += "</section>\n";
  }
  if (!record.shrunk.empty()) html += ShrunkTable(record.shrunk);
  html += "<section><h2>Model and machine</h2><div class=\"scroll\"><table class=\"facts\">";
  for (const auto& [name, value] : record.facts)
    html += fmt::format("<tr><th>{}</th><td>{}</td></tr>\n", EscapeHtml(name), EscapeHtml(value));
  html += fmt::format("<tr><th>seconds</th><td>{:.1f}</td></tr></table></div></section>\n",
                      record.seconds);
  return HtmlPage("planish demo: " + model, html);
}

}  // namespace planish
