// SPDX-License-Identifier: Apache-2.0
// Which problems a data set holds: the shape of problem i by its mix.
#pragma once

#include "problems/problem.h"

namespace planish {

enum class Mix : uint8_t {
  kTest,  // the frozen test mix: skills equal; 40 % of one or two steps, 35 % three or four, 25 % five to eight; 50 % numbers
          // of up to two digits, 30 % three, 20 % four. Exact over every 2,400 problems
  kFull,  // training: skills equal at random, more weight on short problems than tests have, all lengths
  kEasy,  // training, the start of a curriculum: one to three steps, two digits mostly
};

ProblemShape ShapeOf(uint64_t seed, uint64_t index, Mix mix);

}  // namespace planish
