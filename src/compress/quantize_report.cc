// SPDX-License-Identifier: Apache-2.0
#include "compress/quantize_report.h"

#include <cmath>
#include <map>

#include "compress/precision_report.h"
#include "compress/report_page.h"

namespace planish {
namespace {

Json Number(double value) { return std::isfinite(value) ? Json(value) : Json(); }

Json Numbers(const Shape& shape) {
  Json list = Json::MakeArray();
  for (size_t i = 0; i < shape.rank(); ++i) list.Append(static_cast<uint64_t>(shape[i]));
  return list;
}

std::string Mib(uint64_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / 1048576.0);
}

Json DivergenceJson(const Divergence& divergence) {
  Json json = Json::MakeObject();
  json.Set("tokens", divergence.tokens);
  json.Set("kl_mean", divergence.mean_kl());
  json.Set("kl_max", divergence.kl_max);
  json.Set("perplexity", divergence.perplexity());
  json.Set("reference_perplexity", divergence.reference_perplexity());
  json.Set("top1_agreement",
           static_cast<double>(divergence.top1) / static_cast<double>(divergence.tokens));
  Json samples = Json::MakeArray();
  for (const double kl : divergence.sample_kl) samples.Append(kl);
  json.Set("kl_of_rows", std::move(samples));
  return json;
}

ReportCell Decibels(double value) {
  if (std::isnan(value)) return ReportCell("");
  if (std::isinf(value)) return ReportCell("exact", 1e9);
  return ReportCell(fmt::format("{:.1f}", value), value);
}

std::string TensorTable(const QuantizeReport& report) {
  ReportTable table;
  table.columns = {{"matrix", false}, {"shape", false}, {"type", false},    {"KiB"},
                   {"weights, dB"},   {"outputs, dB"},  {"channel scale α"}};
  for (const QuantizedTensor& tensor : report.tensors) {
    const double kib = static_cast<double>(tensor.bytes) / 1024.0;
    table.rows.push_back({tensor.name, tensor.shape.ToString(), Describe(tensor.storage),
                          ReportCell(fmt::format("{:.0f}", kib), kib), Decibels(tensor.weight_sqnr),
                          Decibels(tensor.product_sqnr),
                          std::isnan(tensor.alpha)
                              ? ReportCell("")
                              : ReportCell(fmt::format("{:.2f}", tensor.alpha), tensor.alpha)});
  }
  return SortableTable(table);
}

std::string TypeTable(const QuantizeReport& report) {
  struct Sum {
    size_t tensors = 0;
    uint64_t weights = 0, bytes = 0;
  };
  std::map<std::string, Sum> sums;
  for (const QuantizedTensor& tensor : report.tensors) {
    Sum& sum = sums[Describe(tensor.storage)];
    ++sum.tensors;
    sum.weights += tensor.shape.elements();
    sum.bytes += tensor.bytes;
  }
  ReportTable table;
  table.columns = {{"type", false}, {"matrices"}, {"weights, million"}, {"MiB"}, {"bits a weight"}};
  for (const auto& [name, sum] : sums) {
    const auto weights = static_cast<double>(sum.weights), bytes = static_cast<double>(sum.bytes);
    table.rows.push_back(
        {name, NumberCell(static_cast<double>(sum.tensors)),
         ReportCell(fmt::format("{:.2f}", weights / 1e6), weights),
         ReportCell(fmt::format("{:.1f}", bytes / 1048576.0), bytes),
         ReportCell(fmt::format("{:.2f}", 8 * bytes / weights), 8 * bytes / weights)});
  }
  return SortableTable(table);
}

}  // namespace

double QuantizeReport::bits_per_weight() const {
  double weights = 0, sum = 0;
  for (const QuantizedTensor& tensor : tensors) {
    weights += static_cast<double>(tensor.shape.elements());
    sum += static_cast<double>(tensor.bytes);
  }
  return weights > 0 ? 8 * sum / weights : 0;
}

double QuantizeReport::loss_change() const {
  return divergence && divergence->reference_nll > 0
             ? divergence->nll / divergence->reference_nll - 1
             : NAN;
}

