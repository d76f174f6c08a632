// SPDX-License-Identifier: Apache-2.0
#include "compress/found_model.h"

#include <algorithm>
#include <cmath>

#include "base/scatter.h"
#include "compress/architecture_map.h"
#include "compress/report_page.h"
#include "model/config_edit.h"

namespace planish {
namespace {

constexpr double kMs = 1e3;
constexpr const char* kKinds[] = {"attention", "Mamba-2", "FFN", "linear"};  // as kMixerNames

std::string Milliseconds(const Seconds& s) {
  return fmt::format("{:.3g} ms [{:.3g}, {:.3g}]", s.median * kMs, s.low * kMs, s.high * kMs);
}

std::string Percent(double part, double whole) {
  return whole > 0 ? fmt::format("{:.1f} %", 100 * part / whole) : "–";
}

ReportCell Figure(double value, int digits = 4) {
  if (!std::isfinite(value)) return ReportCell("–");
  // Long ones in full: nobody compares 1.699e+04 with 7546 at a glance.
  if (std::abs(value) >= 1000) return {fmt::format("{:.0f}", value), value};
  return {fmt::format("{:.{}g}", value, digits), value};
}

std::string ModelsTable(const SearchReport& report) {
  const FoundModel& parent = report.parent_itself;
  const bool is_measured = parent.measured_latency.has_value();
  const auto compared = std::find_if(report.found.begin(), report.found.end(),
                                     [](const FoundModel& m) { return m.divergence.has_value(); });
  const bool is_compared = compared != report.found.end();
  ReportTable table;
  table.columns = {{"model", false}, {"sum of scores"}, {"predicted latency, ms"}};
  if (is_measured)
    table.columns.insert(table.columns.end(), {{"measured, ms"}, {"measured / predicted"}});
  table.columns.insert(table.columns.end(), {{"memory, MiB"}, {"parameters, M"}});
  if (is_compared)
    table.columns.insert(table.columns.end(),
                         {{"KL to the parent"}, {"perplexity"}, {"same first choice, %"}});
  const auto add = [&](const FoundModel& m) {
    const double measured = m.measured_latency ? m.measured_latency->median : std::nan("");
    const bool is_parent = &m == &parent;
    const double kl = m.divergence ? m.divergence->mean_kl() : is_parent ? 0 : std::nan("");
    const double perplexity = m.divergence ? m.divergence->perplexity()
                              : is_parent && is_compared
                                  ? compared->divergence->reference_perplexity()
                                  : std::nan("");
    const double top1 = m.divergence && m.divergence->tokens > 0
                            ? 100.0 * static_cast<double>(m.divergence->top1) /
                                  static_cast<double>(m.divergence->tokens)
                        : is_parent ? 100
                                    : std::nan("");
    std::vector<ReportCell> row{m.name, Figure(m.solution.score), Figure(m.latency.median * kMs)};
    if (is_measured)
      row.insert(row.end(), {Figure(measured * kMs), Figure(measured / m.latency.median, 3)});
    row.insert(row.end(),
               {Figure(m.solution.totals[1] * 0x1p-20), Figure(m.solution.totals[2] * 1e-6)});
    if (is_compared) row.insert(row.end(), {Figure(kl), Figure(perplexity), Figure(top1)});
    table.rows.push_back(std::move(row));
  };
  add(parent);
  for (const FoundModel& found : report.found) add(found);
  return SortableTable(table);
}

// Each candidate as a point: what it saves against the parent's block, and what it harms.
std::string CandidatePlot(const SearchReport& report) {
  ScatterPlot plot{.title = "Candidates: harm and cost",
                   .x_label = "ms of the block in a decode step",
                   .y_label = "score of the block alone",
                   .starts_logarithmic = true};
  std::vector<ScatterSeries> series;
  for (size_t kind = 0; kind < std::size(kKinds); ++kind)
    series.push_back(
        {.name = std::string("in place of ") + kKinds[kind], .color = MixerColor(kind)});
  const CostSetting setting = report.targets.decode();
  for (const CandidateBlock& block : *report.blocks) {
    const size_t kind = block.candidates[0].mixer ? block.candidates[0].mixer->index() : 0;
    for (const Candidate& candidate : block.candidates) {
      if (candidate.is_parent) continue;
      const auto cost = candidate.mixer ? report.costs->Find(candidate.mixer, setting)
                                        : std::optional<Seconds>(Seconds{});
      if (!cost) continue;
      series[kind].points.push_back({cost->median * kMs, candidate.score,
                                     fmt::format("block {}: {}", block.block, candidate.name)});
    }
  }
  for (ScatterSeries& s : series)
    if (!s.points.empty()) plot.series.push_back(std::move(s));
  return DrawScatter(plot);
}

std::string ParetoPlot(const SearchReport& report) {
  ScatterPlot plot{.title = "Least harm for a latency",
                   .x_label = "predicted ms of a decode step",
                   .y_label = "sum of scores",
                   .better = Better::kLessLess};
  ScatterSeries sweep{.name = "best choices", .color = 0};
  for (const SearchSolution& s : report.sweep)
    sweep.points.push_back(
        {s.totals[0] * kMs, s.score, fmt::format("{:.3g} ms", s.totals[0] * kMs)});
  ScatterSeries found{.name = "models found", .color = 1, .has_labels = true, .is_large = true};
  ScatterSeries baselines{
      .name = "uniform pruning", .color = 2, .has_labels = true, .is_large = true};
  for (const FoundModel& m : report.found)
    (m.name.starts_with("depth") || m.name.starts_with("width") ? baselines : found)
        .points.push_back({m.latency.median * kMs, m.solution.score, m.name});
  found.points.push_back({report.parent_itself.latency.median * kMs, 0.0, "parent"});
  for (ScatterSeries* s : {&sweep, &found, &baselines})
    if (!s->points.empty()) plot.series.push_back(std::move(*s));
  return DrawScatter(plot);
}

std::string LatencyPlot(const SearchReport& report) {
  std::vector<Prediction> points;
  const auto add = [&](const FoundModel& m) {
    if (m.measured_latency)
      points.push_back({m.name, m.latency.median * kMs, m.measured_latency->median * kMs,
                        m.measured_latency->low * kMs, m.measured_latency->high * kMs});
  };
  add(report.parent_itself);
  for (const FoundModel& found : report.found) add(found);
  return points.empty() ? "" : PredictedMeasuredPlot("Latency", "ms of a decode step", points);
}

std::string AdditivityPlot(const SearchReport& report) {
  ScatterPlot plot{.title = "Is harm additive?",
                   .x_label = "sum of scores of single blocks",
                   .y_label = "measured KL of the whole",
                   .has_diagonal = true};
  ScatterSeries by_chance{.name = "choices by chance", .color = 0};
  for (size_t i = 0; i < report.random_scores.size(); ++i)
    by_chance.points.push_back({report.random_scores[i], report.random_kl[i], ""});
  ScatterSeries found{.name = "models", .color = 1, .has_labels = true, .is_large = true};
  for (const FoundModel& m : report.found)
    if (m.divergence) found.points.push_back({m.solution.score, m.divergence->mean_kl(), m.name});
  for (ScatterSeries* s : {&by_chance, &found})
    if (!s->points.empty()) plot.series.push_back(std::move(*s));
  return DrawScatter(plot);
}

std::string ChoicesTable(const SearchReport& report) {
  ReportTable table;
  table.columns = {{"layer"}, {"block"}, {"parent's", false}};
  for (const FoundModel& m : report.found) table.columns.push_back({m.name, false});
  for (size_t b = 0; b < report.blocks->size(); ++b) {
    const CandidateBlock& block = (*report.blocks)[b];
    std::vector<ReportCell> row{
        Figure(static_cast<double>(report.parent->blocks.at(block.block).layer)),
        Figure(static_cast<double>(block.block)),
        block.candidates[0].mixer ? DescribeMixer(*block.candidates[0].mixer) : "nothing"};
    for (const FoundModel& m : report.found) row.push_back(block.candidates[m.choice[b]].name);
    table.rows.push_back(std::move(row));
  }
  return SortableTable(table);
}

// Of blocks that cost the same at any context none is told.
std::string StepOf(const CostSetting& setting) {
  const std::string text = Describe(setting);
  return setting.is_decode && setting.context == 0 ? text.substr(0, text.rfind(',')) : text;
}

std::string CostsTable(const SearchReport& report) {
  ReportTable table;
  table.columns = {{"block", false}, {"step", false}, {"ms"},
                   {"95 % low"},     {"95 % high"},   {"copies"}};
  for (const CostEntry& e : report.costs->entries())
    table.rows.push_back({e.mixer ? DescribeMixer(*e.mixer) : "embedding, last norm, head",
                          StepOf(e.setting), Figure(e.seconds.median * kMs),
                          Figure(e.seconds.low * kMs), Figure(e.seconds.high * kMs),
                          Figure(static_cast<double>(e.copies))});
  return SortableTable(table);
}

std::string Map(const SearchReport& report, const FoundModel& found) {
  const EditedConfig edited =
      EditConfig(*report.parent, {.blocks = MixersOf(*report.blocks, found.choice)});
  return ArchitectureMap(*report.parent, edited.config, edited.parent_of);
}

}  // namespace

Json DivergenceToJson(const Divergence& d) {
  Json json = Json::MakeObject();
  json.Set("kl_mean", d.mean_kl());
  json.Set("kl_max", d.kl_max);
  json.Set("perplexity", d.perplexity());
  json.Set("parent_perplexity", d.reference_perplexity());
  json.Set("top1_agreement",
           d.tokens == 0 ? 0.0 : static_cast<double>(d.top1) / static_cast<double>(d.tokens));
  json.Set("tokens", d.tokens);
  return json;
}

Json FoundModelToJson(const FoundModel& found, const std::vector<CandidateBlock>& blocks,
                      const SearchProblem& problem, const SearchTargets& targets) {
  Json json = Json::MakeObject();
  json.Set("name", found.name);
  json.Set("objective", found.solution.score);
  json.Set("objective_bound", found.solution.bound);
  json.Set("is_optimal", found.solution.is_optimal);
  json.Set("solver_seconds", found.solution.seconds);
  json.Set("batch", static_cast<int64_t>(targets.batch));
  json.Set("context", static_cast<int64_t>(targets.context));
  Json totals = Json::MakeObject();
  for (size_t i = 0; i < problem.limits.size(); ++i) {
    const SearchLimit& limit = problem.limits[i];
    if (!std::isfinite(found.solution.totals[i])) continue;
    Json entry = Json::MakeObject();
    entry.Set("total", found.solution.totals[i] * limit.per_unit);
    if (std::isfinite(limit.high)) entry.Set("at_most", limit.high * limit.per_unit);
    if (std::isfinite(limit.low)) entry.Set("at_least", limit.low * limit.per_unit);
    if (!limit.unit.empty()) entry.Set("unit", limit.unit);
    totals.Set(limit.name, std::move(entry));
  }
  json.Set("totals", std::move(totals));
  json.Set("predicted_latency_s", SecondsToJson(found.latency));
  if (found.measured_latency)
    json.Set("measured_latency_s", SecondsToJson(*found.measured_latency));
  if (found.divergence) json.Set("divergence", DivergenceToJson(*found.divergence));
  if (!found.folder.empty()) json.Set("folder", found.folder);
  Json choices = Json::MakeArray();
  for (size_t b = 0; b < blocks.size(); ++b) {
    const Candidate& candidate = blocks[b].candidates[found.choice[b]];
    Json choice = Json::MakeObject();
    choice.Set("block", static_cast<int64_t>(blocks[b].block));
    choice.Set("candidate", candidate.name);
    choice.Set("mixer", MixerToJson(candidate.mixer));
    if (std::isfinite(candidate.score)) choice.Set("score", candidate.score);
    choices.Append(std::move(choice));
  }
  json.Set("choices", std::move(choices));
  return json;
}

std::string SearchPage(const SearchReport& report) {
  std::vector<std::pair<std::string, std::string>> cards;
  const FoundModel& parent = report.parent_itself;
  if (!report.found.empty()) {
    const FoundModel& best = report.found[0];
    cards = {{Percent(best.latency.median, parent.latency.median), "of the parent's latency"},
             {Percent(best.solution.totals[2], parent.solution.totals[2]), "of its parameters"},
             {fmt::format("{:.3g}", best.solution.score), "sum of scores"}};
    if (best.divergence)
      cards.emplace_back(fmt::format("{:.3g}", best.divergence->mean_kl()), "KL to the parent");
  }
  std::vector<ReportSection> sections;
  sections.push_back({"Models", ModelsTable(report)});
  for (const FoundModel& found : report.found)
    sections.push_back({"Blocks of " + found.name, Map(report, found)});
  std::string plots;
  for (const std::string& plot :
       {ParetoPlot(report), CandidatePlot(report), LatencyPlot(report), AdditivityPlot(report)})
    plots += plot;
  if (!plots.empty()) sections.push_back({"Figures", "<div class=\"plots\">" + plots + "</div>"});
  auto facts = report.facts;
  facts.emplace_back("predicted latency of the parent", Milliseconds(parent.latency));
  for (const FoundModel& found : report.found)
    facts.emplace_back("predicted latency of " + found.name, Milliseconds(found.latency));
  sections.push_back({"Run", FactsTable(facts)});
  sections.push_back({"Choices", ChoicesTable(report)});
  sections.push_back({"Cost table", CostsTable(report)});
  return CompressPage("planish search: " + report.parent_name, cards, sections);
}

}  // namespace planish
