// SPDX-License-Identifier: Apache-2.0
// Memory for tensors: 64-byte aligned, zeroed or not, in huge pages when large; and what the machine has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace planish {

// Uninitialised bytes, 64-byte aligned; buffers of 4 MiB and more ask for huge pages. Throws Error(kNoMemory) when the
// system refuses, so callers need no null check.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t bytes);
  ~AlignedBuffer();
  AlignedBuffer(AlignedBuffer&& other) noexcept;
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept;

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

uint64_t ResidentBytes();      // of this process
uint64_t PeakResidentBytes();  // of this process
uint64_t
AvailableBytes();  // what this process may still take: the smaller of MemAvailable and the cgroup's room

}  // namespace planish
