// SPDX-License-Identifier: Apache-2.0
// search_bench [MODEL] [BATCH] [CONTEXT]: the cost table of a model's default candidates, the sum of the parent's blocks beside
// the whole parent as measured; then the solver's time for 60 blocks of 8 candidates and for 80 layers of 54 choices.
#include <fmt/format.h>

#include <cstdlib>

#include "base/error.h"
#include "base/parallel.h"
#include "base/random.h"
#include "compress/architecture_map.h"
#include "compress/cost_measure.h"
#include "compress/search_problem.h"
#include "compress/search_space.h"
#include "model/pretrained.h"

namespace planish {
namespace {

void PrintCosts(const std::string& path, const CostSetting& setting) {
  const ModelConfig parent =
      OpenPretrained(path, {.needs_tokenizer = false, .needs_weights = false}).config;
  CostConditions conditions =
      ConditionsHere(parent, DType::kBF16, std::nullopt, {.kv = DType::kBF16}, 0);
  conditions.reuse_bytes = StreamedBytes(parent, conditions, setting);
  std::vector<MixerConfig> mixers;
  for (const CandidateBlock& block : MakeSearchSpace(parent, {}).blocks)
    for (const Candidate& candidate : block.candidates)
      if (candidate.mixer) mixers.push_back(*candidate.mixer);
  CostTable table(conditions);
  const MeasureOptions options;
  // The whole model before and after: what drifts between them is the machine's.
  const Seconds before = MeasureStep(parent, conditions, setting, options);
  const CostRequest request{&parent, std::move(mixers), &table};
  MeasureCosts({&request, 1}, {&setting, 1}, options);
  const Seconds after = MeasureStep(parent, conditions, setting, options);
  fmt::print("{}, {}, {} threads, {}\n", conditions.cpu, conditions.isa, conditions.threads,
             Describe(setting));
  for (const CostEntry& e : table.entries())
    fmt::print("{:<50} {:8.4f} ms [{:.4f}, {:.4f}]\n",
               e.mixer ? DescribeMixer(*e.mixer) : "embedding, last norm, head",
               1e3 * e.seconds.median, 1e3 * e.seconds.low, 1e3 * e.seconds.high);
  std::vector<std::optional<MixerConfig>> blocks;
  for (const BlockConfig& block : parent.blocks) blocks.emplace_back(block.mixer);
  const Seconds sum = table.Step(blocks, setting);
  fmt::print("parent: sum {:.3f} ms [{:.3f}, {:.3f}], measured {:.3f} before and {:.3f} ms after\n",
             1e3 * sum.median, 1e3 * sum.low, 1e3 * sum.high, 1e3 * before.median,
             1e3 * after.median);
}

// Candidates whose harm falls and whose cost grows with what they keep, as real ones do.
void TimeSolver(size_t blocks, size_t choices) {
  Random random(1);
  SearchProblem problem;
  problem.block_count = blocks;
  problem.limits = {{.name = "latency", .amounts = {}, .high = 0.6 * static_cast<double>(blocks)},
                    {.name = "memory", .amounts = {}, .high = 0.7 * static_cast<double>(blocks)}};
  for (size_t block = 0; block < blocks; ++block) {
    const double weight = 0.1 + random.Uniform();
    for (size_t j = 0; j < choices; ++j) {
      const double kept = j == 0 ? 1.0 : random.Uniform();
      problem.options.push_back(
          {"", {block}, weight * (1 - kept) * (1 - kept) * (0.8 + 0.4 * random.Uniform())});
      problem.limits[0].amounts.push_back(kept * (j == 0 ? 1.0 : 0.9 + 0.2 * random.Uniform()));
      problem.limits[1].amounts.push_back(kept);
    }
  }
  const SearchSolution greedy = SolveGreedily(problem);
  const std::vector<SearchSolution> solutions = SolveSearch(problem, {});
  fmt::print(
      "{} blocks of {} candidates: {:.2f} s, objective {:.5f} (bound {:.5f}, greedy {:.5f})\n",
      blocks, choices, solutions[0].seconds, solutions[0].score, solutions[0].bound, greedy.score);
}

}  // namespace
}  // namespace planish

int main(int argc, char** argv) {
  using namespace planish;
  LimitSpinning(argv);
  SetThreadCount(0);
  try {
    if (argc > 1)
      PrintCosts(argv[1], {true, argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 8,
                           argc > 3 ? std::strtoul(argv[3], nullptr, 10) : 2048});
    TimeSolver(60, 8);
    TimeSolver(80, 54);
  } catch (const Error& error) {
    fmt::print(stderr, "search_bench: {}\n", error.what());
    return static_cast<int>(error.code());
  }
  return 0;
}
