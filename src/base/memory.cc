// SPDX-License-Identifier: Apache-2.0
#include "base/memory.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <limits>
#include <utility>

#include "base/buffer_pool.h"
#include "base/error.h"

namespace planish {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t{2} << 20;

bool IsHuge(size_t bytes) { return bytes >= 2 * kHugePage; }
size_t AlignmentOf(size_t bytes) { return IsHuge(bytes) ? kHugePage : kAlignment; }
// The address space of a buffer of so many bytes; memory is taken only for pages that are used.
size_t Rounded(size_t bytes) {
  const size_t alignment = std::max(AlignmentOf(bytes), internal::PoolGranule(bytes));
  return (bytes + alignment - 1) / alignment * alignment;
}

// First number in a small kernel file, e.g. a cgroup limit; max when absent or "max".
uint64_t NumberIn(const char* path) {
  std::FILE* file = std::fopen(path, "r");
  if (file == nullptr) return std::numeric_limits<uint64_t>::max();
  unsigned long long value = 0;
  const int read = std::fscanf(file, "%llu", &value);
  std::fclose(file);
  return read == 1 ? value : std::numeric_limits<uint64_t>::max();
}

uint64_t InactiveFileBytes() {
  std::FILE* file = std::fopen("/sys/fs/cgroup/memory.stat", "r");
  if (file == nullptr) return 0;
  char line[256];
  unsigned long long bytes = 0;
  while (std::fgets(line, sizeof line, file) != nullptr) {
    if (std::sscanf(line, "inactive_file %llu", &bytes) == 1) break;
  }
  std::fclose(file);
  return bytes;
}

}  // namespace

AlignedBuffer::AlignedBuffer(size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  PLANISH_CHECK(bytes <= std::numeric_limits<size_t>::max() - kHugePage);
  data_ = internal::TakeMemory(Rounded(bytes), AlignmentOf(bytes));
  if (data_ == nullptr) {
    throw Error(ExitCode::kNoMemory,
                fmt::format("out of memory: could not get {:.2f} GiB",
                            static_cast<double>(bytes) / (1 << 30)),
                "a smaller model, a shorter --ctx, or a machine with more memory");
  }
  if (IsHuge(bytes)) madvise(data_, Rounded(bytes), MADV_HUGEPAGE);
}

AlignedBuffer::~AlignedBuffer() {
  if (data_ != nullptr) internal::ReturnMemory(data_, Rounded(size_));
}

AlignedBuffer::AlignedBuffer(AlignedBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

AlignedBuffer& AlignedBuffer::operator=(AlignedBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

uint64_t ResidentBytes() {
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr) return 0;
  unsigned long long total = 0, resident = 0;
  const int read = std::fscanf(file, "%llu %llu", &total, &resident);
  std::fclose(file);
  return read == 2 ? resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) : 0;
}

uint64_t PeakResidentBytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

uint64_t AvailableBytes() {
  uint64_t available = std::numeric_limits<uint64_t>::max();
  if (std::FILE* file = std::fopen("/proc/meminfo", "r")) {
    char line[256];
    unsigned long long kib = 0;
    while (std::fgets(line, sizeof line, file) != nullptr) {
      if (std::sscanf(line, "MemAvailable: %llu kB", &kib) == 1) available = kib * 1024;
    }
    std::fclose(file);
  }
  const uint64_t limit = NumberIn("/sys/fs/cgroup/memory.max");
  if (limit != std::numeric_limits<uint64_t>::max()) {
    // Clean page cache counts as used there, but goes when it is needed: a model just copied must not fill the budget.
    const uint64_t charged = NumberIn("/sys/fs/cgroup/memory.current"), cache = InactiveFileBytes();
    const uint64_t used = charged - std::min(charged, cache);
    available = std::min(available, limit > used ? limit - used : 0);
  }
  rlimit space{};
  if (getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY)
    available = std::min<uint64_t>(available, space.rlim_cur);
  return available;
}

}  // namespace planish
