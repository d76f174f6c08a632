// SPDX-License-Identifier: Apache-2.0
#include "compress/search_problem.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace planish {
namespace {

bool IsUsable(const SearchProblem& problem, size_t option) {
  if (!std::isfinite(problem.options[option].score)) return false;
  return std::all_of(problem.limits.begin(), problem.limits.end(), [&](const SearchLimit& limit) {
    return std::isfinite(limit.amounts[option]);
  });
}

void Check(const SearchProblem& problem) {
  for (const SearchLimit& limit : problem.limits)
    PLANISH_CHECK(limit.amounts.size() == problem.options.size(), "{}", limit.name);
  for (const SearchOption& option : problem.options) {
    PLANISH_CHECK(!option.blocks.empty(), "{}", option.name);
    for (const size_t block : option.blocks)
      PLANISH_CHECK(block < problem.block_count, "{}", option.name);
  }
}

// The program, and which option each of its variables is.
struct Encoded {
  BinaryProgram program;
  std::vector<size_t> option_of;    // [variables]
  std::vector<size_t> variable_of;  // [options], SIZE_MAX: never chosen
  std::vector<bool> Variables(const std::vector<size_t>& options) const {
    std::vector<bool> x(option_of.size(), false);
    for (const size_t option : options) x[variable_of[option]] = true;
    return x;
  }
  std::vector<size_t> Options(const std::vector<bool>& x) const {
    std::vector<size_t> options;
    for (size_t i = 0; i < x.size(); ++i)
      if (x[i]) options.push_back(option_of[i]);
    return options;
  }
};

LinearRow RowOf(const SearchLimit& limit, const Encoded& encoded) {
  LinearRow row{.name = limit.name, .terms = {}};
  for (size_t i = 0; i < encoded.option_of.size(); ++i)
    if (const double amount = limit.amounts[encoded.option_of[i]]; amount != 0)
      row.terms.emplace_back(i, amount);
  row.low = limit.low - limit.fixed;
  row.high = limit.high - limit.fixed;
  return row;
}

// Covering rows and the limits for which `takes` is true.
template <typename Takes>
Encoded Encode(const SearchProblem& problem, const Takes& takes) {
  Encoded encoded;
  encoded.variable_of.assign(problem.options.size(), SIZE_MAX);
  std::vector<LinearRow> covers(problem.block_count);
  for (size_t block = 0; block < problem.block_count; ++block)
    covers[block] = {.name = fmt::format("block {}", block), .terms = {}, .low = 1, .high = 1};
  for (size_t i = 0; i < problem.options.size(); ++i) {
    if (!IsUsable(problem, i)) continue;
    const size_t variable = encoded.program.AddVariable(problem.options[i].score);
    encoded.option_of.push_back(i);
    encoded.variable_of[i] = variable;
    for (const size_t block : problem.options[i].blocks)
      covers[block].terms.emplace_back(variable, 1.0);
  }
  encoded.program.rows = std::move(covers);
  for (size_t i = 0; i < problem.limits.size(); ++i)
    if (problem.limits[i].is_limited() && takes(i))
      encoded.program.rows.push_back(RowOf(problem.limits[i], encoded));
  return encoded;
}

// How far sums are beyond the limits, each in its own measure; 0: all hold.
double Violation(const SearchProblem& problem, const std::vector<double>& totals) {
  double sum = 0;
  for (size_t i = 0; i < problem.limits.size(); ++i) {
    const SearchLimit& limit = problem.limits[i];
    const double size = std::max({std::abs(std::isfinite(limit.high) ? limit.high : 0.0),
                                  std::abs(std::isfinite(limit.low) ? limit.low : 0.0), 1e-300});
    const double excess = std::max(totals[i] - limit.high, limit.low - totals[i]);
    if (excess > 1e-9 * size) sum += excess / size;
  }
  return sum;
}

std::vector<double> Sums(const SearchProblem& problem, const std::vector<size_t>& options) {
  std::vector<double> totals;
  for (const SearchLimit& limit : problem.limits) {
    double total = limit.fixed;
    for (const size_t option : options) total += limit.amounts[option];
    totals.push_back(total);
  }
  return totals;
}

}  // namespace