Json ReportJson(const QuantizeReport& report) {
  Json json = Json::MakeObject();
  json.Set("verb", "quantize");
  json.Set("version", report.version);
  json.Set("model", report.model);
  json.Set("output", report.output);
  json.Set("method", Name(report.method));
  json.Set("type", report.type);
  json.Set("options", report.options);
  if (!report.calibration.empty()) {
    Json calibration = Json::MakeObject();
    calibration.Set("rows", report.calibration);
    calibration.Set("hash", fmt::format("{:016x}", report.calibration_hash));
    json.Set("calibration", std::move(calibration));
  }
  json.Set("source_bytes", report.source_bytes);
  json.Set("bytes", report.bytes);
  json.Set("bits_per_weight", report.bits_per_weight());
  if (report.divergence) {
    Json evaluation = DivergenceJson(*report.divergence);
    evaluation.Set("rows", report.held_out);
    evaluation.Set("loss_change", Number(report.loss_change()));
    json.Set("evaluation", std::move(evaluation));
  }
  if (report.mixed) json.Set("mixed", MixedJson(*report.mixed));
  if (!report.modes.empty()) json.Set("modes", ModesJson(report.modes));
  json.Set("seconds", report.seconds);
  json.Set("evaluation_seconds", report.evaluation_seconds);
  Json tensors = Json::MakeArray();
  for (const QuantizedTensor& tensor : report.tensors) {
    Json entry = Json::MakeObject();
    entry.Set("name", tensor.name);
    entry.Set("shape", Numbers(tensor.shape));
    entry.Set("type", Describe(tensor.storage));
    entry.Set("bytes", tensor.bytes);
    entry.Set("source_bytes", tensor.source_bytes);
    entry.Set("weight_sqnr_db", Number(tensor.weight_sqnr));  // null: exact
    if (!std::isnan(tensor.product_sqnr)) entry.Set("output_sqnr_db", Number(tensor.product_sqnr));
    if (!std::isnan(tensor.alpha)) entry.Set("alpha", tensor.alpha);
    tensors.Append(std::move(entry));
  }
  json.Set("tensors", std::move(tensors));
  return json;
}

std::string ReportPage(const QuantizeReport& report) {
  std::vector<std::pair<std::string, std::string>> cards = {
      {Mib(report.bytes), fmt::format("from {}", Mib(report.source_bytes))},
      {fmt::format("{:.2f}", report.bits_per_weight()), "bits a weight"}};
  std::vector<std::pair<std::string, std::string>> facts = {
      {"model", report.model},
      {"method", Name(report.method)},
      {"type", report.type},
      {"calibration", report.calibration.empty() ? "none" : report.calibration},
      {"program", report.version},
      {"time",
       fmt::format("{:.1f} s, evaluation {:.1f} s", report.seconds, report.evaluation_seconds)}};
  if (report.divergence) {
    const Divergence& found = *report.divergence;
    cards.push_back({fmt::format("{:.5f}", found.mean_kl()), "KL, nats a token"});
    cards.push_back({fmt::format("{:+.3f} %", 100 * report.loss_change()), "loss"});
    cards.push_back({fmt::format("{:.3f}", found.perplexity()),
                     fmt::format("perplexity, was {:.3f}", found.reference_perplexity())});
    facts.push_back({"evaluated on", report.held_out});
    facts.push_back({"same first choice", fmt::format("{:.2f} % of {} tokens",
                                                      100 * static_cast<double>(found.top1) /
                                                          static_cast<double>(found.tokens),
                                                      found.tokens)});
    facts.push_back({"largest KL of a token", fmt::format("{:.4f}", found.kl_max)});
  }
  return CompressPage("Quantised: " + report.model, cards,
                      {{"", FactsTable(facts)},
                       {"As it would be run", ModesHtml(report.modes)},
                       {"Mixed precision", report.mixed ? MixedHtml(*report.mixed) : ""},
                       {"Types", TypeTable(report)},
                       {"Matrices", TensorTable(report)}});
}

std::string ReportText(const QuantizeReport& report) {
  std::string text =
      fmt::format("{}: {} ({:.2f} bits a weight), was {}\n", report.output, Mib(report.bytes),
                  report.bits_per_weight(), Mib(report.source_bytes));
  if (report.divergence) {
    const Divergence& found = *report.divergence;
    text += fmt::format(
        "KL {:.6f} nats a token, largest {:.3f}; perplexity {:.4f}, was {:.4f} (loss {:+.3f} %); "
        "same first choice {:.2f} % of {} tokens\n",
        found.mean_kl(), found.kl_max, found.perplexity(), found.reference_perplexity(),
        100 * report.loss_change(),
        100 * static_cast<double>(found.top1) / static_cast<double>(found.tokens), found.tokens);
  }
  if (report.mixed)
    text += fmt::format("mixed precision: {} bytes and KL {:.6f} predicted\n",
                        report.mixed->predicted_bytes, report.mixed->plan.score);
  return text + ModesText(report.modes);
}

}  // namespace planish
