// SPDX-License-Identifier: Apache-2.0
// Binary programs: min c x over x in {0, 1}^n under rows low <= a x <= high. Solved by COIN-OR CBC, whose header only mip.cc
// includes; it runs on one thread with a fixed seed, so equal programs give equal answers.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace planish {

struct LinearRow {
  std::string name;                              // for messages
  std::vector<std::pair<size_t, double>> terms;  // variable, coefficient; each variable once
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
};

struct BinaryProgram {
  std::vector<double> cost;  // [n]
  std::vector<LinearRow> rows;

  size_t AddVariable(double c) {
    cost.push_back(c);
    return cost.size() - 1;
  }
};

struct MipOptions {
  double gap = 1e-4;        // relative: an answer this near to the proven bound is good enough
  double seconds = 60;      // then the best answer so far
  uint64_t seed = 1;        // of the solver's heuristics
  std::vector<bool> start;  // [n] or empty: an answer to begin with; used if it fits
};

enum class MipStatus {
  kOptimal,     // within the gap
  kTimeLimit,   // x is the best that was found
  kInfeasible,  // proven
  kUnknown,     // out of time without an answer
};

struct MipResult {
  MipStatus status = MipStatus::kUnknown;
  std::vector<bool> x;  // [n]; empty without an answer
  double cost = 0;      // of x, summed here in the order of variables
  double bound = 0;     // no answer costs less
  double seconds = 0;
};

// Error(kFailure) if the solver gives up for numerical reasons; every number of the program must be finite but for the
// bounds of rows (checked). An answer is verified outside the solver: see Satisfies.
MipResult SolveBinary(const BinaryProgram& program, const MipOptions& options = {});

double CostOf(const BinaryProgram& program, const std::vector<bool>& x);
// Every row holds within 1e-9 of the sum of its absolute terms, which is what rounding of that sum may be.
bool Satisfies(const BinaryProgram& program, const std::vector<bool>& x);

}  // namespace planish
