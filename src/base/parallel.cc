// SPDX-License-Identifier: Apache-2.0
#include "base/parallel.h"

#include <omp.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace planish {
namespace {

int g_thread_count = 0;

int AllowedCpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

}  // namespace

void SetThreadCount(int count) {
  if (count <= 0) count = std::getenv("OMP_NUM_THREADS") != nullptr ? omp_get_max_threads() : AllowedCpus();
  g_thread_count = std::clamp(count, 1, 1024);
  omp_set_max_active_levels(1);
}

int ThreadCount() {
  if (g_thread_count == 0) SetThreadCount(0);
  return g_thread_count;
}

void LimitSpinning(char** argv) {
  if (std::getenv("GOMP_SPINCOUNT") != nullptr || std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  setenv("GOMP_SPINCOUNT", "300", 1);
  execv("/proc/self/exe", argv);  // returns only if it failed: then the default stays
}

namespace internal {

void RunParallel(size_t n, void (*body)(void*, size_t, int), void* context) {
  const int threads = static_cast<int>(std::min<size_t>(n, static_cast<size_t>(ThreadCount())));
  if (threads <= 1 || omp_in_parallel()) {
    for (size_t i = 0; i < n; ++i) body(context, i, 0);
    return;
  }
#pragma omp parallel num_threads(threads)
  {
    const int thread = omp_get_thread_num();
#pragma omp for schedule(dynamic)
    for (size_t i = 0; i < n; ++i) body(context, i, thread);
  }
}

}  // namespace internal
}  // namespace planish
