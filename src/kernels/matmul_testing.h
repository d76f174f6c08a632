// SPDX-License-Identifier: Apache-2.0
// What the tests of the matrix products share: random weights of every stored type and activations, in memory that ends at an
// unreadable page. Included by *_test.cc only.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "tensor/blocks.h"
#include "tensor/weight.h"

namespace planish {

class GuardedBytes {
 public:
  explicit GuardedBytes(size_t bytes) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t whole = (bytes + page - 1) / page * page;
    size_ = whole + page;
    void* memory = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    PLANISH_CHECK(memory != MAP_FAILED);
    base_ = static_cast<std::byte*>(memory);
    PLANISH_CHECK(mprotect(base_ + whole, page, PROT_NONE) == 0);
    data_ = base_ + whole - bytes;
  }
  ~GuardedBytes() { munmap(base_, size_); }
  GuardedBytes(const GuardedBytes&) = delete;
  GuardedBytes& operator=(const GuardedBytes&) = delete;
  std::byte* data() const { return data_; }

 private:
  std::byte* base_;
  std::byte* data_;
  size_t size_;
};

inline constexpr DType kTypes[] = {DType::kF32,    DType::kF16,    DType::kBF16, DType::kF64,
                                   DType::kF8E4M3, DType::kF8E5M2, DType::kQ8_0, DType::kQ4_0,
                                   DType::kQ4_1,   DType::kQ5_0,   DType::kQ5_1, DType::kQ2_K,
                                   DType::kQ3_K,   DType::kQ4_K,   DType::kQ5_K, DType::kQ6_K,
                                   DType::kIQ4_NL, DType::kIQ4_XS, DType::kMXFP4};

// Where a block keeps its F16 numbers.
inline std::vector<size_t> HalfOffsets(DType dtype) {
  switch (dtype) {
    case DType::kQ8_0:
    case DType::kQ4_0:
    case DType::kQ5_0:
    case DType::kIQ4_NL:
    case DType::kIQ4_XS:
      return {0};
    case DType::kQ4_1:
    case DType::kQ5_1:
    case DType::kQ4_K:
    case DType::kQ5_K:
      return {0, 2};
    case DType::kQ2_K:
      return {80, 82};
    case DType::kQ3_K:
      return {108};
    case DType::kQ6_K:
      return {208};
    default:
      return {};
  }
}

// A weight of random bits. With any_scale the scales are any finite F16 (and plain floats anything
// at all), else values are of ordinary size.
struct TestWeight {
  TestWeight(DType dtype, size_t out, size_t in, uint64_t seed, bool any_scale = false)
      : bytes(BytesOf(dtype, out * in)), weight("w", out, in, dtype, bytes.data(), nullptr) {
    Random random(seed, static_cast<uint64_t>(dtype));
    const size_t size = BytesOf(dtype, out * in);
    auto* data = reinterpret_cast<uint8_t*>(bytes.data());
    if (Traits(dtype).block_elems == 1 && !any_scale) {
      for (size_t i = 0; i < out * in; ++i) {
        const float value = static_cast<float>(random.Normal());
        const double wide = value;
        if (dtype == DType::kF64)
          std::memcpy(data + i * 8, &wide, 8);
        else
          QuantizeRow(dtype, &value, data + BytesOf(dtype, i), 1);
      }
      return;
    }
    for (size_t i = 0; i < size; ++i) data[i] = static_cast<uint8_t>(random.Bits());
    const size_t block_bytes = Traits(dtype).block_bytes;
    for (size_t block = 0; block < size; block += block_bytes) {
      for (const size_t offset : HalfOffsets(dtype)) {
        uint16_t half = static_cast<uint16_t>(random.Bits());
        if (!any_scale) half = F16FromFloat(static_cast<float>(random.Normal()) * 0.02f);
        if ((half & 0x7C00) == 0x7C00) half ^= 0x4000;  // not infinite, not NaN
        std::memcpy(data + block + offset, &half, 2);
      }
      if (dtype == DType::kMXFP4)
        data[block] = static_cast<uint8_t>(any_scale ? random.Below(255) : 120 + random.Below(8));
    }
  }
  GuardedBytes bytes;
  Weight weight;
};

struct Floats {
  explicit Floats(size_t n, uint64_t seed = 7) : bytes(n * sizeof(float)), size(n) {
    Random random(seed, 99);
    for (size_t i = 0; i < n; ++i) data()[i] = static_cast<float>(random.Normal());
  }
  float* data() const { return reinterpret_cast<float*>(bytes.data()); }
  GuardedBytes bytes;
  size_t size;
};

}  // namespace planish
