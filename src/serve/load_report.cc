// SPDX-License-Identifier: Apache-2.0
#include "serve/load_report.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "base/error.h"

namespace planish {
namespace {

constexpr const char* kTimes[] = {"ttft", "tpot", "itl", "e2el"};

struct Times {
  std::vector<double> ttft, tpot, itl, e2el;  // ms
};

double Tpot(const LoadSample& sample) {  // ms; only of answers of two tokens and more
  return 1000 * (sample.end_s - sample.first_s) / static_cast<double>(sample.output_tokens - 1);
}

void Add(const LoadSample& sample, Times* times) {
  times->ttft.push_back(1000 * sample.first_s);
  times->e2el.push_back(1000 * sample.end_s);
  if (sample.output_tokens > 1) times->tpot.push_back(Tpot(sample));
  for (const double gap : sample.gaps_s) times->itl.push_back(1000 * gap);
}

void SetStatistics(const std::string& name, const std::vector<double>& values, Json* out) {
  const auto n = static_cast<double>(values.size());
  double mean = 0, square = 0;
  for (const double value : values) mean += value / n;
  for (const double value : values) square += (value - mean) * (value - mean) / n;
  out->Set("mean_" + name + "_ms", mean);
  out->Set("median_" + name + "_ms", Percentile(values, 50));
  out->Set("std_" + name + "_ms", std::sqrt(square));
  for (const int percent : {50, 90, 99})
    out->Set(fmt::format("p{}_{}_ms", percent, name), Percentile(values, percent));
}

bool Keeps(const LoadSample& sample, const Goodput& goodput) {
  const auto within = [](double ms, const std::optional<double>& bound) {
    return !bound || ms <= *bound;
  };
  return within(1000 * sample.first_s, goodput.ttft_ms) &&
         within(1000 * sample.end_s, goodput.e2el_ms) &&
         (sample.output_tokens < 2 || within(Tpot(sample), goodput.tpot_ms));
}

double Number(const Json& report, const std::string& key) {
  const Json* found = report.Find(key);
  return found == nullptr || found->is_null() ? 0 : found->AsDouble();
}

Json TurnsToJson(const std::vector<LoadSample>& samples) {
  size_t turns = 0;
  for (const LoadSample& sample : samples) turns = std::max(turns, sample.turn + 1);
  Json list = Json::MakeArray();
  for (size_t turn = 0; turns > 1 && turn < turns; ++turn) {
    Times times;
    size_t input = 0, cached = 0, count = 0;
    for (const LoadSample& sample : samples) {
      if (sample.turn != turn || !sample.error.empty()) continue;
      Add(sample, &times);
      input += sample.prompt_tokens;
      cached += sample.cached_tokens;
      ++count;
    }
    Json entry = Json::MakeObject();
    entry.Set("turn", static_cast<int64_t>(turn + 1));
    entry.Set("completed", static_cast<int64_t>(count));
    entry.Set("total_input", static_cast<int64_t>(input));
    entry.Set("cached_tokens", static_cast<int64_t>(cached));
    entry.Set("cached_ratio",
              input > 0 ? static_cast<double>(cached) / static_cast<double>(input) : 0.0);
    SetStatistics("ttft", times.ttft, &entry);
    list.Append(std::move(entry));
  }
  return list;
}

}  // namespace

Goodput ParseGoodput(const std::string& text) {
  Goodput goodput;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string part = text.substr(begin, end - begin);
    const size_t colon = part.find(':');
    const std::string name = part.substr(0, colon);
    double ms = -1;
    size_t used = 0;
    try {
      if (colon != std::string::npos) ms = std::stod(part.substr(colon + 1), &used);
    } catch (const std::exception&) {
    }
    std::optional<double>* bound = name == "ttft"   ? &goodput.ttft_ms
                                   : name == "tpot" ? &goodput.tpot_ms
                                   : name == "e2el" ? &goodput.e2el_ms
                                                    : nullptr;
    if (bound == nullptr || !(ms >= 0) || used + colon + 1 != part.size())
      throw UsageError("{} is no bound, expected e.g. ttft:500,tpot:50 (ms; ttft, tpot, e2el)",
                       Quoted(part));
    *bound = ms;
    begin = end + 1;
  }
  return goodput;
}

