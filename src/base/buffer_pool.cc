// SPDX-License-Identifier: Apache-2.0
#include "base/buffer_pool.h"

#include <sanitizer/asan_interface.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

namespace planish {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kIsWatched = true;  // by the sanitizer: what malloc gives, to the byte
#else
constexpr bool kIsWatched = false;
#endif

// Large memory comes from the system itself: malloc, once it has seen large blocks freed, cuts their successors out of its
// heap, whose holes took a tenth of a training run's memory.
bool IsMapped(size_t bytes) { return !kIsWatched && bytes >= BufferPool::kMapped; }

std::byte* Allocate(size_t bytes, size_t alignment) noexcept {
  if (!IsMapped(bytes)) return static_cast<std::byte*>(std::aligned_alloc(alignment, bytes));
  void* map =
      mmap(nullptr, bytes + alignment, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED) return nullptr;
  const auto begin = reinterpret_cast<uintptr_t>(map);
  const uintptr_t data = (begin + alignment - 1) / alignment * alignment;
  if (data > begin) munmap(map, data - begin);
  munmap(reinterpret_cast<void*>(data + bytes), begin + alignment - data);
  return reinterpret_cast<std::byte*>(data);
}

void Free(std::byte* data, size_t bytes) noexcept {
  if (IsMapped(bytes))
    munmap(data, bytes);
  else
    std::free(data);
}

// What the pools that live have in common.
struct Shared {
  struct Memory {
    std::byte* data;
    size_t bytes;
  };
  std::mutex mutex;
  int pools = 0;
  std::vector<Memory> waiting;  // in the order of their release
  size_t waiting_bytes = 0;
  size_t used_bytes = 0, most_used_bytes = 0;

  // The one released last, whose lines may still be in a cache.
  std::byte* Find(size_t bytes) noexcept {
    const auto found = std::find_if(waiting.rbegin(), waiting.rend(),
                                    [&](const Memory& memory) { return memory.bytes == bytes; });
    if (found == waiting.rend()) return nullptr;
    std::byte* data = found->data;
    waiting.erase(std::next(found).base());
    waiting_bytes -= bytes;
    ASAN_UNPOISON_MEMORY_REGION(data, bytes);
    return data;
  }
  bool Keep(std::byte* data, size_t bytes) noexcept {
    if (pools == 0) return false;
    try {
      waiting.push_back({data, bytes});
    } catch (const std::bad_alloc&) {
      return false;
    }
    waiting_bytes += bytes;
    ASAN_POISON_MEMORY_REGION(data, bytes);
    return true;
  }
  // Longest waiting first, until at most so many bytes wait.
  void Shrink(size_t bytes) noexcept {
    auto kept = waiting.begin();
    for (; kept != waiting.end() && waiting_bytes > bytes; ++kept) {
      ASAN_UNPOISON_MEMORY_REGION(kept->data, kept->bytes);
      Free(kept->data, kept->bytes);
      waiting_bytes -= kept->bytes;
    }
    waiting.erase(waiting.begin(), kept);
  }
};

Shared& State() {
  static auto* shared = new Shared;  // outlives the buffers of static objects
  return *shared;
}

}  // namespace

BufferPool::BufferPool() {
  const std::lock_guard lock(State().mutex);
  ++State().pools;
}

BufferPool::~BufferPool() {
  Shared& shared = State();
  const std::lock_guard lock(shared.mutex);
  if (--shared.pools == 0) shared.Shrink(0);
}

size_t BufferPool::WaitingBytes() {
  const std::lock_guard lock(State().mutex);
  return State().waiting_bytes;
}

namespace internal {

size_t PoolGranule(size_t bytes) noexcept {
  constexpr size_t kLargest = size_t{256} << 20;
  if (kIsWatched || bytes < BufferPool::kSmallest || bytes >= kLargest) return 1;
  return std::bit_floor(bytes) / 8;
}

std::byte* TakeMemory(size_t bytes, size_t alignment) noexcept {
  if (bytes < BufferPool::kSmallest) return Allocate(bytes, alignment);
  Shared& shared = State();
  const std::lock_guard lock(shared.mutex);
  std::byte* data = shared.Find(bytes);
  const size_t used = shared.used_bytes + bytes;
  if (data == nullptr) {
    shared.Shrink(shared.most_used_bytes > used ? shared.most_used_bytes - used : 0);
    data = Allocate(bytes, alignment);
    if (data == nullptr) {
      shared.Shrink(0);
      data = Allocate(bytes, alignment);
    }
    if (data == nullptr) return nullptr;
  }
  shared.used_bytes = used;
  shared.most_used_bytes = std::max(shared.most_used_bytes, used);
  return data;
}

void ReturnMemory(std::byte* data, size_t bytes) noexcept {
  if (bytes < BufferPool::kSmallest) return Free(data, bytes);
  Shared& shared = State();
  const std::lock_guard lock(shared.mutex);
  shared.used_bytes -= bytes;
  if (!shared.Keep(data, bytes)) Free(data, bytes);
}

}  // namespace internal
}  // namespace planish
