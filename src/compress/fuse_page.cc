// SPDX-License-Identifier: Apache-2.0
#include "compress/fuse_page.h"

#include <fmt/format.h>

#include <algorithm>

#include "compress/architecture_map.h"
#include "compress/report_page.h"

namespace planish {
namespace {

std::string DescribeRuns(const ModelConfig& config, const std::vector<FfnRun>& runs) {
  std::string text;
  for (const FfnRun& run : runs) text += (text.empty() ? "" : ", ") + DescribeRun(config, run);
  return text;
}

size_t WidthOf(const ModelConfig& config, const FfnRun& run) {
  size_t width = 0;
  for (size_t i = run.begin; i < run.end; ++i)
    width += std::get<FfnConfig>(config.blocks[i].mixer).intermediate_size;
  return width;
}

Json DivergenceJson(const Divergence& divergence) {
  Json json = Json::MakeObject();
  json.Set("kl_mean", divergence.mean_kl());
  json.Set("kl_max", divergence.kl_max);
  json.Set("perplexity", divergence.perplexity());
  json.Set("reference_perplexity", divergence.reference_perplexity());
  json.Set("top1_agreement", divergence.tokens == 0 ? 0.0
                                                    : static_cast<double>(divergence.top1) /
                                                          static_cast<double>(divergence.tokens));
  json.Set("tokens", divergence.tokens);
  return json;
}

Json DependencyJson(const ModelConfig& config, const RunDependency& dependency) {
  Json json = Json::MakeObject();
  json.Set("layers", DescribeRun(config, dependency.run));
  Json& rows = json.Set("d", Json::MakeArray());
  for (size_t i = 0; i < dependency.run.size(); ++i) {
    Json row = Json::MakeArray();
    for (size_t j = 0; j < dependency.run.size(); ++j) row.Append(dependency.at(i, j));
    rows.Append(std::move(row));
  }
  return json;
}

const RunDependency* DependencyOf(const FuseRecord& record, const FfnRun& run) {
  for (const RunDependency& dependency : record.dependencies) {
    if (run.begin >= dependency.run.begin && run.end <= dependency.run.end) return &dependency;
  }
  return nullptr;
}

// Upper triangle of d; the darker, the more a block depends on the one of its row.
std::string Matrix(const FuseRecord& record, const RunDependency& dependency) {
  const size_t n = dependency.run.size();
  const auto layer = [&](size_t i) { return record.config.blocks[dependency.run.begin + i].layer; };
  std::string html = fmt::format(
      "<h3>Layers {}</h3><div class=\"scroll\"><table class=\"depend\">"
      "<tr><th>without</th>",
      DescribeRun(record.config, dependency.run));
  for (size_t j = 1; j < n; ++j) html += fmt::format("<th class=\"number\">{}</th>", layer(j));
  html += "</tr>\n";
  for (size_t i = 0; i + 1 < n; ++i) {
    html += fmt::format("<tr><th>{}</th>", layer(i));
    for (size_t j = 1; j < n; ++j) {
      if (j <= i) {
        html += "<td></td>";
        continue;
      }
      const double d = dependency.at(i, j);
      const size_t a = dependency.run.begin + i, b = dependency.run.begin + j;
      const bool is_fused =
          std::any_of(record.runs.begin(), record.runs.end(),
                      [&](const FfnRun& run) { return a >= run.begin && b < run.end; });
      html += fmt::format(
          "<td class=\"number{}\" data-tip=\"layer {} without layer {}: d = {:.4f}\" "
          "style=\"background:color-mix(in srgb,var(--c1) {:.0f}%,transparent)\">{:.2f}</td>",
          is_fused ? " fused" : "", layer(j), layer(i), d, 100 * std::clamp(d, 0.0, 1.0), d);
    }
    html += "</tr>\n";
  }
  return html + "</table></div>\n";
}

std::string Matrices(const FuseRecord& record) {
  if (record.dependencies.empty()) return {};
  std::string html =
      "<style>.depend td,.depend th{padding:3px 9px;font-size:12.5px}.depend .fused{outline:1px "
      "solid var(--c0);outline-offset:-1px}</style><p class=\"note\">d = 1 - cosine between what a "
      "layer's FFN adds and what it adds when the row's FFN is left out; outlined: fused.</p>\n";
  for (const RunDependency& dependency : record.dependencies) html += Matrix(record, dependency);
  return html;
}

std::string RunsTable(const FuseRecord& record) {
  ReportTable table{.columns = {{"layers", false}, {"blocks"}, {"width"}, {"mean d"}, {"max d"}}};
  for (const FfnRun& run : record.runs) {
    const RunDependency* dependency = DependencyOf(record, run);
    const auto width = WidthOf(record.config, run);
    table.rows.push_back(
        {DescribeRun(record.config, run), NumberCell(static_cast<double>(run.size())),
         ReportCell(std::to_string(width), static_cast<double>(width)),
         dependency == nullptr ? ReportCell("–") : NumberCell(dependency->Mean(run)),
         dependency == nullptr ? ReportCell("–") : NumberCell(dependency->Max(run))});
  }
  return SortableTable(table);
}

std::string KlTable(const FuseRecord& record) {
  ReportTable table{.columns = {{"what", false}, {"KL"}, {"perplexity"}, {"same first choice"}}};
  const auto row = [&](const std::string& name, const Divergence& divergence) {
    table.rows.push_back(
        {name, NumberCell(divergence.mean_kl()), NumberCell(divergence.perplexity()),
         NumberCell(static_cast<double>(divergence.top1) / static_cast<double>(divergence.tokens),
                    PlotUnit::kPercent)});
  };
  if (record.parallel) {
    table.rows.push_back({"parent", "–", NumberCell(record.parallel->reference_perplexity()), "–"});
    row("chosen runs, parallel form", *record.parallel);
  }
  if (record.written) row("as written, " + record.type, *record.written);
  for (const FuseRecord::RandomTry& random : record.random)
    row("random: layers " + DescribeRuns(record.config, random.runs), random.divergence);
  return SortableTable(table);
}

std::vector<std::pair<std::string, std::string>> Facts(const FuseRecord& record) {
  std::vector<std::pair<std::string, std::string>> facts = {
      {"model", record.parent}, {"written to", record.output}, {"type", record.type}};
  if (!record.calibration.empty()) facts.emplace_back("dependencies on", record.calibration);
  if (!record.held_out.empty()) facts.emplace_back("KL on other rows", record.held_out);
  if (record.is_explicit)
    facts.emplace_back("runs", "given by hand");
  else
    facts.emplace_back(
        "limits", fmt::format("d at most {}, mean at most {}, {} blocks in one{}",
                              record.limits.max_d, record.limits.mean_d, record.most,
                              record.limits.keeps_last ? "; last block of the last run kept" : ""));
  if (record.written)
    facts.emplace_back("hidden states against the parallel form",
                       fmt::format("{:.2e} of the largest", record.written_error));
  facts.emplace_back("seed", std::to_string(record.seed));
  facts.emplace_back("program", record.program);
  return facts;
}

}  // namespace

Json FuseJson(const FuseRecord& record) {
  Json json = Json::MakeObject();
  json.Set("verb", "fuse");
  json.Set("program", record.program);
  json.Set("model", record.parent);
  json.Set("type", record.type);
  json.Set("blocks_before", static_cast<uint64_t>(record.config.blocks.size()));
  json.Set("blocks", static_cast<uint64_t>(record.child.config.blocks.size()));
  json.Set("seed", record.seed);
  if (!record.is_explicit) {
    json.Set("max_d", record.limits.max_d);
    json.Set("mean_d", record.limits.mean_d);
    json.Set("most_blocks", static_cast<uint64_t>(record.most));
    json.Set("keeps_last", record.limits.keeps_last);
  }
  Json& runs = json.Set("runs", Json::MakeArray());
  for (const FfnRun& run : record.runs) {
    Json entry = Json::Object{{"layers", DescribeRun(record.config, run)},
                              {"blocks", static_cast<uint64_t>(run.size())},
                              {"width", static_cast<uint64_t>(WidthOf(record.config, run))}};
    if (const RunDependency* dependency = DependencyOf(record, run)) {
      entry.Set("mean_d", dependency->Mean(run));
      entry.Set("max_d", dependency->Max(run));
    }
    runs.Append(std::move(entry));
  }
  Json& dependencies = json.Set("dependencies", Json::MakeArray());
  for (const RunDependency& dependency : record.dependencies)
    dependencies.Append(DependencyJson(record.config, dependency));
  if (!record.calibration.empty()) json.Set("calibration", record.calibration);
  if (!record.held_out.empty()) json.Set("held_out", record.held_out);
  if (record.parallel) json.Set("parallel_form", DivergenceJson(*record.parallel));
  if (record.written) {
    json.Set("written", DivergenceJson(*record.written));
    json.Set("written_error", record.written_error);
  }
  Json& random = json.Set("random_runs", Json::MakeArray());
  for (const FuseRecord::RandomTry& other : record.random) {
    Json entry = DivergenceJson(other.divergence);
    entry.Set("layers", DescribeRuns(record.config, other.runs));
    random.Append(std::move(entry));
  }
  return json;
}

std::string FusePage(const FuseRecord& record) {
  std::vector<std::pair<std::string, std::string>> cards = {
      {fmt::format("{} → {}", record.config.blocks.size(), record.child.config.blocks.size()),
       "blocks"}};
  if (record.parallel)
    cards.emplace_back(PlotNumber(record.parallel->mean_kl(), PlotUnit::kPlain),
                       "KL, nats a token");
  if (!record.random.empty()) {
    double sum = 0;
    for (const FuseRecord::RandomTry& random : record.random) sum += random.divergence.mean_kl();
    cards.emplace_back(
        PlotNumber(sum / static_cast<double>(record.random.size()), PlotUnit::kPlain),
        "KL of random runs, mean");
  }
  return CompressPage("planish fuse: " + record.parent, cards,
                      {{"Architecture", ArchitectureMap(record.config, record.child.config,
                                                        record.child.parent_of)},
                       {"Fused runs", RunsTable(record)},
                       {"How far the fused model is from its parent", KlTable(record)},
                       {"How much FFNs depend on each other", Matrices(record)},
                       {"Conditions", FactsTable(Facts(record))}});
}

}  // namespace planish
