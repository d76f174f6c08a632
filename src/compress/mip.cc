// SPDX-License-Identifier: Apache-2.0
#include "compress/mip.h"

#include <coin/Cbc_C_Interface.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>

#include "base/error.h"

#if defined(__SANITIZE_ADDRESS__)
// CoinUtils' presolve never frees some of its work arrays: no leak of ours. Read by LeakSanitizer under this name.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:libCoinUtils\n"; }
#endif

namespace planish {
namespace {

// The largest coefficient of each row and of the cost, as the solver sees them: its tolerances are absolute, 1e-7 or so.
constexpr double kScaledLargest = 1e3;

struct RowSum {
  double value = 0, magnitude = 0;
};

RowSum SumOf(const LinearRow& row, const std::vector<bool>& x) {
  RowSum sum;
  for (const auto& [variable, coefficient] : row.terms) {
    if (!x[variable]) continue;
    sum.value += coefficient;
    sum.magnitude += std::abs(coefficient);
  }
  return sum;
}

double LargestOf(const LinearRow& row) {
  double largest = 0;
  for (const auto& [variable, coefficient] : row.terms)
    largest = std::max(largest, std::abs(coefficient));
  return largest;
}

// By how much a row is broken beyond rounding; 0: it holds.
double Excess(const LinearRow& row, const std::vector<bool>& x) {
  const RowSum sum = SumOf(row, x);
  double slack = sum.magnitude;
  if (std::isfinite(row.low)) slack = std::max(slack, std::abs(row.low));
  if (std::isfinite(row.high)) slack = std::max(slack, std::abs(row.high));
  const double excess = std::max(row.low - sum.value, sum.value - row.high);
  return excess > 1e-9 * slack ? excess : 0;
}

void Check(const BinaryProgram& program) {
  for (const double c : program.cost) PLANISH_CHECK(std::isfinite(c), "cost {}", c);
  for (const LinearRow& row : program.rows) {
    PLANISH_CHECK(!std::isnan(row.low) && !std::isnan(row.high), "{}", row.name);
    for (const auto& [variable, coefficient] : row.terms)
      PLANISH_CHECK(variable < program.cost.size() && std::isfinite(coefficient), "{}: {} x{}",
                    row.name, coefficient, variable);
  }
}

struct DeleteModel {
  void operator()(Cbc_Model* model) const { Cbc_deleteModel(model); }
};
using ModelPointer = std::unique_ptr<Cbc_Model, DeleteModel>;

// The program in CBC's columns, scaled. `margins` [rows] tightens both bounds of each row.
ModelPointer Load(const BinaryProgram& program, const std::vector<double>& margins,
                  double cost_scale) {
  const size_t n = program.cost.size();
  std::vector<std::vector<std::pair<int, double>>> columns(n);
  std::vector<double> row_low, row_high;
  for (size_t r = 0; r < program.rows.size(); ++r) {
    const LinearRow& row = program.rows[r];
    const double largest = LargestOf(row), scale = largest > 0 ? kScaledLargest / largest : 1;
    for (const auto& [variable, coefficient] : row.terms)
      if (coefficient != 0)
        columns[variable].emplace_back(static_cast<int>(r), coefficient * scale);
    row_low.push_back((row.low + margins[r]) * scale);
    row_high.push_back((row.high - margins[r]) * scale);
  }
  std::vector<CoinBigIndex> starts{0};
  std::vector<int> rows;
  std::vector<double> values, cost(n), low(n, 0.0), high(n, 1.0);
  for (size_t i = 0; i < n; ++i) {
    for (const auto& [row, value] : columns[i]) {
      rows.push_back(row);
      values.push_back(value);
    }
    starts.push_back(static_cast<CoinBigIndex>(rows.size()));
    cost[i] = program.cost[i] * cost_scale;
  }
  ModelPointer model(Cbc_newModel());
  Cbc_loadProblem(model.get(), static_cast<int>(n), static_cast<int>(row_low.size()), starts.data(),
                  rows.data(), values.data(), low.data(), high.data(), cost.data(), row_low.data(),
                  row_high.data());
  for (size_t i = 0; i < n; ++i) Cbc_setInteger(model.get(), static_cast<int>(i));
  Cbc_setObjSense(model.get(), 1.0);
  return model;
}

struct Attempt {
  MipStatus status = MipStatus::kUnknown;
  std::vector<bool> x;
  double bound = 0;
};

Attempt SolveOnce(const BinaryProgram& program, const MipOptions& options,
                  const std::vector<double>& margins, double seconds) {
  double largest = 0;
  for (const double c : program.cost) largest = std::max(largest, std::abs(c));
  const double cost_scale = largest > 0 ? kScaledLargest / largest : 1;
  const ModelPointer model = Load(program, margins, cost_scale);
  const std::string seed = std::to_string(1 + options.seed % 100'000'000);
  Cbc_setParameter(model.get(), "randomCbcSeed", seed.c_str());
  Cbc_setParameter(model.get(), "randomSeed", seed.c_str());
  Cbc_setParameter(model.get(), "threads", "0");
  // CBC 2.10's preprocessing loses the best answer of 1 in 200 random programs (mip_test has them); without it none.
  Cbc_setParameter(model.get(), "preprocess", "off");
  Cbc_setAllowableFractionGap(model.get(), options.gap);
  Cbc_setMaximumSeconds(model.get(), seconds);
  Cbc_setLogLevel(model.get(), 0);
  Cbc_solve(model.get());

  Attempt attempt;
  const double* x = Cbc_bestSolution(model.get());
  if (Cbc_isProvenInfeasible(model.get()) != 0 ||
      Cbc_isInitialSolveProvenPrimalInfeasible(model.get()) != 0) {
    attempt.status = MipStatus::kInfeasible;
    return attempt;
  }
  if (Cbc_isAbandoned(model.get()) != 0)
    throw RuntimeError("the solver gave up on {} choices under {} limits for numerical reasons",
                       program.cost.size(), program.rows.size());
  if (x == nullptr) return attempt;
  for (size_t i = 0; i < program.cost.size(); ++i) attempt.x.push_back(x[i] > 0.5);
  attempt.bound = Cbc_getBestPossibleObjValue(model.get()) / cost_scale;
  attempt.status =
      Cbc_isProvenOptimal(model.get()) != 0 ? MipStatus::kOptimal : MipStatus::kTimeLimit;
  return attempt;
}

}  // namespace

double CostOf(const BinaryProgram& program, const std::vector<bool>& x) {
  double cost = 0;
  for (size_t i = 0; i < program.cost.size(); ++i)
    if (x[i]) cost += program.cost[i];
  return cost;
}

bool Satisfies(const BinaryProgram& program, const std::vector<bool>& x) {
  return x.size() == program.cost.size() &&
         std::all_of(program.rows.begin(), program.rows.end(),
                     [&](const LinearRow& row) { return Excess(row, x) == 0; });
}

MipResult SolveBinary(const BinaryProgram& program, const MipOptions& options) {
  Check(program);
  const auto begin = std::chrono::steady_clock::now();
  const auto passed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  MipResult result;
  const bool has_start = !options.start.empty() && Satisfies(program, options.start);
  const auto use = [&](const std::vector<bool>& x) {
    result.x = x;
    result.cost = CostOf(program, x);
  };
  if (program.cost.empty()) {
    result.status = Satisfies(program, {}) ? MipStatus::kOptimal : MipStatus::kInfeasible;
    return result;
  }
  // What the solver takes for feasible may miss a limit by its tolerance: the limit is then drawn in by twice that.
  std::vector<double> margins(program.rows.size(), 0.0);
  for (int round = 0; round < 5; ++round) {
    const Attempt attempt =
        SolveOnce(program, options, margins, std::max(0.1, options.seconds - passed()));
    if (round == 0) result.bound = attempt.bound;
    // Limits that were drawn in prove nothing about those that were asked for.
    result.status = round > 0 && attempt.status == MipStatus::kInfeasible ? MipStatus::kUnknown
                                                                          : attempt.status;
    if (attempt.x.empty()) break;
    if (Satisfies(program, attempt.x)) {
      use(attempt.x);
      break;
    }
    result.status = MipStatus::kUnknown;
    for (size_t r = 0; r < margins.size(); ++r)
      margins[r] += 2 * Excess(program.rows[r], attempt.x);
  }
  if (has_start && (result.x.empty() || CostOf(program, options.start) < result.cost)) {
    use(options.start);
    if (result.status != MipStatus::kOptimal) result.status = MipStatus::kTimeLimit;
  }
  result.seconds = passed();
  return result;
}

}  // namespace planish
