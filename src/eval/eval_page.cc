// SPDX-License-Identifier: Apache-2.0
#include "eval/eval_page.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/page.h"
#include "base/plot.h"

namespace planish {
namespace {

constexpr size_t kShownWrong = 12, kShownRight = 4;  // answers of the first setting
constexpr size_t kShownSettings = 3;                 // bars in a row

std::string Percent(double share) { return fmt::format("{:.1f} %", 100 * share); }

std::string SettingText(const ThinkingSetting& setting) {
  return setting.has_budget() ? fmt::format("budget {}", setting.budget)
                              : "thinking " + Name(setting);
}

// Off, then by budget, unlimited last.
std::vector<const Summary*> ByBudget(const TaskResult& result) {
  std::vector<const Summary*> sorted;
  for (const Summary& summary : result.summaries) sorted.push_back(&summary);
  std::stable_sort(sorted.begin(), sorted.end(), [](const Summary* a, const Summary* b) {
    return static_cast<uint64_t>(a->setting.budget) < static_cast<uint64_t>(b->setting.budget);
  });
  return sorted;
}

std::string BudgetCurve(const TaskResult& result) {
  if (result.summaries.size() < 2) return {};
  Plot plot{.title = result.evaluation.task + ": accuracy over the thinking budget",
            .x_label = "tokens of reasoning before it is closed",
            .y_unit = PlotUnit::kPercent,
            .is_share = true,
            .series = {}};
  PlotSeries line{.name = "accuracy", .has_markers = true};
  PlotSeries formed{.name = "well formed", .color = 2, .has_markers = true, .is_dashed = true};
  for (const Summary* summary : ByBudget(result)) {
    const auto x = static_cast<double>(line.x.size());
    plot.x_names.emplace_back(x, summary->setting.budget < 0 ? "no limit" : Name(summary->setting));
    line.x.push_back(x);
    line.y.push_back(summary->accuracy.mean);
    line.low.push_back(summary->accuracy.interval.low);
    line.high.push_back(summary->accuracy.interval.high);
    formed.x.push_back(x);
    formed.y.push_back(summary->well_formed);
  }
  plot.series = {std::move(line), std::move(formed)};
  return DrawPlot(plot);
}

std::string TokensCurve(const TaskResult& result) {
  if (result.summaries.size() < 2) return {};
  Plot plot{.title = "Tokens of reasoning that were used",
            .x_label = "budget",
            .from_zero = true,
            .series = {}};
  PlotSeries mean{.name = "mean", .has_markers = true};
  PlotSeries p95{
      .name = "95 of 100 use at most", .color = 1, .has_markers = true, .is_dashed = true};
  for (const Summary* summary : ByBudget(result)) {
    const auto x = static_cast<double>(mean.x.size());
    plot.x_names.emplace_back(x, summary->setting.budget < 0 ? "no limit" : Name(summary->setting));
    mean.x.push_back(x);
    mean.y.push_back(summary->thinking_mean);
    p95.x.push_back(x);
    p95.y.push_back(summary->thinking_p95);
  }
  plot.series = {std::move(mean), std::move(p95)};
  return DrawPlot(plot);
}

// The first setting, thinking off and on, as far as they were run.
std::vector<const Summary*> Compared(const TaskResult& result) {
  std::vector<const Summary*> chosen = {&result.summaries.front()};
  for (const int64_t budget : {int64_t{-1}, int64_t{0}}) {
    for (const Summary& summary : result.summaries) {
      const bool is_there = std::find(chosen.begin(), chosen.end(), &summary) != chosen.end();
      if (summary.setting.budget == budget && !is_there && chosen.size() < kShownSettings)
        chosen.push_back(&summary);
    }
  }
  return chosen;
}

template <typename Key, typename Label>
std::string GroupBars(const TaskResult& result, const std::string& title,
                      std::map<Key, Share> Summary::*groups, const Label& label) {
  BarPlot plot{.title = title};
  const std::vector<const Summary*> compared = Compared(result);
  for (const Summary* summary : compared) plot.series.push_back(SettingText(summary->setting));
  for (const auto& [key, first] : compared[0]->*groups) {
    std::vector<ShareBar> bars;
    for (const Summary* summary : compared) {
      const auto& shares = summary->*groups;
      const auto share = shares.find(key);
      if (share == shares.end()) continue;
      bars.push_back(
          {.value = share->second.mean,
           .low = share->second.interval.low,
           .high = share->second.interval.high,
           .note = fmt::format("{:.0f} % of {}", 100 * share->second.mean, share->second.n)});
    }
    plot.rows.emplace_back(label(key), std::move(bars));
  }
  return DrawBars(plot);
}

std::string Article(const EvalItem& item, const EvalSample& sample) {
  const TextReply& reply = sample.replies.front();
  return fmt::format(
      "<article><header><em class=\"{}\">{}</em> {} · expected {}, read {} · {} tokens of "
      "reasoning</header><pre><b>{}</b>\n{}{}</pre></article>\n",
      sample.verdict.score >= 1 ? "good" : "bad",
      sample.verdict.score >= 1 ? "right" : EscapeHtml(sample.verdict.reason),
      EscapeHtml(item.skill), EscapeHtml(item.key),
      sample.verdict.has_answer ? EscapeHtml(sample.verdict.extracted) : "nothing",
      sample.reasoning_tokens(), EscapeHtml(item.question),
      reply.reasoning.empty() ? "" : "<i>" + EscapeHtml(reply.reasoning) + "</i>",
      EscapeHtml(reply.answer));
}

std::string Answers(const TaskResult& result) {
  const EvalRun& run = result.evaluation.runs.front();
  std::string right, wrong;
  size_t right_count = 0, wrong_count = 0;
  for (const EvalSample& sample : run.samples) {
    const EvalItem& item = result.evaluation.items[sample.item];
    if (sample.verdict.score >= 1) {
      if (right_count++ < kShownRight) right += Article(item, sample);
    } else if (wrong_count++ < kShownWrong) {
      wrong += Article(item, sample);
    }
  }
  return fmt::format(
      "<section><h2>Answers, {}</h2><details><summary>{} of {} right ones</summary>{}</details>"
      "<details><summary>{} of {} wrong ones</summary>{}</details></section>\n",
      SettingText(run.setting), std::min(right_count, kShownRight), right_count, right,
      std::min(wrong_count, kShownWrong), wrong_count, wrong);
}

std::string Facts(const std::vector<TaskResult>& results, const ResultContext& context) {
  std::string rows;
  const auto row = [&](const std::string& name, const std::string& value) {
    rows += fmt::format("<tr><th>{}</th><td>{}</td></tr>\n", EscapeHtml(name), EscapeHtml(value));
  };
  row("opened from", context.model_path);
  for (const auto& [name, value] : context.model.AsObject())
    row(name, value.is_string() ? value.AsString() : DumpJson(value));
  row("seed", std::to_string(context.options.seed));
  row("decoding, thinking off", "greedy");
  row("decoding, thinking on", context.options.temperature == 0
                                   ? "greedy"
                                   : fmt::format("temperature {}, top-p {}, {} answers a problem",
                                                 context.options.temperature, context.options.top_p,
                                                 context.options.samples));
  for (const TaskResult& result : results) {
    const std::string data = result.data.empty()
                                 ? "made from the seed"
                                 : fmt::format("{} (SHA-256 {})", result.data, result.data_sha256);
    row(fmt::format("{} v{}", result.evaluation.task, result.evaluation.version), data);
  }
  row("date", context.date);
  row("version", context.version);
  row("seconds", fmt::format("{:.1f}", context.seconds));
  return "<section><h2>Conditions</h2><div class=\"scroll\"><table class=\"facts\">" + rows +
         "</table></div></section>\n";
}

}  // namespace

std::string EvalPlots(const TaskResult& result) {
  std::string html = BudgetCurve(result) + TokensCurve(result);
  html += GroupBars<std::string>(result, "Accuracy by skill", &Summary::by_skill,
                                 [](const std::string& skill) { return skill; });
  html += GroupBars<int>(result, "Accuracy by number of steps", &Summary::by_steps, [](int steps) {
    return fmt::format("{} {}", steps, steps == 1 ? "step" : "steps");
  });
  html +=
      GroupBars<int>(result, "Accuracy by digits of the numbers", &Summary::by_digits,
                     [](int n) { return fmt::format("{} {}", n, n == 1 ? "digit" : "digits"); });
  return html.empty() ? "" : "<section class=\"plots\">\n" + html + "</section>\n";
}

std::string EvalTable(const TaskResult& result) {
  std::string html =
      "<section><h3>All settings</h3><div "
      "class=\"scroll\"><table><tr><th>thinking</th><th>accuracy</th><th>95 % "
      "interval</th><th>problems</th><th>well formed</th><th>toggle obeyed</th><th>closed for "
      "it</th><th>of these well formed</th><th>unfinished</th><th>thinking tokens: mean</th>"
      "<th>p50</th><th>p95</th><th>answer tokens</th><th>tokens/s</th></tr>\n";
  for (const Summary& s : result.summaries) {
    html += fmt::format(
        "<tr><td>{}</td><td class=\"number\">{}</td><td>{} – {}</td><td class=\"number\">{}</td>"
        "<td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td>"
        "<td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"number\">{:.1f}</td>"
        "<td class=\"number\">{:.0f}</td><td class=\"number\">{:.0f}</td>"
        "<td class=\"number\">{:.1f}</td><td class=\"number\">{:.0f}</td></tr>\n",
        Name(s.setting), Percent(s.accuracy.mean), Percent(s.accuracy.interval.low),
        Percent(s.accuracy.interval.high), s.items, Percent(s.well_formed), Percent(s.obeys_toggle),
        Percent(s.forced), s.forced_answers > 0 ? Percent(s.forced_well_formed) : "–",
        Percent(s.unfinished), s.thinking_mean, s.thinking_p50, s.thinking_p95,
        s.answer_tokens_mean, s.tokens_per_s);
  }
  html += "</table></div>";
  for (const Summary& s : result.summaries) {
    for (const auto& [name, value] : s.metrics)
      html += fmt::format("<p class=\"note\">{}, {}: {}</p>", EscapeHtml(SettingText(s.setting)),
                          EscapeHtml(name), Percent(value));
  }
  return html + "</section>\n";
}

std::string EvalPage(const std::vector<TaskResult>& results, const ResultContext& context) {
  std::string html = "<section class=\"cards\">";
  for (const TaskResult& result : results) {
    for (const Summary* summary : Compared(result))
      html += HtmlCard(Percent(summary->accuracy.mean),
                       result.evaluation.task + ", " + SettingText(summary->setting));
  }
  html += "</section>\n";
  for (const TaskResult& result : results) {
    html += fmt::format("<h2>{}</h2>\n", EscapeHtml(result.evaluation.task));
    html += EvalPlots(result) + EvalTable(result) + Answers(result);
  }
  html += Facts(results, context);
  const Json* name = context.model.Find("model");
  return HtmlPage("Evaluation of " + (name != nullptr ? name->AsString() : context.model_path),
                  html);
}

}  // namespace planish
