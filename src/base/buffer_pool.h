// SPDX-License-Identifier: Apache-2.0
// Buffers used again and again. A training step takes and releases the same sizes each time; given back to the system, their
// pages would be cleared anew at every step, which was a third of a short step's time.
#pragma once

#include <cstddef>

namespace planish {

// While one lives, an AlignedBuffer of kSmallest bytes or more that is released waits for the next one of its (rounded) size.
// What waits and what is in use together never exceed the most that was in use at once, so a pool does not raise the peak of a
// process: where a new size would, the longest waiting go back to the system first. All go back with the last pool. Any thread
// may take and release.
class BufferPool {
 public:
  static constexpr size_t kSmallest = size_t{128} << 10;  // where malloc begins to map pages
  static constexpr size_t kMapped = size_t{1} << 20;      // taken from the system itself
  BufferPool();
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;
  static size_t WaitingBytes();
};

namespace internal {
// Sizes are multiples of this power of two: eight in an octave, so that passes of almost as many tokens find each other's
// buffers. 1 where nothing is gained: below kSmallest, and for what is too large to be an activation.
size_t PoolGranule(size_t bytes) noexcept;
// Memory of `bytes`, a multiple of `alignment`, which is a function of `bytes` alone. Null if the system refuses.
std::byte* TakeMemory(size_t bytes, size_t alignment) noexcept;
void ReturnMemory(std::byte* data, size_t bytes) noexcept;
}  // namespace internal

}  // namespace planish
