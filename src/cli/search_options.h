// SPDX-License-Identifier: Apache-2.0
// Options of `planish search`, and what they mean.
#pragma once

#include <string>
#include <vector>

#include "cli/model_options.h"
#include "compress/cost_measure.h"
#include "compress/library.h"
#include "compress/search_costs.h"

namespace planish {

inline constexpr const char* kDefaultSolutionName = "solution";

struct SearchOptions {
  ModelOptions model;
  std::string output;
  std::vector<std::string> data;
  int64_t samples = 128, seq_len = 512, score_samples = 16, eval_samples = 16, seed = 0;
  SpaceOptions space;
  LibraryOptions library;
  std::string metric = "kl";
  std::string weights = "bf16", act = "auto", kv = "auto", ssm = "f32";
  MeasureOptions measure;
  std::string max_latency, max_memory, max_params, min_throughput, max_ttft;
  std::vector<std::string> counts;
  std::vector<int64_t> batches{1};
  SearchTargets targets;  // Resolve fills it; batch is set for each of `batches`
  SolveOptions solve;
  std::string solution_name = kDefaultSolutionName, type = "bf16", baselines;
  int64_t random = 0;
  bool build_only = false, mip_only = false, solve_only = false, measures = false, is_json = false;
  double minutes = 0;

  void Declare(OptionSet* options);
  // Checks what belongs together and fills the structs. Error(kUsage).
  void Resolve();
  DType Weights() const;
  std::optional<ActMode> Act() const;
  StateTypes States() const;
  std::vector<std::string> Baselines() const;
  Json ToJson() const;

 private:
  int64_t context_ = 2048, prompt_ = 512, new_tokens_ = 128, tokens_ = 100'000, cost_samples_ = 15,
          copies_ = 8, solutions_ = 1;
};

// "70%", or a number with the unit of the option: kMilliseconds "12.5" (or 12.5ms), kBytes "2GiB", kCount "100M".
enum class TargetUnit { kMilliseconds, kBytes, kCount, kPlain };
Target ParseTarget(const char* option, const std::string& text, TargetUnit unit);

}  // namespace planish
