// SPDX-License-Identifier: Apache-2.0
// A model that a search found, or one to compare it with: which candidate stands in each block, what that was predicted to
// cost and to harm, and what was measured of it afterwards.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "compress/search_costs.h"
#include "eval/divergence.h"

namespace planish {

struct FoundModel {
  std::string name;  // "solution_1", "depth", "width"; of its files, too
  Choice choice;
  SearchSolution solution;  // summed score and totals
  Seconds latency;          // predicted, of the targets' decode step
  std::optional<Seconds> measured_latency;
  std::optional<Divergence> divergence;  // from the parent, on rows that nothing was chosen by
  std::string folder;                    // where it was written; empty: nowhere
};

// The contents of NAME.json: choices with their mixers, totals by limit, objective, latencies.
Json FoundModelToJson(const FoundModel& found, const std::vector<CandidateBlock>& blocks,
                      const SearchProblem& problem, const SearchTargets& targets);
Json DivergenceToJson(const Divergence& divergence);

// Everything that search.html shows.
struct SearchReport {
  std::string parent_name;
  const ModelConfig* parent = nullptr;
  const std::vector<CandidateBlock>* blocks = nullptr;
  const CostTable* costs = nullptr;
  SearchTargets targets;
  SearchProblem problem;              // of the batch that was chosen
  FoundModel parent_itself;           // the choice of all parents
  std::vector<FoundModel> found;      // solutions first, then baselines
  std::vector<SearchSolution> sweep;  // best scores at latencies between the parent's and the least
  std::vector<std::pair<std::string, std::string>> facts;  // of the run
  std::vector<double> random_scores, random_kl;            // of choices made by chance
};
std::string SearchPage(const SearchReport& report);

}  // namespace planish
