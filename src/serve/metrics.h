// SPDX-License-Identifier: Apache-2.0
// Counters, gauges and histograms in Prometheus' text format 0.0.4. Every name of serve.md section 9 is declared in
// metrics.cc; anything may be counted from any thread.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace planish {

class Metrics {
 public:
  // `model`: value of the label that all series carry. `aliases`: "", "vllm" or "llamacpp".
  Metrics(std::string model, std::string aliases);

  // `labels`: as they are written, e.g. `endpoint="/health",code="200"`; empty: none.
  void Add(std::string_view name, double value = 1, const std::string& labels = {});
  void Set(std::string_view name, double value);
  // A counter that is kept elsewhere.
  void SetCounter(std::string_view name, double value, const std::string& labels = {});
  void Observe(std::string_view name, double value);
  std::string Print() const;

 private:
  enum class Kind { kCounter, kGauge, kHistogram };
  struct Series {
    double value = 0;               // sum of a histogram
    uint64_t count = 0;             // histogram
    std::vector<uint64_t> buckets;  // histogram, not cumulative
  };
  struct Family {
    Kind kind;
    std::string help;
    std::vector<double> bounds;
    std::map<std::string, Series> series;  // by labels
  };
  void PrintFamily(const std::string& name, const Family& family, std::string* out) const;
  Family& Get(std::string_view name);

  std::string model_, aliases_;
  mutable std::mutex mutex_;
  std::map<std::string, Family, std::less<>> families_;
};

}  // namespace planish
