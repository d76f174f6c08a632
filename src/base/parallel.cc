// SPDX-License-Identifier: Apache-2.0
#include "base/parallel.h"

#include <omp.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>

namespace planish {
namespace {

std::atomic<int> g_thread_count{0};  // relaxed: only a number; servers ask for it beside the engine
std::atomic<uint64_t> g_region_count{0};

// The first CPU of the core that `cpu` belongs to, so that siblings count once; itself where the system does not say.
int CoreOf(int cpu) {
  const std::string path =
      "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list";
  std::FILE* file = std::fopen(path.c_str(), "r");
  if (file == nullptr) return cpu;
  int first = cpu;
  if (std::fscanf(file, "%d", &first) != 1) first = cpu;
  std::fclose(file);
  return first;
}

// CPUs that the cgroup's quota is worth, rounded up; many if there is none.
int QuotaCpus() {
  std::FILE* file = std::fopen("/sys/fs/cgroup/cpu.max", "r");
  if (file == nullptr) return 1024;
  long long quota = 0, period = 0;
  const int read = std::fscanf(file, "%lld %lld", &quota, &period);  // "max 100000" reads nothing
  std::fclose(file);
  return read == 2 && quota > 0 && period > 0
             ? static_cast<int>(std::min<long long>((quota + period - 1) / period, 1024))
             : 1024;
}

// Physical cores in the affinity mask: a second thread on a core adds little to these kernels.
int AllowedCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  std::set<int> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cores.insert(CoreOf(cpu));
  }
  return std::max(1, std::min(static_cast<int>(cores.size()), QuotaCpus()));
}

}  // namespace

void SetThreadCount(int count) {
  if (count <= 0)
    count = std::getenv("OMP_NUM_THREADS") != nullptr ? omp_get_max_threads() : AllowedCores();
  count = std::clamp(count, 1, 1024);
  g_thread_count.store(count, std::memory_order_relaxed);
  omp_set_max_active_levels(1);
  omp_set_num_threads(count);  // for libraries on the same runtime
}

int ThreadCount() {
  if (g_thread_count.load(std::memory_order_relaxed) == 0) SetThreadCount(0);
  return g_thread_count.load(std::memory_order_relaxed);
}

uint64_t ParallelRegionCount() { return g_region_count.load(std::memory_order_relaxed); }

void PassBarriers(size_t count) {
#pragma omp parallel num_threads(ThreadCount())
  {
    for (size_t i = 0; i < count; ++i) {
#pragma omp barrier
    }
  }
}

void LimitSpinning(char** argv) {
  if (std::getenv("GOMP_SPINCOUNT") != nullptr || std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  setenv("GOMP_SPINCOUNT", "1000", 1);
  execv("/proc/self/exe", argv);  // returns only if it failed: then the default stays
}

namespace internal {

void RunParallel(size_t n, void (*body)(void*, size_t, int), void* context) {
  const int threads = static_cast<int>(std::min<size_t>(n, static_cast<size_t>(ThreadCount())));
  if (threads <= 1 || omp_in_parallel()) {
    for (size_t i = 0; i < n; ++i) body(context, i, 0);
    return;
  }
  g_region_count.fetch_add(1, std::memory_order_relaxed);
  // Items come from a counter of our own: an OpenMP loop costs a lock and a second barrier in every region.
  alignas(64) std::atomic<size_t> next{0};
#pragma omp parallel num_threads(threads)
  {
    const int thread = omp_get_thread_num();
    for (size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < n;)
      body(context, i, thread);
  }
}

}  // namespace internal
}  // namespace planish
