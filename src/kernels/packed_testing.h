// SPDX-License-Identifier: Apache-2.0
// What the tests of packed weights share: the types that can be packed, and random weights of them. Included by *_test.cc and
// *_bench.cc only.
#pragma once

#include <cstring>
#include <vector>

#include "base/random.h"
#include "tensor/weight.h"

namespace planish {

inline constexpr DType kPackedTypes[] = {
    DType::kQ4_0, DType::kQ4_1, DType::kQ4_K, DType::kIQ4_NL, DType::kIQ4_XS, DType::kMXFP4,
    DType::kQ8_0, DType::kQ5_0, DType::kQ5_1, DType::kQ5_K,   DType::kQ6_K};

// Where a block keeps its F16 numbers.
inline std::vector<size_t> HalfOffsets(DType dtype) {
  switch (dtype) {
    case DType::kQ4_1:
    case DType::kQ5_1:
    case DType::kQ4_K:
    case DType::kQ5_K:
      return {0, 2};
    case DType::kQ6_K:
      return {208};
    case DType::kMXFP4:
      return {};
    default:
      return {0};
  }
}

// Random codes with scales of ordinary size.
inline Weight RandomPackable(DType dtype, size_t out, size_t in, uint64_t seed) {
  Weight w("random", out, in, dtype);
  Random random(seed, static_cast<uint64_t>(dtype));
  auto* data = reinterpret_cast<uint8_t*>(w.mutable_data());
  const size_t block_bytes = Traits(dtype).block_bytes;
  for (size_t i = 0; i < w.bytes(); ++i) data[i] = static_cast<uint8_t>(random.Bits());
  for (size_t block = 0; block < w.bytes(); block += block_bytes) {
    for (const size_t offset : HalfOffsets(dtype)) {
      const float sign = random.Bits() % 2 == 0 ? 1.0f : -1.0f;
      const uint16_t half =
          F16FromFloat(sign * (0.01f + 0.02f * static_cast<float>(random.Uniform())));
      std::memcpy(data + block + offset, &half, 2);
    }
    if (dtype == DType::kMXFP4) data[block] = static_cast<uint8_t>(120 + random.Below(8));
  }
  return w;
}

}  // namespace planish
