// SPDX-License-Identifier: Apache-2.0
// Sums over the micro-batches of a step, whichever rank computed them, in canonical order: the same bits for any ranks.
#pragma once

#include <vector>

#include "train/comm.h"
#include "train/micro_pass.h"

namespace planish {

// `own`: of this rank's micro-batches, in order; rank r has the r-th part of all. Every rank gets the sum of all.
MicroResult SumOverRanks(const std::vector<MicroResult>& own, Comm* comm);

// Every rank's numbers, one rank after the other.
std::vector<double> JoinRanks(const std::vector<double>& own, Comm* comm);

}  // namespace planish
