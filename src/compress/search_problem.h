// SPDX-License-Identifier: Apache-2.0
// Puzzle's choice as a program (compress.md 5.4): options, each in place of one block or of several, every block covered
// exactly once, the sum of scores least, under limits on sums. Knows nothing of models: search_costs makes problems of them.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "compress/mip.h"

namespace planish {

struct SearchOption {
  std::string name;            // for messages
  std::vector<size_t> blocks;  // that it stands for, ascending
  double score = 0;            // smaller is better; options without a finite score are never chosen
};

// low <= fixed + sum of the chosen options' amounts <= high. Without bounds it is only reported.
struct SearchLimit {
  std::string name;
  std::string unit;  // "ms", and how many of them one of the amounts' unit is
  double per_unit = 1;
  double fixed = 0;             // what no choice changes
  std::vector<double> amounts;  // [options]; options of which one is not finite are never chosen
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();

  bool is_limited() const;
  std::string Show(double amount) const;  // "12.3 ms"
};

struct SearchProblem {
  size_t block_count = 0;
  std::vector<SearchOption> options;
  std::vector<SearchLimit> limits;
};

struct SearchSolution {
  std::vector<size_t> options;  // indices, by their first blocks
  double score = 0;
  std::vector<double> totals;  // [limits], fixed parts included
  double bound = 0;            // proven: no solution scores less
  bool is_optimal = true;      // within the gap; false: the best within the time
  double seconds = 0;          // of the solver
};

struct SolveOptions {
  size_t count = 1;        // solutions, by ascending score as far as diversity lets them
  double diversity = 0.2;  // share of blocks in which every two differ at least
  double gap = 1e-4;
  double seconds = 60;  // for each
  uint64_t seed = 1;
};

// Up to `count` solutions; empty if there is none. Error(kFailure) if the time passes without one. Sums are verified here,
// not taken from the solver.
std::vector<SearchSolution> SolveSearch(const SearchProblem& problem, const SolveOptions& options);

// The plain way, for comparison and as the solver's start: from the best options, one swap after another of least loss for
// what it brings towards the limits, then swaps back that the limits leave room for. Takes options of one block only. Empty
// options: it found nothing.
SearchSolution SolveGreedily(const SearchProblem& problem);

// True if `options` cover every block once within all limits.
bool IsSolution(const SearchProblem& problem, const std::vector<size_t>& options);
SearchSolution TotalsOf(const SearchProblem& problem, std::vector<size_t> options);

// Why nothing fits: of every limit the nearest value that can be reached without the other limits, and with them.
struct NearestValue {
  size_t limit = 0;
  double alone = 0;
  bool is_reachable_with_others = false;
  double with_others = 0;
};
std::vector<NearestValue> ExplainInfeasible(const SearchProblem& problem,
                                            const SolveOptions& options);
std::string DescribeInfeasible(const SearchProblem& problem,
                               const std::vector<NearestValue>& values);

}  // namespace planish
