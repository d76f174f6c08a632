// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <limits>
#include <vector>

namespace planish {

// How the tokens of a state were computed. Where the arithmetic depends on it, equal ids give equal bits only together with
// an equal origin; where it does not, the engine leaves both fields as they are here.
struct StateOrigin {
  std::vector<size_t> cuts;  // ends of prompt slices that are not on the engine's grid, ascending
  size_t exact_length = std::numeric_limits<size_t>::max();  // later tokens were decode steps
};

}  // namespace planish
