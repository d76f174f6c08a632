// SPDX-License-Identifier: Apache-2.0
// Entering a parallel region costs microseconds (milliseconds when other processes hold the cores), so small kernel
// calls stay on the calling thread. Which thread runs a task never changes its result.
#pragma once

#include <cstddef>

#include "base/parallel.h"

namespace planish {

inline constexpr size_t kRegionOperations = size_t{1}
                                            << 17;  // multiply-adds: some 5 us on one AVX-512 core

// body(i, thread) for i in [0, n), on the team if the whole is worth it.
template <class Body>
void ParallelForWork(size_t n, size_t operations, const Body& body) {
  if (operations >= kRegionOperations) {
    ParallelFor(n, body);
  } else {
    for (size_t i = 0; i < n; ++i) body(i, 0);
  }
}

}  // namespace planish
