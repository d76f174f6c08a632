// SPDX-License-Identifier: Apache-2.0
#include "compress/precision_report.h"

#include <algorithm>

#include "base/scatter.h"
#include "compress/report_page.h"

namespace planish {
namespace {

double Mebibytes(uint64_t bytes) { return static_cast<double>(bytes) / 1048576.0; }

Json PlanJson(const PrecisionPlan& plan) {
  Json json = Json::MakeObject();
  json.Set("bytes", plan.bytes);
  json.Set("kl", plan.score);
  return json;
}

// "model.layers.12.mlp.up_proj.weight": layer 12, "mlp.up_proj"; no layer for embedding and head.
struct NameParts {
  int layer = -1;
  std::string role;
};
NameParts PartsOf(std::string name) {
  if (name.ends_with(".weight")) name.resize(name.size() - 7);
  const size_t layers = name.find("layers.");
  if (layers == std::string::npos) return {-1, name};
  const size_t digits = layers + 7, dot = name.find('.', digits);
  return {std::stoi(name.substr(digits, dot - digits)), name.substr(dot + 1)};
}

std::string TypeMap(const MixedPrecision& mixed) {
  std::vector<std::string> roles;
  int last = -1;
  for (const MatrixPrecisions& matrix : mixed.matrices) {
    const NameParts parts = PartsOf(matrix.name);
    last = std::max(last, parts.layer);
    if (parts.layer >= 0 && std::find(roles.begin(), roles.end(), parts.role) == roles.end())
      roles.push_back(parts.role);
  }
  ReportTable table;
  table.columns.push_back({"layer"});
  for (const std::string& role : roles) table.columns.push_back({role, false});
  for (int layer = 0; layer <= last; ++layer) {
    table.rows.emplace_back(roles.size() + 1, ReportCell(""));
    table.rows.back()[0] = ReportCell(std::to_string(layer), layer);
  }
  for (const MatrixPrecisions& matrix : mixed.matrices) {
    const NameParts parts = PartsOf(matrix.name);
    if (parts.layer < 0) continue;
    const auto role = std::find(roles.begin(), roles.end(), parts.role);
    table.rows[static_cast<size_t>(parts.layer)][static_cast<size_t>(role - roles.begin()) + 1] =
        ReportCell(Describe(mixed.plan.storage.at(matrix.name)));
  }
  return SortableTable(table);
}

}  // namespace

Json MixedJson(const MixedPrecision& mixed) {
  Json json = Json::MakeObject();
  if (mixed.target.file_bytes > 0) json.Set("target_bytes", mixed.target.file_bytes);
  if (mixed.target.bits > 0) json.Set("target_bits", mixed.target.bits);
  json.Set("predicted_bytes", mixed.predicted_bytes);
  json.Set("predicted_kl", mixed.plan.score);
  json.Set("bound", mixed.plan.bound);
  Json matrices = Json::MakeArray();
  for (const MatrixPrecisions& matrix : mixed.matrices) {
    Json entry = Json::MakeObject();
    entry.Set("name", matrix.name);
    entry.Set("chosen", Describe(mixed.plan.storage.at(matrix.name)));
    entry.Set("measured_kl", matrix.measured_kl);
    Json options = Json::MakeArray();
    for (const PrecisionOption& option : matrix.options) {
      Json one = Json::MakeObject();
      one.Set("type", std::string(Name(option.type)));
      one.Set("bytes", option.bytes);
      one.Set("kl", option.score);
      options.Append(std::move(one));
    }
    entry.Set("options", std::move(options));
    matrices.Append(std::move(entry));
  }
  json.Set("matrices", std::move(matrices));
  Json curve = Json::MakeArray();
  for (const PrecisionPlan& plan : mixed.curve) curve.Append(PlanJson(plan));
  json.Set("curve", std::move(curve));
  return json;
}

Json ModesJson(const std::vector<QuantizedMode>& modes) {
  Json list = Json::MakeArray();
  for (const QuantizedMode& mode : modes) {
    Json entry = Json::MakeObject();
    entry.Set("act", mode.act);
    entry.Set("kv", mode.kv);
    entry.Set("ssm", mode.ssm);
    entry.Set("kl_mean", mode.divergence.mean_kl());
    entry.Set("perplexity", mode.divergence.perplexity());
    entry.Set("tokens", mode.divergence.tokens);
    entry.Set("decode_tokens_per_s", mode.tokens_per_s);
    list.Append(std::move(entry));
  }
  return list;
}

std::string MixedHtml(const MixedPrecision& mixed) {
  ScatterPlot plot{.title = "Summed KL over the size of the matrices",
                   .x_label = "MiB",
                   .y_label = "KL, nats a token",
                   .starts_logarithmic = true,
                   .better = Better::kLessLess};
  ScatterSeries others{.name = "least KL of a size", .color = 0},
      chosen{.name = "chosen", .color = 1};
  for (const PrecisionPlan& plan : mixed.curve)
    others.points.push_back(
        {Mebibytes(plan.bytes), plan.score, fmt::format("{:.1f} MiB", Mebibytes(plan.bytes))});
  chosen.points.push_back({Mebibytes(mixed.plan.bytes), mixed.plan.score, "chosen"});
  chosen.is_large = chosen.has_labels = true;
  plot.series = {std::move(others), std::move(chosen)};
  return DrawScatter(plot) + TypeMap(mixed);
}

std::string ModesHtml(const std::vector<QuantizedMode>& modes) {
  ReportTable table;
  table.columns = {{"activations", false}, {"KV", false},       {"states", false}, {"KL"},
                   {"perplexity"},         {"decode, tokens/s"}};
  for (const QuantizedMode& mode : modes)
    table.rows.push_back(
        {mode.act, mode.kv, mode.ssm,
         ReportCell(fmt::format("{:.5f}", mode.divergence.mean_kl()), mode.divergence.mean_kl()),
         ReportCell(fmt::format("{:.4f}", mode.divergence.perplexity()),
                    mode.divergence.perplexity()),
         ReportCell(fmt::format("{:.1f}", mode.tokens_per_s), mode.tokens_per_s)});
  return SortableTable(table);
}

std::string ModesText(const std::vector<QuantizedMode>& modes) {
  std::string text;
  for (const QuantizedMode& mode : modes)
    text += fmt::format(
        "as run: activations {:<4}  KV {:<4}  states {:<4}  KL {:.6f}  perplexity {:.4f}  decode "
        "{:.1f} tokens/s\n",
        mode.act, mode.kv, mode.ssm, mode.divergence.mean_kl(), mode.divergence.perplexity(),
        mode.tokens_per_s);
  return text;
}

}  // namespace planish