bool SearchLimit::is_limited() const { return std::isfinite(low) || std::isfinite(high); }

std::string SearchLimit::Show(double amount) const {
  const double shown = amount * per_unit;
  const bool is_whole = unit.empty() && std::abs(shown) < 1e15 && shown == std::round(shown);
  return (is_whole ? fmt::format("{}", static_cast<int64_t>(shown))
                   : fmt::format("{:.4g}", shown)) +
         (unit.empty() ? "" : " " + unit);
}

bool IsSolution(const SearchProblem& problem, const std::vector<size_t>& options) {
  std::vector<size_t> times(problem.block_count, 0);
  for (const size_t option : options) {
    if (option >= problem.options.size() || !IsUsable(problem, option)) return false;
    for (const size_t block : problem.options[option].blocks) ++times[block];
  }
  return std::all_of(times.begin(), times.end(), [](size_t n) { return n == 1; }) &&
         Violation(problem, Sums(problem, options)) == 0;
}

SearchSolution TotalsOf(const SearchProblem& problem, std::vector<size_t> options) {
  SearchSolution solution;
  std::sort(options.begin(), options.end(), [&](size_t a, size_t b) {
    return problem.options[a].blocks[0] < problem.options[b].blocks[0];
  });
  for (const size_t option : options) solution.score += problem.options[option].score;
  solution.totals = Sums(problem, options);
  solution.options = std::move(options);
  return solution;
}

SearchSolution SolveGreedily(const SearchProblem& problem) {
  Check(problem);
  std::vector<std::vector<size_t>> of_block(problem.block_count);
  for (size_t i = 0; i < problem.options.size(); ++i)
    if (problem.options[i].blocks.size() == 1 && IsUsable(problem, i))
      of_block[problem.options[i].blocks[0]].push_back(i);
  std::vector<size_t> choice;
  for (const auto& options : of_block) {
    if (options.empty()) return {};
    choice.push_back(*std::min_element(options.begin(), options.end(), [&](size_t a, size_t b) {
      return problem.options[a].score < problem.options[b].score;
    }));
  }
  std::vector<double> totals = Sums(problem, choice);
  double violation = Violation(problem, totals);
  const auto after = [&](size_t block, size_t option) {
    std::vector<double> moved = totals;
    for (size_t i = 0; i < moved.size(); ++i)
      moved[i] += problem.limits[i].amounts[option] - problem.limits[i].amounts[choice[block]];
    return moved;
  };
  while (violation > 0) {
    double best_price = std::numeric_limits<double>::infinity();
    size_t best_block = 0, best_option = SIZE_MAX;
    for (size_t block = 0; block < of_block.size(); ++block) {
      for (const size_t option : of_block[block]) {
        const double gain = violation - Violation(problem, after(block, option));
        if (gain <= 1e-12) continue;
        const double price =
            (problem.options[option].score - problem.options[choice[block]].score) / gain;
        if (price >= best_price) continue;
        best_price = price;
        best_block = block;
        best_option = option;
      }
    }
    if (best_option == SIZE_MAX) return {};
    choice[best_block] = best_option;
    totals = Sums(problem, choice);
    violation = Violation(problem, totals);
  }
  for (bool is_better = true; is_better;) {
    is_better = false;
    for (size_t block = 0; block < of_block.size(); ++block) {
      for (const size_t option : of_block[block]) {
        if (problem.options[option].score >= problem.options[choice[block]].score ||
            Violation(problem, after(block, option)) > 0)
          continue;
        choice[block] = option;
        totals = Sums(problem, choice);
        is_better = true;
      }
    }
  }
  if (!IsSolution(problem, choice)) return {};
  return TotalsOf(problem, std::move(choice));
}

