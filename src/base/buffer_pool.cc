// SPDX-License-Identifier: Apache-2.0
#include "base/buffer_pool.h"

#include <sanitizer/asan_interface.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

namespace planish {
namespace {

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
      std::free(kept->data);
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

std::byte* TakeMemory(size_t bytes, size_t alignment) noexcept {
  if (bytes < BufferPool::kSmallest)
    return static_cast<std::byte*>(std::aligned_alloc(alignment, bytes));
  Shared& shared = State();
  const std::lock_guard lock(shared.mutex);
  std::byte* data = shared.Find(bytes);
  const size_t used = shared.used_bytes + bytes;
  if (data == nullptr) {
    shared.Shrink(shared.most_used_bytes > used ? shared.most_used_bytes - used : 0);
    data = static_cast<std::byte*>(std::aligned_alloc(alignment, bytes));
    if (data == nullptr) {
      shared.Shrink(0);
      data = static_cast<std::byte*>(std::aligned_alloc(alignment, bytes));
    }
    if (data == nullptr) return nullptr;
  }
  shared.used_bytes = used;
  shared.most_used_bytes = std::max(shared.most_used_bytes, used);
  return data;
}

void ReturnMemory(std::byte* data, size_t bytes) noexcept {
  if (bytes < BufferPool::kSmallest) return std::free(data);
  Shared& shared = State();
  const std::lock_guard lock(shared.mutex);
  shared.used_bytes -= bytes;
  if (!shared.Keep(data, bytes)) std::free(data);
}

}  // namespace internal
}  // namespace planish
