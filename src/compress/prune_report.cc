// SPDX-License-Identifier: Apache-2.0
// What a run of Prune says of itself: prune.json, prune.html and the commands to go on with.
#include <fmt/ranges.h>

#include <cmath>

#include "base/error.h"
#include "base/scatter.h"
#include "compress/architecture_map.h"
#include "compress/prune.h"
#include "compress/report_page.h"

namespace planish {
namespace {

std::string Millions(uint64_t count) {
  const auto value = static_cast<double>(count);
  return value >= 1e9 ? fmt::format("{:.2f} B", value / 1e9) : fmt::format("{:.2f} M", value / 1e6);
}

double PerToken(double sum, uint64_t tokens) {
  return tokens == 0 ? std::nan("") : sum / static_cast<double>(tokens);
}

// Half of the 95 % interval of the mean KL by the spread between rows; 0 for fewer than two.
double KlInterval(const Divergence& divergence) {
  const std::vector<double>& samples = divergence.sample_kl;
  const auto n = static_cast<double>(samples.size());
  if (n < 2) return 0;
  double mean = 0, squares = 0;
  for (const double x : samples) mean += x / n;
  for (const double x : samples) squares += (x - mean) * (x - mean);
  return 1.96 * std::sqrt(squares / (n - 1) / n);
}

Json PlanToJson(const Plan& plan) {
  Json json = Json::MakeObject();
  json.Set("parameters", plan.parameters);
  json.Set("weight_bytes", plan.weight_bytes);
  json.Set("cache_bytes", plan.cache_bytes);
  json.Set("total_bytes", plan.total_bytes);
  return json;
}

Json BlocksToJson(const std::vector<size_t>& blocks) {
  Json list = Json::MakeArray();
  for (const size_t block : blocks) list.Append(static_cast<uint64_t>(block));
  return list;
}

Json OptionsToJson(const PruneRequest& request) {
  const CalibrationOptions& text = request.calibration;
  Json json = Json::MakeObject(), inputs = Json::MakeArray();
  for (const std::string& input : text.inputs) inputs.Append(input);
  json.Set("data", std::move(inputs));
  json.Set("samples", static_cast<uint64_t>(text.samples));
  json.Set("seq_len", static_cast<uint64_t>(text.seq_len));
  json.Set("seed", text.seed);
  json.Set("score_samples", static_cast<uint64_t>(request.score_samples));
  json.Set("importance", request.importance);
  json.Set("depth_score", request.depth_by_influence ? "influence" : "logits");
  json.Set("drop", BlocksToJson(request.drop));
  json.Set("min_attention", static_cast<uint64_t>(request.grid.min_attention));
  json.Set("max_width_pruned", request.grid.width_limit);
  json.Set("max_depth_pruned", request.grid.depth_limit);
  json.Set("target_params", request.budget.parameters ? Json(*request.budget.parameters) : Json());
  json.Set("target_memory", request.budget.memory ? Json(*request.budget.memory) : Json());
  json.Set("target_latency_s", request.budget.latency && !request.budget.latency->is_share
                                   ? Json(request.budget.latency->value)
                                   : Json());
  json.Set("target_latency_share", request.budget.latency && request.budget.latency->is_share
                                       ? Json(request.budget.latency->value)
                                       : Json());
  json.Set("context", static_cast<uint64_t>(request.budget.plan.context));
  json.Set("batch", static_cast<uint64_t>(request.budget.plan.batch));
  json.Set("precision", request.precision == Precision::kF32 ? "f32" : "bf16");
  json.Set("type", std::string(Name(request.type)));
  return json;
}

std::string CandidateTable(const PruneOutcome& outcome) {
  const bool is_compared = !outcome.shapes.empty() && outcome.shapes[0].divergence.tokens > 0;
  const bool is_timed = outcome.search.parent_step.has_value();
  ReportTable table;
  for (const char* name :
       {"rank", "parameters", "memory", "hidden", "ffn", "mamba heads", "of", "heads", "blocks"})
    table.columns.push_back({name, true});
  if (is_timed) table.columns.push_back({"decode step, ms", true});
  if (is_compared) {
    for (const char* name : {"KL", "loss", "same choice"}) table.columns.push_back({name, true});
  }
  table.columns.push_back({"without blocks", false});
  size_t rank = 0;
  for (const ScoredShape& scored : outcome.shapes) {
    const PruneShape& s = scored.candidate.shape;
    const auto count = [](size_t n) {
      return ReportCell(n == 0 ? "" : std::to_string(n), static_cast<double>(n));
    };
    std::vector<ReportCell> row = {
        count(++rank),
        ReportCell(Millions(scored.candidate.parameters),
                   static_cast<double>(scored.candidate.parameters)),
        ReportCell(GiB(scored.candidate.plan.total_bytes),
                   static_cast<double>(scored.candidate.plan.total_bytes)),
        count(s.hidden),
        count(s.ffn),
        count(s.mamba_heads),
        count(s.mamba_head_dim),
        count(s.heads),
        count(s.mamba_blocks + s.attention_blocks + s.ffn_blocks)};
    if (is_timed) {
      const Seconds& step = scored.candidate.step.value();
      row.emplace_back(fmt::format("{:.3f} ({:.3f} to {:.3f})", 1e3 * step.median, 1e3 * step.low,
                                   1e3 * step.high),
                       step.median);
    }
    if (is_compared) {
      const Divergence& d = scored.divergence;
      const double agreement = PerToken(static_cast<double>(d.top1), d.tokens);
      row.emplace_back(fmt::format("{:.4f} ± {:.4f}", d.mean_kl(), KlInterval(d)), d.mean_kl());
      row.emplace_back(fmt::format("{:.4f}", PerToken(d.nll, d.tokens)), d.nll);
      row.emplace_back(fmt::format("{:.1f} %", 100 * agreement), agreement);
    }
    row.emplace_back(fmt::format("{}", fmt::join(scored.dropped, ", ")));
    table.rows.push_back(std::move(row));
  }
  return SortableTable(table);
}

std::string KlPlot(const PruneOutcome& outcome) {
  ScatterPlot plot{.title = "KL right after the cut",
                   .x_label = "million parameters",
                   .y_label = "KL, nats a token",
                   .better = Better::kLessLess};
  ScatterSeries series{.name = "candidates", .has_labels = true};
  size_t rank = 0;
  for (const ScoredShape& scored : outcome.shapes) {
    const Divergence& d = scored.divergence;
    ++rank;
    if (d.tokens == 0) continue;
    series.points.push_back({.x = static_cast<double>(scored.candidate.parameters) / 1e6,
                             .y = d.mean_kl(),
                             .label = std::to_string(rank),
                             .low = d.mean_kl() - KlInterval(d),
                             .high = d.mean_kl() + KlInterval(d)});
  }
  plot.series.push_back(std::move(series));
  const std::string drawn = DrawScatter(plot);
  return drawn.empty() ? "" : "<div class=\"plots\">" + drawn + "</div>";
}

std::string RemovalTable(const ModelConfig& parent, const Importance& importance) {
  ReportTable table;
  table.columns = {{"removed", true}, {"block", false}, {"kind", false}, {"logit MSE", true}};
  size_t step = 0;
  for (const Importance::Removal& removal : importance.removals) {
    std::string kinds;
    for (const size_t block : removal.blocks)
      kinds += (kinds.empty() ? "" : ", ") +
               std::string(kMixerNames[parent.blocks[block].mixer.index()]);
    ++step;
    table.rows.push_back({ReportCell(std::to_string(step), static_cast<double>(step)),
                          ReportCell(fmt::format("{}", fmt::join(removal.blocks, ", "))),
                          ReportCell(kinds),
                          ReportCell(fmt::format("{:.4g}", removal.logit_mse), removal.logit_mse)});
  }
  return SortableTable(table);
}

std::string InfluenceTable(const ModelConfig& parent, const Importance& importance) {
  ReportTable table;
  table.columns = {{"block", true},        {"kind", false}, {"influence", true},
                   {"median score", true}, {"least", true}, {"most", true}};
  for (size_t i = 0; i < importance.blocks.size(); ++i) {
    std::vector<double> scores = importance.blocks[i].scores;
    std::sort(scores.begin(), scores.end());
    const auto cell = [&](size_t at) {
      return scores.empty() ? ReportCell("")
                            : ReportCell(fmt::format("{:.4g}", scores[at]), scores[at]);
    };
    table.rows.push_back({ReportCell(std::to_string(i), static_cast<double>(i)),
                          ReportCell(DescribeMixer(parent.blocks[i].mixer)),
                          ReportCell(fmt::format("{:.4f}", importance.blocks[i].influence),
                                     importance.blocks[i].influence),
                          cell(scores.size() / 2), cell(0),
                          cell(scores.empty() ? 0 : scores.size() - 1)});
  }
  return SortableTable(table);
}

}  // namespace

Json ShapeToJson(const PruneShape& shape) {
  Json json = Json::MakeObject();
  const std::pair<const char*, size_t> values[] = {{"hidden", shape.hidden},
                                                   {"ffn", shape.ffn},
                                                   {"mamba_heads", shape.mamba_heads},
                                                   {"mamba_head_dim", shape.mamba_head_dim},
                                                   {"heads", shape.heads},
                                                   {"attention_blocks", shape.attention_blocks},
                                                   {"mamba_blocks", shape.mamba_blocks},
                                                   {"ffn_blocks", shape.ffn_blocks}};
  for (const auto& [name, value] : values) json.Set(name, static_cast<uint64_t>(value));
  return json;
}

std::vector<std::string> DistillCommands(const std::string& parent, const PruneRequest& request,
                                         const PruneOutcome& outcome) {
  std::vector<std::string> commands;
  std::string data;
  for (const std::string& input : request.calibration.inputs) data += " --data " + input;
  for (const ScoredShape& scored : outcome.shapes) {
    if (scored.folder.empty()) continue;
    commands.push_back(
        fmt::format("planish distill -m {} --teacher {}{} --tokens 2000000 -o {}-distilled",
                    scored.folder, parent, data, scored.folder));
  }
  return commands;
}

Json PruneToJson(const Pretrained& parent, const PruneRequest& request,
                 const PruneOutcome& outcome) {
  Json json = Json::MakeObject(), search = Json::MakeObject(), shapes = Json::MakeArray();
  json.Set("format", "planish prune 1");
  json.Set("model", parent.path);
  json.Set("options", OptionsToJson(request));
  json.Set("calibration", outcome.calibration);
  json.Set("held_out", outcome.held_out);
  json.Set("parent", PlanToJson(outcome.parent_plan));
  search.Set("points", outcome.search.points);
  search.Set("feasible", outcome.search.feasible);
  if (outcome.search.parent_step)
    search.Set("parent_step_s", SecondsToJson(*outcome.search.parent_step));
  json.Set("search", std::move(search));
  for (const ScoredShape& scored : outcome.shapes) {
    Json item = Json::MakeObject();
    item.Set("shape", ShapeToJson(scored.candidate.shape));
    item.Set("dropped", BlocksToJson(scored.dropped));
    item.Set("plan", PlanToJson(scored.candidate.plan));
    if (scored.candidate.step) item.Set("step_s", SecondsToJson(*scored.candidate.step));
    if (const Divergence& d = scored.divergence; d.tokens > 0) {
      item.Set("kl", d.mean_kl());
      item.Set("kl_95", KlInterval(d));
      item.Set("loss", PerToken(d.nll, d.tokens));
      item.Set("parent_loss", PerToken(d.reference_nll, d.tokens));
      item.Set("top1_agreement", PerToken(static_cast<double>(d.top1), d.tokens));
      item.Set("tokens", d.tokens);
    }
    item.Set("folder", scored.folder);
    shapes.Append(std::move(item));
  }
  json.Set("candidates", std::move(shapes));
  Json commands = Json::MakeArray();
  for (const std::string& command : DistillCommands(parent.path, request, outcome))
    commands.Append(command);
  json.Set("next", std::move(commands));
  json.Set("seconds", outcome.seconds);
  return json;
}

std::string PrunePage(const Pretrained& parent, const PruneRequest& request,
                      const PruneOutcome& outcome) {
  PLANISH_CHECK(!outcome.shapes.empty());
  const ScoredShape& best = outcome.shapes.front();
  const PrunedModel cut =
      CutToShape(parent.config, outcome.importance, best.candidate.shape, best.dropped);
  std::vector<std::pair<std::string, std::string>> cards = {
      {Millions(outcome.parent_plan.parameters), "parameters of the parent"},
      {Millions(best.candidate.parameters), "parameters of the child"},
      {GiB(best.candidate.plan.total_bytes), "weights and caches of the child"}};
  if (outcome.search.parent_step)
    cards.emplace_back(fmt::format("{:.2f} → {:.2f} ms", 1e3 * outcome.search.parent_step->median,
                                   1e3 * best.candidate.step.value().median),
                       "predicted decode step, parent → child");
  if (const Divergence& d = best.divergence; d.tokens > 0) {
    cards.emplace_back(fmt::format("{:.4f}", d.mean_kl()), "KL to the parent, nats a token");
    cards.emplace_back(fmt::format("{:.3f} → {:.3f}", PerToken(d.reference_nll, d.tokens),
                                   PerToken(d.nll, d.tokens)),
                       "loss, parent → child before distillation");
  }
  std::vector<std::pair<std::string, std::string>> facts = {
      {"parent", parent.name},
      {"calibration", outcome.calibration},
      {"held out", outcome.held_out},
      {"shapes in the grid", std::to_string(outcome.search.points)},
      {"of these within the budget", std::to_string(outcome.search.feasible)},
      {"seconds", fmt::format("{:.1f}", outcome.seconds)}};
  if (request.budget.memory) facts.emplace_back("target memory", GiB(*request.budget.memory));
  if (request.budget.parameters)
    facts.emplace_back("target parameters", std::to_string(*request.budget.parameters));
  if (const auto& latency = request.budget.latency)
    facts.emplace_back("target latency", latency->is_share
                                             ? fmt::format("{:.4g} %", 100 * latency->value)
                                             : fmt::format("{:.4g} ms", 1e3 * latency->value));
  if (request.budget.plan.batch > 1)
    facts.emplace_back("batch", std::to_string(request.budget.plan.batch));
  if (request.budget.plan.context > 0)
    facts.emplace_back("context", std::to_string(request.budget.plan.context));
  std::vector<std::pair<std::string, std::string>> next;
  for (const std::string& command : DistillCommands(parent.path, request, outcome))
    next.emplace_back("next", command);
  return CompressPage(
      "planish prune: " + parent.name, cards,
      {{"Run", FactsTable(facts)},
       {"Candidates", CandidateTable(outcome)},
       {"", KlPlot(outcome)},
       {"The best one's blocks beside the parent's",
        ArchitectureMap(parent.config, cut.edited.config, cut.edited.parent_of)},
       {"Blocks in the order of their removal", RemovalTable(parent.config, outcome.importance)},
       {"Scores of the parent's blocks", InfluenceTable(parent.config, outcome.importance)},
       {"To go on", next.empty() ? "" : FactsTable(next)}});
}

}  // namespace planish