std::vector<SearchSolution> SolveSearch(const SearchProblem& problem, const SolveOptions& options) {
  Check(problem);
  Encoded encoded = Encode(problem, [](size_t) { return true; });
  const SearchSolution greedy = SolveGreedily(problem);
  MipOptions mip{.gap = options.gap, .seconds = options.seconds, .seed = options.seed, .start = {}};
  if (!greedy.options.empty()) mip.start = encoded.Variables(greedy.options);
  std::vector<SearchSolution> solutions;
  while (solutions.size() < options.count) {
    const MipResult result = SolveBinary(encoded.program, mip);
    if (result.status == MipStatus::kInfeasible) break;
    if (result.status == MipStatus::kUnknown) {
      if (!solutions.empty()) break;
      throw RuntimeError("no solution was found within {} s, and none was ruled out",
                         options.seconds);
    }
    SearchSolution solution = TotalsOf(problem, encoded.Options(result.x));
    PLANISH_CHECK(IsSolution(problem, solution.options));
    solution.bound = result.bound;
    solution.is_optimal = result.status == MipStatus::kOptimal;
    solution.seconds = result.seconds;
    // What later solutions may have in common with this one, counted in blocks.
    LinearRow apart{.name = "diversity", .terms = {}};
    for (const size_t option : solution.options)
      apart.terms.emplace_back(encoded.variable_of[option],
                               static_cast<double>(problem.options[option].blocks.size()));
    const auto blocks = static_cast<double>(problem.block_count);
    apart.high = std::min(std::floor((1 - options.diversity) * blocks + 1e-9), blocks - 1);
    encoded.program.rows.push_back(std::move(apart));
    solutions.push_back(std::move(solution));
  }
  return solutions;
}

std::vector<NearestValue> ExplainInfeasible(const SearchProblem& problem,
                                            const SolveOptions& options) {
  std::vector<NearestValue> values;
  for (size_t i = 0; i < problem.limits.size(); ++i) {
    const SearchLimit& limit = problem.limits[i];
    if (!limit.is_limited()) continue;
    const double sign =
        std::isfinite(limit.high) ? 1.0 : -1.0;  // an upper limit is approached from above
    const auto nearest = [&](bool with_others) {
      Encoded encoded = Encode(problem, [&](size_t other) { return with_others && other != i; });
      for (size_t v = 0; v < encoded.option_of.size(); ++v)
        encoded.program.cost[v] = sign * limit.amounts[encoded.option_of[v]];
      const MipResult result = SolveBinary(
          encoded.program,
          {.gap = options.gap, .seconds = options.seconds, .seed = options.seed, .start = {}});
      return result.x.empty() ? std::numeric_limits<double>::quiet_NaN()
                              : limit.fixed + sign * result.cost;
    };
    NearestValue value{.limit = i, .alone = nearest(false)};
    value.with_others = nearest(true);
    value.is_reachable_with_others = std::isfinite(value.with_others);
    values.push_back(value);
  }
  return values;
}

std::string DescribeInfeasible(const SearchProblem& problem,
                               const std::vector<NearestValue>& values) {
  std::string text = "no choice of candidates meets all limits:";
  for (const NearestValue& value : values) {
    const SearchLimit& limit = problem.limits[value.limit];
    const bool is_upper = std::isfinite(limit.high);
    text += fmt::format(" {} {} {} was asked, {} is possible alone", limit.name,
                        is_upper ? "<=" : ">=", limit.Show(is_upper ? limit.high : limit.low),
                        limit.Show(value.alone));
    if (values.size() > 1)
      text += value.is_reachable_with_others
                  ? fmt::format(", {} with the other limits", limit.Show(value.with_others))
                  : std::string(", nothing with the other limits");
    text += ";";
  }
  text.pop_back();
  return text;
}

}  // namespace planish
