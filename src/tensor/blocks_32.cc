// SPDX-License-Identifier: Apache-2.0
// Dequantisation of the formats with 32 values a block. Byte layouts stand above each function.
#include "tensor/block_formats.h"

namespace planish::block_formats {

// d 2 | int8 32: x = d q
void DequantizeQ8_0(const uint8_t* in, float* out) {
  const float d = LoadF16(in);
  for (int j = 0; j < 32; ++j) out[j] = d * static_cast<float>(static_cast<int8_t>(in[2 + j]));
}

// d 2 | nibbles 16: x = d (q - 8)
void DequantizeQ4_0(const uint8_t* in, float* out) {
  const float d = LoadF16(in);
  const uint8_t* q = in + 2;
  for (int j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>((q[j] & 15) - 8);
    out[j + 16] = d * static_cast<float>((q[j] >> 4) - 8);
  }
}

// d 2 | m 2 | nibbles 16: x = d q + m
void DequantizeQ4_1(const uint8_t* in, float* out) {
  const float d = LoadF16(in);
  const float m = LoadF16(in + 2);
  const uint8_t* q = in + 4;
  for (int j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>(q[j] & 15) + m;
    out[j + 16] = d * static_cast<float>(q[j] >> 4) + m;
  }
}

// d 2 | fifth bits 4 (bit j of value j) | nibbles 16: x = d (q - 16)
void DequantizeQ5_0(const uint8_t* in, float* out) {
  const float d = LoadF16(in);
  uint32_t high;
  std::memcpy(&high, in + 2, sizeof(high));
  const uint8_t* q = in + 6;
  for (int j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>(static_cast<int>((q[j] & 15u) | ((high >> j) & 1u) << 4) - 16);
    out[j + 16] = d * static_cast<float>(
                          static_cast<int>((q[j] >> 4u) | ((high >> (j + 16)) & 1u) << 4) - 16);
  }
}

// d 2 | m 2 | fifth bits 4 | nibbles 16: x = d q + m
void DequantizeQ5_1(const uint8_t* in, float* out) {
  const float d = LoadF16(in);
  const float m = LoadF16(in + 2);
  uint32_t high;
  std::memcpy(&high, in + 4, sizeof(high));
  const uint8_t* q = in + 8;
  for (int j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>((q[j] & 15u) | ((high >> j) & 1u) << 4) + m;
    out[j + 16] = d * static_cast<float>((q[j] >> 4u) | ((high >> (j + 16)) & 1u) << 4) + m;
  }
}

// d 2 | nibbles 16: x = d kIq4[q]
void DequantizeIQ4_NL(const uint8_t* in, float* out) {
  const float d = LoadF16(in);
  const uint8_t* q = in + 2;
  for (int j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>(kIq4[q[j] & 15]);
    out[j + 16] = d * static_cast<float>(kIq4[q[j] >> 4]);
  }
}

// E8M0 scale 1 | nibbles 16, each an E2M1 value: x = HalfOfE8M0(e) kMxfp4[q]
void DequantizeMXFP4(const uint8_t* in, float* out) {
  const float d = HalfOfE8M0(in[0]);
  const uint8_t* q = in + 1;
  for (int j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>(kMxfp4[q[j] & 15]);
    out[j + 16] = d * static_cast<float>(kMxfp4[q[j] >> 4]);
  }
}

}  // namespace planish::block_formats
