// SPDX-License-Identifier: Apache-2.0
#include "train/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <functional>
#include <map>
#include <optional>

#include "base/error.h"
#include "base/page.h"
#include "base/plot.h"

namespace planish {
namespace {

constexpr size_t kBuckets = 600;      // of a raw line: two points each
constexpr size_t kShownSamples = 3;   // newest ones stand open
constexpr size_t kShownEvents = 500;  // of a run

using StepValue = std::function<double(const StepRecord&)>;

double LossOf(const StepRecord& step) { return step.loss; }

// Raw values, faint, and a smoothed line over them when there are many.
void AddStepSeries(const RunLog& log, const std::string& name, size_t color, const StepValue& value,
                   bool smooths, Plot* plot) {
  PlotSeries raw{.name = name, .color = color};
  for (const StepRecord& step : log.steps) {
    const double y = value(step);
    raw.x.push_back(static_cast<double>(step.tokens));
    raw.y.push_back(y);
  }
  const size_t n = raw.x.size();
  smooths = smooths && n >= 50;
  if (smooths) {
    PlotSeries line = raw;
    line.y = Smoothed(raw.y, std::max(3.0, static_cast<double>(n) / 100));
    ThinOut(kBuckets / 2, &line.x, &line.y);
    raw.is_faint = true;
    ThinOut(kBuckets, &raw.x, &raw.y);
    plot->series.push_back(std::move(raw));
    plot->series.push_back(std::move(line));
    return;
  }
  ThinOut(kBuckets, &raw.x, &raw.y);
  plot->series.push_back(std::move(raw));
}

std::string StepPlot(const std::vector<ReportRun>& runs, Plot plot, const StepValue& value,
                     bool smooths) {
  plot.x_label = "tokens";
  for (size_t r = 0; r < runs.size(); ++r) {
    if (!runs[r].log.steps.empty())
      AddStepSeries(runs[r].log, runs[r].name, r, value, smooths, &plot);
  }
  return DrawPlot(plot);
}

std::string Prefix(const std::vector<ReportRun>& runs, size_t r) {
  return runs.size() > 1 ? runs[r].name + ": " : "";
}

std::string ValidationPlot(const std::vector<ReportRun>& runs) {
  bool has_bits = false;
  for (const ReportRun& run : runs) {
    for (const EvalRecord& eval : run.log.evals) has_bits = has_bits || eval.bits_per_byte > 0;
  }
  Plot plot{.title = has_bits ? "Validation, bits per byte" : "Validation loss, nats a token",
            .x_label = "tokens",
            .series = {}};
  size_t color = 0;
  for (size_t r = 0; r < runs.size(); ++r) {
    std::vector<std::string> names;
    std::map<std::string, PlotSeries> series;
    for (const EvalRecord& eval : runs[r].log.evals) {
      if (!series.contains(eval.name)) names.push_back(eval.name);
      PlotSeries& line = series[eval.name];
      const double x = static_cast<double>(eval.tokens);
      while (!line.x.empty() && line.x.back() >= x) line.x.pop_back(), line.y.pop_back();
      line.x.push_back(x);
      line.y.push_back(has_bits ? eval.bits_per_byte : eval.loss);
    }
    // Colours follow the runs where there are several, the datasets of the one otherwise.
    for (size_t i = 0; i < names.size(); ++i) {
      PlotSeries& line = series[names[i]];
      line.name = Prefix(runs, r) + names[i];
      line.color = runs.size() > 1 ? r : color++;
      line.is_dashed = runs.size() > 1 && i > 0;
      line.has_markers = line.x.size() <= 60;
      plot.series.push_back(std::move(line));
    }
  }
  return DrawPlot(plot);
}

std::string DatasetPlot(const std::vector<ReportRun>& runs) {
  Plot plot{.title = "Training loss by dataset", .x_label = "tokens", .series = {}};
  std::vector<std::string> names;  // of all runs: a dataset has one colour
  for (size_t r = 0; r < runs.size(); ++r) {
    std::map<std::string, PlotSeries> series;
    for (const StepRecord& step : runs[r].log.steps) {
      for (const DatasetLoss& item : step.datasets) {
        if (item.tokens == 0) continue;
        if (std::find(names.begin(), names.end(), item.name) == names.end())
          names.push_back(item.name);
        series[item.name].x.push_back(static_cast<double>(step.tokens));
        series[item.name].y.push_back(item.loss);
      }
    }
    for (size_t i = 0; i < names.size(); ++i) {
      PlotSeries& line = series[names[i]];
      line.name = Prefix(runs, r) + names[i];
      line.color = i;
      line.is_dashed = r > 0;
      if (line.x.size() >= 50)
        line.y = Smoothed(line.y, std::max(3.0, static_cast<double>(line.x.size()) / 50));
      ThinOut(kBuckets / 2, &line.x, &line.y);
      if (!line.x.empty()) plot.series.push_back(std::move(line));
    }
  }
  return names.size() < 2 ? "" : DrawPlot(plot);  // of one dataset it is the loss itself
}

// Where the time of a step goes; of one run only, five lines a run would be a thicket.
std::string TimePlot(const std::vector<ReportRun>& runs) {
  if (runs.size() > 1) return {};
  Plot plot{.title = "Time of a step, ms",
            .x_label = "tokens",
            .y_unit = PlotUnit::kMilliseconds,
            .from_zero = true,
            .series = {}};
  const std::pair<const char*, StepValue> parts[] = {
      {"data", [](const StepRecord& s) { return s.ms.data; }},
      {"forward", [](const StepRecord& s) { return s.ms.forward; }},
      {"head and loss", [](const StepRecord& s) { return s.ms.loss; }},
      {"backward", [](const StepRecord& s) { return s.ms.backward; }},
      {"reduce", [](const StepRecord& s) { return s.ms.reduce; }},
      {"optimizer", [](const StepRecord& s) { return s.ms.optimizer; }}};
  for (size_t i = 0; i < std::size(parts); ++i)
    AddStepSeries(runs[0].log, parts[i].first, i, parts[i].second, false, &plot);
  return DrawPlot(plot);
}

bool Any(const std::vector<ReportRun>& runs, const StepValue& value) {
  return std::any_of(runs.begin(), runs.end(), [&](const ReportRun& run) {
    return std::any_of(run.log.steps.begin(), run.log.steps.end(),
                       [&](const StepRecord& step) { return value(step) > 0; });
  });
}

std::string Plots(const std::vector<ReportRun>& runs) {
  const StepValue grad_norm = [](const StepRecord& s) { return s.grad_norm; };
  const StepValue lr = [](const StepRecord& s) { return s.lr; };
  const StepValue speed = [](const StepRecord& s) { return s.tokens_per_s; };
  const StepValue mfu = [](const StepRecord& s) { return s.mfu; };
  std::string html = "<section class=\"plots\">\n";
  html += StepPlot(runs, {.title = "Training loss, nats a token", .x_label = {}, .series = {}},
                   LossOf, true);
  html += ValidationPlot(runs);
  html += StepPlot(
      runs, {.title = "Gradient norm", .x_label = {}, .starts_logarithmic = true, .series = {}},
      grad_norm, true);
  html += StepPlot(runs, {.title = "Learning rate", .x_label = {}, .from_zero = true, .series = {}},
                   lr, false);
  html += StepPlot(runs,
                   {.title = "Tokens a second",
                    .x_label = {},
                    .y_unit = PlotUnit::kCount,
                    .from_zero = true,
                    .series = {}},
                   speed, true);
  if (Any(runs, mfu)) {
    html += StepPlot(runs,
                     {.title = "Model FLOPs utilisation, of the measured peak",
                      .x_label = {},
                      .y_unit = PlotUnit::kPercent,
                      .from_zero = true,
                      .series = {}},
                     mfu, true);
  }
  html += DatasetPlot(runs);
  html += TimePlot(runs);
  return html + "</section>\n";
}

double MedianOf(const RunLog& log, const StepValue& value) {
  std::vector<double> values;
  for (const StepRecord& step : log.steps) {
    if (std::isfinite(value(step))) values.push_back(value(step));
  }
  if (values.empty()) return std::nan("");
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

constexpr const char* kUnknown = "–";

std::string Fixed(double value, int digits, const char* unit = "") {
  return std::isfinite(value) ? fmt::format("{:.{}f}{}", value, digits, unit) : kUnknown;
}

std::string Duration(double seconds) {
  const auto whole = static_cast<uint64_t>(std::max(seconds, 0.0));
  if (whole < 60) return fmt::format("{:.1f} s", seconds);
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole / 60 % 60);
}

std::string TimeText(double time) {
  const std::time_t seconds = static_cast<std::time_t>(time);
  std::tm parts{};
  if (time <= 0 || gmtime_r(&seconds, &parts) == nullptr) return kUnknown;
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02} UTC", parts.tm_year + 1900,
                     parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

// Mean of the last twentieth of the steps: one step's loss is noise.
double FinalLoss(const RunLog& log) {
  const size_t n = log.steps.size(), count = std::max<size_t>(1, n / 20);
  double sum = 0;
  size_t used = 0;
  for (size_t i = n - std::min(n, count); i < n; ++i) {
    if (!std::isfinite(log.steps[i].loss)) continue;
    sum += log.steps[i].loss;
    ++used;
  }
  return used == 0 ? std::nan("") : sum / static_cast<double>(used);
}

// A loss that was learned by heart still shows digits.
std::string LossText(double loss, int digits) {
  return std::isfinite(loss) && loss < 0.01 ? PlotNumber(loss, PlotUnit::kPlain)
                                            : Fixed(loss, digits);
}

// Time in which steps were made: sessions without the pauses between them.
double TrainingSeconds(const RunLog& log) {
  double ms = 0;
  for (const StepRecord& step : log.steps) {
    const StepMs& part = step.ms;
    const double sum =
        part.data + part.forward + part.loss + part.backward + part.reduce + part.optimizer;
    if (std::isfinite(sum)) ms += sum;
  }
  return ms / 1000;
}

std::string BestValidation(const RunLog& log) {
  std::map<std::string, std::pair<double, double>> best;  // by dataset: bits per byte, loss
  for (const EvalRecord& eval : log.evals) {
    const auto [found, is_new] =
        best.try_emplace(eval.name, std::pair{eval.bits_per_byte, eval.loss});
    if (!is_new && eval.loss < found->second.second)
      found->second = {eval.bits_per_byte, eval.loss};
  }
  std::string text;
  for (const auto& [name, values] : best) {
    text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", name,
                        values.first > 0 ? Fixed(values.first, 4, " bits per byte")
                                         : Fixed(values.second, 4, " nats a token"));
  }
  return text.empty() ? kUnknown : text;
}

struct Fact {
  const char* name;
  std::function<std::string(const RunLog&)> value;
};

std::string Machine(const StartRecord& start) {
  if (start.threads == 0) return kUnknown;
  return fmt::format("{} {}, {} {}, {}", start.threads, start.threads == 1 ? "thread" : "threads",
                     start.ranks, start.ranks == 1 ? "rank" : "ranks", start.isa);
}

std::string Summary(const std::vector<ReportRun>& runs) {
  const auto start = [](const RunLog& log) {
    return log.starts.empty() ? StartRecord{} : log.starts.back();
  };
  const auto last = [](const RunLog& log) {
    return log.steps.empty() ? StepRecord{} : log.steps.back();
  };
  const auto count = [](uint64_t n) {
    return n == 0 ? kUnknown : PlotNumber(static_cast<double>(n), PlotUnit::kCount);
  };
  const auto text = [](const std::string& value) { return value.empty() ? kUnknown : value; };
  const std::vector<Fact> facts = {
      {"parameters", [&](const RunLog& log) { return count(start(log).parameters); }},
      {"steps", [&](const RunLog& log) { return fmt::format("{}", last(log).step); }},
      {"tokens",
       [&](const RunLog& log) {
         const uint64_t planned = start(log).total_tokens;
         return count(last(log).tokens) + (planned > 0 ? " of " + count(planned) : "");
       }},
      {"training loss at the end", [](const RunLog& log) { return LossText(FinalLoss(log), 4); }},
      {"best validation", [](const RunLog& log) { return BestValidation(log); }},
      {"tokens a second, median",
       [](const RunLog& log) {
         return Fixed(MedianOf(log, [](const StepRecord& s) { return s.tokens_per_s; }), 0);
       }},
      {"MFU, median",
       [](const RunLog& log) {
         return Fixed(100 * MedianOf(log, [](const StepRecord& s) { return s.mfu; }), 1, " %");
       }},
      {"time in steps",
       [](const RunLog& log) {
         const double seconds = TrainingSeconds(log);
         return seconds > 0 ? Duration(seconds) : kUnknown;
       }},
      {"skipped steps", [&](const RunLog& log) { return fmt::format("{}", last(log).skipped); }},
      {"peak memory seen",
       [](const RunLog& log) {
         uint64_t rss = 0;
         for (const StepRecord& step : log.steps) rss = std::max(rss, step.rss);
         return rss == 0 ? std::string(kUnknown)
                         : fmt::format("{:.2f} GiB", static_cast<double>(rss) / (1u << 30));
       }},
      {"precision", [&](const RunLog& log) { return text(start(log).precision); }},
      {"machine", [&](const RunLog& log) { return Machine(start(log)); }},
      {"sessions", [](const RunLog& log) { return fmt::format("{}", log.starts.size()); }},
      {"begun",
       [](const RunLog& log) {
         return TimeText(log.starts.empty() ? 0 : log.starts.front().time);
       }},
      {"ended",
       [](const RunLog& log) {
         if (log.starts.empty()) return std::string(kUnknown);
         return log.ends.empty() ? std::string("not yet")
                                 : TimeText(log.ends.back().time) + ", " + log.ends.back().reason;
       }},
      {"version", [&](const RunLog& log) { return text(start(log).version); }},
  };
  std::string html = "<section><h2>Summary</h2><div class=\"scroll\"><table class=\"facts\">";
  if (runs.size() > 1) {
    html += "<tr><th></th>";
    for (size_t r = 0; r < runs.size(); ++r)
      html += fmt::format("<th><i style=\"background:var(--c{})\"></i>{}</th>", r % kPlotColors,
                          EscapeHtml(runs[r].name));
    html += "</tr>\n";
  }
  for (const Fact& fact : facts) {
    html += fmt::format("<tr><th>{}</th>", fact.name);
    for (const ReportRun& run : runs)
      html += fmt::format("<td>{}</td>", EscapeHtml(fact.value(run.log)));
    html += "</tr>\n";
  }
  return html + "</table></div></section>\n";
}

// The few figures one looks for first.
std::string Cards(const RunLog& log) {
  std::string html =
      "<section class=\"cards\">" + HtmlCard(LossText(FinalLoss(log), 3), "training loss");
  if (!log.evals.empty()) {
    const EvalRecord& eval = log.evals.back();
    html += eval.bits_per_byte > 0
                ? HtmlCard(Fixed(eval.bits_per_byte, 3), eval.name + ", bits per byte")
                : HtmlCard(Fixed(eval.loss, 3), eval.name + ", loss");
  }
  if (!log.steps.empty())
    html += HtmlCard(PlotNumber(static_cast<double>(log.steps.back().tokens), PlotUnit::kCount),
                     "tokens");
  html += HtmlCard(Fixed(MedianOf(log, [](const StepRecord& s) { return s.tokens_per_s; }), 0),
                   "tokens a second");
  const double mfu = MedianOf(log, [](const StepRecord& s) { return s.mfu; });
  if (mfu > 0) html += HtmlCard(Fixed(100 * mfu, 1, " %"), "of the machine's peak");
  return html + "</section>\n";
}

std::string Events(const std::vector<ReportRun>& runs) {
  std::string html;
  for (const ReportRun& run : runs) {
    const std::vector<EventRecord>& events = run.log.events;
    if (events.empty()) continue;
    html += fmt::format(
        "<details{}><summary>{}{} events</summary><div class=\"scroll\"><table>"
        "<tr><th>step</th><th>time</th><th>event</th><th></th></tr>\n",
        events.size() <= 20 ? " open" : "", runs.size() > 1 ? EscapeHtml(run.name) + ": " : "",
        events.size());
    // The newest where there are too many for a page.
    for (size_t i = events.size() - std::min(events.size(), kShownEvents); i < events.size(); ++i)
      html += fmt::format(
          "<tr><td class=\"number\">{}</td><td>{}</td><td><em class=\"{}\">{}</em></td><td>{}</td>"
          "</tr>\n",
          events[i].step, TimeText(events[i].time),
          events[i].event == "skip" || events[i].event == "spike" || events[i].event == "error"
              ? "bad"
              : "good",
          EscapeHtml(events[i].event), EscapeHtml(events[i].message));
    html += "</table></div></details>\n";
  }
  return html.empty() ? "" : "<section><h2>Events</h2>" + html + "</section>\n";
}

std::string SampleHtml(const SampleRecord& sample) {
  return fmt::format(
      "<article><header>step {}, {} tokens</header><pre><b>{}</b>{}</pre></article>\n", sample.step,
      PlotNumber(static_cast<double>(sample.tokens), PlotUnit::kCount), EscapeHtml(sample.prompt),
      EscapeHtml(sample.text));
}

std::string Samples(const std::vector<ReportRun>& runs) {
  std::string html;
  for (const ReportRun& run : runs) {
    const std::vector<SampleRecord>& samples = run.log.samples;
    if (samples.empty()) continue;
    if (runs.size() > 1) html += fmt::format("<h3>{}</h3>", EscapeHtml(run.name));
    const size_t older = samples.size() - std::min(samples.size(), kShownSamples);
    for (size_t i = samples.size(); i-- > older;) html += SampleHtml(samples[i]);
    if (older == 0) continue;
    html += fmt::format("<details><summary>{} earlier</summary>", older);
    for (size_t i = older; i-- > 0;) html += SampleHtml(samples[i]);
    html += "</details>\n";
  }
  return html.empty() ? ""
                      : "<section><h2>Generated text</h2><p class=\"note\">The prompt is bold."
                        "</p>" +
                            html + "</section>\n";
}

std::string Recipes(const std::vector<ReportRun>& runs) {
  std::string html;
  for (const ReportRun& run : runs) {
    if (run.log.starts.empty() || run.log.starts.back().recipe.empty()) continue;
    html += fmt::format("<details><summary>{}<code>{}</code></summary><pre>{}</pre></details>\n",
                        runs.size() > 1 ? EscapeHtml(run.name) + ": " : "",
                        EscapeHtml(run.log.starts.back().command),
                        EscapeHtml(run.log.starts.back().recipe));
  }
  return html.empty() ? "" : "<section><h2>Recipe</h2>" + html + "</section>\n";
}

std::string Notes(const std::vector<ReportRun>& runs) {
  std::string html;
  for (const ReportRun& run : runs) {
    if (run.log.bad_lines > 0)
      html += fmt::format("<p class=\"note\">{}: {} lines of the log could not be read.</p>",
                          EscapeHtml(run.name), run.log.bad_lines);
  }
  return html;
}

}  // namespace

std::string ReportHtml(const std::vector<ReportRun>& runs, const std::string& title) {
  PLANISH_CHECK(!runs.empty());
  std::string html;
  if (runs.size() == 1) html += Cards(runs[0].log);
  html += Plots(runs);
  html += Summary(runs);
  html += Events(runs);
  html += Samples(runs);
  html += Recipes(runs);
  html += Notes(runs);
  return HtmlPage(title, html);
}

}  // namespace planish
