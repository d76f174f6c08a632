// SPDX-License-Identifier: Apache-2.0
// Where the runs of FFN blocks that are fused begin and end, once their number and the number of blocks in them are settled.
#pragma once

#include "compress/fusion_measure.h"

namespace planish {

// Moves one block at a time from one end of a run to an end of the same or another run, and keeps what lowers the joint
// KL(model || parallel form) over `rows`, until no such move does. Runs stay inside `allowed`, apart from each other, and between
// two and `most` blocks long. The KLs of runs fused alone do not add up, so they are no guide here.
std::vector<FfnRun> ShiftBorders(const BlockRunner& runner, std::vector<FfnRun> runs,
                                 const std::vector<FfnRun>& allowed, size_t most, TokenRows rows,
                                 const RowsDone& done = nullptr);

}  // namespace planish
