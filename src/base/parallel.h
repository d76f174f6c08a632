// SPDX-License-Identifier: Apache-2.0
// The one thread team (OpenMP). No other file has OpenMP pragmas. Work is cut at boundaries that do not depend on the
// number of threads, so results do not either. Only the thread that owns the model opens regions; no nesting.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

namespace planish {

// 0: OMP_NUM_THREADS when set, else the physical cores this process may run on (affinity and cgroup quota).
void SetThreadCount(int count);
int ThreadCount();
// Parallel regions opened by this process so far: work that ran on one thread opens none.
uint64_t ParallelRegionCount();
// Opens one region of the whole team in which every thread passes `count` barriers: for measuring what they cost.
void PassBarriers(size_t count);

// Call first in main. libgomp's waiting threads spin some 300,000 times before they sleep: on a machine with other work
// that makes two threads ten times slower than one (measured: 6 against 60 tokens/s). It reads GOMP_SPINCOUNT only when
// the program is loaded, so this sets it to some tens of microseconds of spinning and starts the program once more, unless the user set
// it or OMP_WAIT_POLICY.
void LimitSpinning(char** argv);

namespace internal {
void RunParallel(size_t n, void (*body)(void*, size_t, int), void* context);
}

// Calls body(i, thread) for i in [0, n); which thread takes which i is not fixed, so bodies write disjoint places.
template <typename Body>
void ParallelFor(size_t n, Body&& body) {
  if (n == 0) return;
  internal::RunParallel(
      n,
      [](void* context, size_t i, int thread) {
        (*static_cast<std::remove_reference_t<Body>*>(context))(i, thread);
      },
      const_cast<void*>(static_cast<const void*>(&body)));
}

}  // namespace planish
