// SPDX-License-Identifier: Apache-2.0
#include "cli/bench_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace planish {
namespace {

double Mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double StandardDeviation(const std::vector<double>& values) {
  if (values.size() < 2) return 0;
  const double mean = Mean(values);
  double sum = 0;
  for (const double v : values) sum += (v - mean) * (v - mean);
  return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

Json Numbers(const std::vector<double>& values) {
  Json list = Json::MakeArray();
  for (const double v : values) list.Append(v);
  return list;
}

std::string Line(const char* name, const std::string& value) {
  return fmt::format("{:<22} {}\n", name, value);
}

std::string RateText(const Rate& rate, double unit, const char* name) {
  return fmt::format("{:.1f} / {:.1f} {}", rate.one_thread / unit, rate.team / unit, name);
}

double PerStep(const BenchRow& row, double value) {
  const double steps = static_cast<double>(row.result.steps * row.result.seconds.size());
  return value / steps;
}

}  // namespace

double BenchRow::share_of_read() const { return result.work.bytes / read_peak / result.median_s(); }

double BenchRow::share_of_arithmetic() const {
  return result.work.flops / arithmetic_peak / result.median_s();
}

double BenchRow::limit_ts() const {
  const double seconds =
      std::max(result.work.bytes / read_peak, result.work.flops / arithmetic_peak);
  return static_cast<double>(result.test.tokens()) / seconds;
}

Rate ArithmeticPeak(const MachinePeaks& peaks, ActMode act) {
  const Rate rate = act == ActMode::kInt8   ? peaks.int8()
                    : act == ActMode::kBf16 ? peaks.bf16()
                                            : peaks.f32();
  // A CPU without such units does this arithmetic in f32.
  return rate.team > 0 ? rate : peaks.f32();
}

std::string PeaksText(const MachinePeaks& peaks) {
  std::string levels;
  for (const std::string& level : peaks.isa_levels) levels += (levels.empty() ? "" : " ") + level;
  std::string text = Line("machine", peaks.cpu);
  text += Line("instructions", fmt::format("{} (has: {})", peaks.isa, levels));
  text += Line("threads", fmt::format("1 / {} in the figures below", peaks.threads));
  for (size_t u = 0; u < kArithmeticUnitCount; ++u) {
    const auto unit = static_cast<ArithmeticUnit>(u);
    if (peaks.of(unit).team > 0)
      text += Line(Name(unit), RateText(peaks.of(unit), 1e9, "G operations/s"));
  }
  text +=
      Line("memory read", fmt::format("{} ({}; plain loop {})", RateText(peaks.read, 1e9, "GB/s"),
                                      peaks.read_pattern, RateText(peaks.plain_read, 1e9, "GB/s")));
  text += Line("memory copy", fmt::format("{}, both ways counted ({})",
                                          RateText(peaks.copy, 1e9, "GB/s"), peaks.copy_pattern));
  if (peaks.threads == 1) return text;
  text +=
      Line("parallel region", fmt::format("{:.1f} us, {:.1f} us after a pause",
                                          1e6 * peaks.region_s, 1e6 * peaks.region_after_pause_s));
  text += Line("barrier", fmt::format("{:.2f} us, {}", 1e6 * peaks.barrier_s, peaks.spinning));
  const double scaling = peaks.thread_scaling();
  const double share = scaling / peaks.threads;
  text +=
      Line("scaling", fmt::format("{} threads do {:.2f} times the arithmetic of one: {}",
                                  peaks.threads, scaling,
                                  share > 0.8   ? "each is a core"
                                  : share > 0.6 ? "they share cores or power"
                                                : "siblings of shared cores, or a busy machine"));
  return text;
}

std::string PatternsText(const std::vector<PatternRate>& patterns) {
  std::string text = "\n| pattern | 1 thread GB/s | team GB/s |\n|---|---|---|\n";
  for (const PatternRate& p : patterns)
    text += fmt::format("| {} | {:.1f} | {:.1f} |\n", p.pattern, p.rate.one_thread / 1e9,
                        p.rate.team / 1e9);
  return text;
}

std::string TestName(const ThroughputTest& test) {
  std::string name =
      test.n_prompt > 0 ? fmt::format("pp{}", test.n_prompt) : fmt::format("tg{}", test.n_gen);
  if (test.depth > 0) name += fmt::format(" @ d{}", test.depth);
  if (test.batch > 1) name += fmt::format(" b{}", test.batch);
  return name;
}

std::string RowsText(const std::vector<BenchRow>& rows) {
  std::string text =
      "| threads | test | tokens/s (median) | mean ± sd | limit | share | of read | of arithmetic "
      "|\n|---|---|---|---|---|---|---|---|\n";
  for (const BenchRow& row : rows) {
    const std::vector<double> rates = row.result.tokens_per_s();
    text += fmt::format(
        "| {} | {} | {:.2f} | {:.2f} ± {:.2f} | {:.2f} | {:.0f} % | {:.0f} % | {:.0f} % |\n",
        row.threads, TestName(row.result.test), row.result.median_ts(), Mean(rates),
        StandardDeviation(rates), row.limit_ts(), 100 * row.share_of_limit(),
        100 * row.share_of_read(), 100 * row.share_of_arithmetic());
  }
  return text;
}

std::string PhasesText(const BenchRow& row) {
  if (!row.result.phases.has_value()) return "";
  const PhaseReport& report = *row.result.phases;
  std::string text = fmt::format(
      "\n{}, {} threads: {:.1f} parallel regions and {:.3f} ms a step\n\n| phase | ms a step | "
      "share | calls | regions |\n|---|---|---|---|---|\n",
      TestName(row.result.test), row.threads,
      PerStep(row, static_cast<double>(report.parallel_regions())),
      1e3 * PerStep(row, report.total_s()));
  for (size_t p = 0; p < kPhaseCount; ++p) {
    const PhaseReport::Entry& entry = report.phases[p];
    const auto phase = static_cast<Phase>(p);
    if (entry.calls == 0 && phase != Phase::kOther) continue;
    text += fmt::format("| {} | {:.3f} | {:.1f} % | {:.1f} | {:.1f} |\n", Name(phase),
                        1e3 * PerStep(row, entry.seconds), 100 * entry.seconds / report.total_s(),
                        PerStep(row, static_cast<double>(entry.calls)),
                        PerStep(row, static_cast<double>(entry.parallel_regions)));
  }
  return text;
}

Json RowToJson(const BenchRow& row) {
  const ThroughputResult& result = row.result;
  const std::vector<double> rates = result.tokens_per_s();
  std::vector<double> ns;
  for (const double s : result.seconds) ns.push_back(1e9 * s);
  const auto tokens = static_cast<double>(result.test.tokens());
  Json json = Json::MakeObject();
  json.Set("test", TestName(result.test));
  json.Set("n_prompt", static_cast<uint64_t>(result.test.n_prompt));
  json.Set("n_gen", static_cast<uint64_t>(result.test.n_gen));
  json.Set("n_depth", static_cast<uint64_t>(result.test.depth));
  json.Set("n_batch", static_cast<uint64_t>(result.test.batch));
  json.Set("threads", row.threads);
  json.Set("avg_ts", Mean(rates));
  json.Set("stddev_ts", StandardDeviation(rates));
  json.Set("median_ts", result.median_ts());
  json.Set("samples_ts", Numbers(rates));
  json.Set("avg_ns", Mean(ns));
  json.Set("samples_ns", Numbers(ns));
  json.Set("bytes_per_token", result.work.bytes / tokens);
  json.Set("flops_per_token", result.work.flops / tokens);
  json.Set("share_of_read", row.share_of_read());
  json.Set("share_of_arithmetic", row.share_of_arithmetic());
  json.Set("limit_ts", row.limit_ts());
  json.Set("share_of_limit", row.share_of_limit());
  if (!result.phases.has_value()) return json;
  Json phases = Json::MakeObject();
  for (size_t p = 0; p < kPhaseCount; ++p) {
    const PhaseReport::Entry& entry = result.phases->phases[p];
    Json values = Json::MakeObject();
    values.Set("ms_per_step", 1e3 * PerStep(row, entry.seconds));
    values.Set("calls_per_step", PerStep(row, static_cast<double>(entry.calls)));
    values.Set("regions_per_step", PerStep(row, static_cast<double>(entry.parallel_regions)));
    phases.Set(Name(static_cast<Phase>(p)), std::move(values));
  }
  json.Set("phases", std::move(phases));
  json.Set("regions_per_step",
           PerStep(row, static_cast<double>(result.phases->parallel_regions())));
  return json;
}

}  // namespace planish