double Percentile(std::vector<double> values, double percent) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double at = percent / 100 * static_cast<double>(values.size() - 1);
  const auto low = static_cast<size_t>(at);
  const size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (at - static_cast<double>(low)) * (values[high] - values[low]);
}

Json LoadToJson(const LoadResult& result, const std::optional<Goodput>& goodput) {
  Times times;
  std::map<std::string, int64_t> errors;
  size_t completed = 0, input = 0, output = 0, cached = 0, reasoning = 0, good = 0;
  for (const LoadSample& sample : result.samples) {
    if (!sample.error.empty()) {
      ++errors[sample.error];
      continue;
    }
    ++completed;
    input += sample.prompt_tokens;
    output += sample.output_tokens;
    cached += sample.cached_tokens;
    reasoning += sample.reasoning_tokens;
    good += goodput && Keeps(sample, *goodput);
    Add(sample, &times);
  }
  const auto rate = [&](size_t count) {
    return result.duration_s > 0 ? static_cast<double>(count) / result.duration_s : 0.0;
  };
  Json report = Json::MakeObject();
  report.Set("duration", result.duration_s);
  report.Set("completed", static_cast<int64_t>(completed));
  report.Set("failed", static_cast<int64_t>(result.samples.size() - completed));
  report.Set("total_input", static_cast<int64_t>(input));
  report.Set("total_output", static_cast<int64_t>(output));
  report.Set("cached_tokens", static_cast<int64_t>(cached));
  report.Set("reasoning_tokens", static_cast<int64_t>(reasoning));
  report.Set("request_throughput", rate(completed));
  report.Set("request_goodput", goodput ? Json(rate(good)) : Json());
  report.Set("output_throughput", rate(output));
  report.Set("total_token_throughput", rate(input + output));
  SetStatistics("ttft", times.ttft, &report);
  SetStatistics("tpot", times.tpot, &report);
  SetStatistics("itl", times.itl, &report);
  SetStatistics("e2el", times.e2el, &report);
  if (Json turns = TurnsToJson(result.samples); !turns.AsArray().empty())
    report.Set("turns", std::move(turns));
  Json messages = Json::MakeObject();
  for (const auto& [message, count] : errors) messages.Set(message, count);
  report.Set("errors", std::move(messages));
  return report;
}

std::string LoadText(const Json& report) {
  const auto number = [&](const char* key) { return Number(report, key); };
  std::string text = fmt::format(
      "{:.0f} requests in {:.2f} s, {:.0f} failed; {:.0f} tokens in ({:.0f} cached), {:.0f} out "
      "({:.0f} reasoning)\n{:.3f} requests/s",
      number("completed"), number("duration"), number("failed"), number("total_input"),
      number("cached_tokens"), number("total_output"), number("reasoning_tokens"),
      number("request_throughput"));
  if (!report.Find("request_goodput")->is_null())
    text += fmt::format(" ({:.3f} within the bounds)", number("request_goodput"));
  text += fmt::format(", {:.1f} output tokens/s, {:.1f} tokens/s in all\n\n",
                      number("output_throughput"), number("total_token_throughput"));
  text += "| ms | mean | sd | p50 | p90 | p99 |\n|---|---:|---:|---:|---:|---:|\n";
  for (const std::string name : kTimes) {
    text += fmt::format("| {} |", name);
    for (const char* figure : {"mean", "std", "p50", "p90", "p99"})
      text += fmt::format(" {:.1f} |", Number(report, fmt::format("{}_{}_ms", figure, name)));
    text += '\n';
  }
  if (const Json* turns = report.Find("turns"); turns != nullptr) {
    text += "\n| turn | requests | tokens in | cached | ttft ms, median | p90 |\n";
    text += "|---:|---:|---:|---:|---:|---:|\n";
    for (const Json& turn : turns->AsArray()) {
      text += fmt::format("| {:.0f} | {:.0f} | {:.0f} | {:.1f} % | {:.1f} | {:.1f} |\n",
                          Number(turn, "turn"), Number(turn, "completed"),
                          Number(turn, "total_input"), 100 * Number(turn, "cached_ratio"),
                          Number(turn, "median_ttft_ms"), Number(turn, "p90_ttft_ms"));
    }
  }
  for (const auto& [message, count] : report.Find("errors")->AsObject())
    text += fmt::format("\n{} x {}", count.AsInt(), Quoted(message, 300));
  if (text.back() != '\n') text += '\n';
  return text;
}

}  // namespace planish
