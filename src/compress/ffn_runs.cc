// SPDX-License-Identifier: Apache-2.0
#include "compress/ffn_runs.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/error.h"
#include "base/random.h"

namespace planish {
namespace {

bool IsFfn(const BlockConfig& block) { return std::holds_alternative<FfnConfig>(block.mixer); }

bool Overlap(const FfnRun& a, const FfnRun& b) { return a.begin < b.end && b.begin < a.end; }

void SortRuns(std::vector<FfnRun>* runs) {
  std::sort(runs->begin(), runs->end(),
            [](const FfnRun& a, const FfnRun& b) { return a.begin < b.begin; });
}

std::optional<size_t> ParseLayer(const std::string& text) {
  size_t value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || stop != text.data() + text.size()) return {};
  return value;
}

// One "3-6".
FfnRun RunOfRange(const ModelConfig& config, const std::string& range) {
  const size_t dash = range.find('-');
  const auto first = ParseLayer(range.substr(0, dash));
  const auto last = dash == std::string::npos ? first : ParseLayer(range.substr(dash + 1));
  if (!first || !last || *first > *last)
    throw UsageError("--runs holds {}, expected layers like 3-6", Quoted(range));
  if (*last >= config.n_layers)
    throw UsageError("--runs holds {}, the model has layers 0 to {}", Quoted(range),
                     config.n_layers - 1);
  std::optional<FfnRun> run;
  for (size_t i = 0; i < config.blocks.size(); ++i) {
    const BlockConfig& block = config.blocks[i];
    if (block.layer < *first || block.layer > *last) continue;
    if (IsFfn(block)) {
      if (!run) run = FfnRun{i, i};
      run->end = i + 1;
    }
  }
  if (!run || run->size() < 2) throw UsageError("layers {} have less than two FFN blocks", range);
  for (size_t i = run->begin; i < run->end; ++i) {
    if (!IsFfn(config.blocks[i]))
      throw UsageError("layers {}: {} of layer {} stands between the FFN blocks", range,
                       kMixerNames[config.blocks[i].mixer.index()], config.blocks[i].layer);
  }
  return *run;
}

// The longest piece within the limits; nullopt if there is none of two blocks.
std::optional<FfnRun> LongestSafe(const RunDependency& dependency, const FfnRun& within,
                                  const FusionLimits& limits) {
  std::optional<FfnRun> best;
  for (size_t begin = within.begin; begin < within.end; ++begin) {
    for (size_t end = begin + 2; end <= within.end; ++end) {
      const FfnRun part{begin, end};
      if (dependency.Max(part) > limits.max_d || dependency.Mean(part) > limits.mean_d) continue;
      if (!best || part.size() > best->size() ||
          (part.size() == best->size() && dependency.Mean(part) < dependency.Mean(*best)))
        best = part;
    }
  }
  return best;
}

void AddSafe(const RunDependency& dependency, const FfnRun& within, const FusionLimits& limits,
             std::vector<FfnRun>* safe) {
  const auto best = LongestSafe(dependency, within, limits);
  if (!best) return;
  safe->push_back(*best);
  AddSafe(dependency, {within.begin, best->begin}, limits, safe);
  AddSafe(dependency, {best->end, within.end}, limits, safe);
}

}  // namespace

std::string DescribeRun(const ModelConfig& config, const FfnRun& run) {
  return fmt::format("{}-{}", config.blocks[run.begin].layer, config.blocks[run.end - 1].layer);
}

std::vector<FfnRun> FfnRuns(const ModelConfig& config) {
  std::vector<FfnRun> runs;
  for (size_t i = 0; i < config.blocks.size(); ++i) {
    if (!IsFfn(config.blocks[i])) continue;
    if (!runs.empty() && runs.back().end == i)
      runs.back().end = i + 1;
    else
      runs.push_back({i, i + 1});
  }
  std::erase_if(runs, [](const FfnRun& run) { return run.size() < 2; });
  return runs;
}

std::vector<FfnRun> RunsOfLayers(const ModelConfig& config, const std::string& text) {
  std::vector<FfnRun> runs;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string range = text.substr(begin, end - begin);
    const FfnRun run = RunOfRange(config, range);
    if (!runs.empty() && run.begin < runs.back().end)
      throw UsageError("--runs: {} does not follow the range before it", Quoted(range));
    runs.push_back(run);
    begin = end + 1;
  }
  return runs;
}

double RunDependency::Max(const FfnRun& part) const {
  double most = 0;
  for (size_t i = part.begin; i < part.end; ++i) {
    for (size_t j = i + 1; j < part.end; ++j)
      most = std::max(most, at(i - run.begin, j - run.begin));
  }
  return most;
}

double RunDependency::Mean(const FfnRun& part) const {
  double sum = 0;
  size_t pairs = 0;
  for (size_t i = part.begin; i < part.end; ++i) {
    for (size_t j = i + 1; j < part.end; ++j, ++pairs) sum += at(i - run.begin, j - run.begin);
  }
  return pairs == 0 ? 0 : sum / static_cast<double>(pairs);
}

std::vector<FfnRun> SafeRuns(const std::vector<RunDependency>& dependencies,
                             const FusionLimits& limits) {
  std::vector<FfnRun> safe;
  for (size_t r = 0; r < dependencies.size(); ++r) {
    FfnRun within = dependencies[r].run;
    if (limits.keeps_last && r + 1 == dependencies.size()) --within.end;
    AddSafe(dependencies[r], within, limits, &safe);
  }
  SortRuns(&safe);
  return safe;
}

std::vector<FfnRun> RandomRuns(const ModelConfig& config, const std::vector<FfnRun>& chosen,
                               uint64_t seed) {
  constexpr int kTries = 1000;
  const std::vector<FfnRun> runs = FfnRuns(config);
  Random random(seed);
  for (int attempt = 0; attempt < kTries; ++attempt) {
    std::vector<FfnRun> drawn;
    for (const FfnRun& run : chosen) {
      std::vector<FfnRun> places;
      for (const FfnRun& whole : runs) {
        for (size_t begin = whole.begin; begin + run.size() <= whole.end; ++begin) {
          const FfnRun place{begin, begin + run.size()};
          if (std::none_of(drawn.begin(), drawn.end(),
                           [&](const FfnRun& other) { return Overlap(place, other); }))
            places.push_back(place);
        }
      }
      if (places.empty()) break;
      drawn.push_back(places[random.Below(places.size())]);
    }
    if (drawn.size() != chosen.size()) continue;
    SortRuns(&drawn);
    if (drawn != chosen) return drawn;
  }
  return {};
}

}  // namespace planish
