// SPDX-License-Identifier: Apache-2.0
// One block of each ggml format, to and from floats (used by blocks.cc only), and the parts of blocks that packing
// (kernels/packed_weight) takes as they are. `in` and `out` may be unaligned bytes. Common to all: `d` is an F16 scale; codes of 4 bits lie two to a byte, in the
// 32-value formats value j in the low half and value j + 16 in the high half of byte j.
#pragma once

#include <cstdint>
#include <cstring>

#include "tensor/dtype.h"

namespace planish::block_formats {

inline float LoadF16(const uint8_t* in) {
  uint16_t bits;
  std::memcpy(&bits, in, sizeof(bits));
  return FloatFromF16(bits);
}
inline void StoreF16(float value, uint8_t* out) {
  const uint16_t bits = F16FromFloat(value);
  std::memcpy(out, &bits, sizeof(bits));
}

// E8M0, the scale byte of MXFP4: half of 2^(e - 127), because kMxfp4 holds doubled values.
inline float HalfOfE8M0(uint8_t e) {
  return std::bit_cast<float>(e < 2 ? 0x00200000u << e : static_cast<uint32_t>(e - 1) << 23);
}

inline constexpr int8_t kIq4[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                    1,    13,   25,  38,  53,  69,  89,  113};
inline constexpr int8_t kMxfp4[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// Q4_K and Q5_K pack eight 6-bit scales and eight 6-bit minima into 12 bytes: the first four of
// each whole in bytes 0-3 and 4-7; of the last four the low nibbles in bytes 8-11, the upper two
// bits in the top of bytes 0-7.
struct ScaleAndMin {
  int scale;
  int min;
};
inline ScaleAndMin UnpackScaleAndMin(const uint8_t* packed, int j) {
  if (j < 4) return {packed[j] & 63, packed[j + 4] & 63};
  return {(packed[j + 4] & 15) | ((packed[j - 4] >> 6) << 4),
          (packed[j + 4] >> 4) | ((packed[j] >> 6) << 4)};
}

// blocks_32.cc: 32 values a block
void DequantizeQ8_0(const uint8_t* in, float* out);
void DequantizeQ4_0(const uint8_t* in, float* out);
void DequantizeQ4_1(const uint8_t* in, float* out);
void DequantizeQ5_0(const uint8_t* in, float* out);
void DequantizeQ5_1(const uint8_t* in, float* out);
void DequantizeIQ4_NL(const uint8_t* in, float* out);
void DequantizeMXFP4(const uint8_t* in, float* out);

// blocks_k.cc: 256 values a block
void DequantizeQ2_K(const uint8_t* in, float* out);
void DequantizeQ3_K(const uint8_t* in, float* out);
void DequantizeQ4_K(const uint8_t* in, float* out);
void DequantizeQ5_K(const uint8_t* in, float* out);
void DequantizeQ6_K(const uint8_t* in, float* out);
void DequantizeIQ4_XS(const uint8_t* in, float* out);

// quantize_32.cc
void QuantizeQ8_0(const float* in, uint8_t* out);
void QuantizeQ4_0(const float* in, uint8_t* out);
void QuantizeQ4_1(const float* in, uint8_t* out);
void QuantizeQ5_0(const float* in, uint8_t* out);
void QuantizeQ5_1(const float* in, uint8_t* out);
void QuantizeMXFP4(const float* in, uint8_t* out);

}  // namespace planish::block_formats
