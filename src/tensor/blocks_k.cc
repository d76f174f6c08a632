// SPDX-License-Identifier: Apache-2.0
// Dequantisation of the formats with 256 values a block (super-blocks): a block-wide F16 scale d,
// and small integer scales of groups of 16 or 32 values. Where there is a minimum, x = (d scale) q
// - (dmin minimum).
#include "tensor/block_formats.h"

namespace planish::block_formats {
namespace {

// Q3_K packs sixteen 6-bit scales into 12 bytes: low nibbles of 0-7 and 8-15 in bytes 0-7, upper
// bits in bytes 8-11.
int UnpackScaleQ3(const uint8_t* packed, int j) {
  const int low = j < 8 ? packed[j] & 15 : packed[j - 8] >> 4;
  const int high = (packed[8 + j % 4] >> (2 * (j / 4))) & 3;
  return (low | high << 4) - 32;
}

}  // namespace

// scale | min nibbles 16 (of 16 values each) | 2-bit codes 64 | d 2 | dmin 2.
// Each half of 128 values takes 32 code bytes; its values 32 k + l are bits 2k, 2k + 1 of byte l.
void DequantizeQ2_K(const uint8_t* in, float* out) {
  const uint8_t* scales = in;
  const uint8_t* codes = in + 16;
  const float d = LoadF16(in + 80);
  const float dmin = LoadF16(in + 82);
  for (int i = 0; i < 256; ++i) {
    const uint8_t packed = scales[i / 16];
    const int q = (codes[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2)) & 3;
    out[i] = d * static_cast<float>(packed & 15) * static_cast<float>(q) -
             dmin * static_cast<float>(packed >> 4);
  }
}

// third bits 32 (bit i / 32 of byte i % 32; 0 means minus 4) | 2-bit codes 64 as in Q2_K | scales
// 12 | d 2.
void DequantizeQ3_K(const uint8_t* in, float* out) {
  const uint8_t* high = in;
  const uint8_t* codes = in + 32;
  const uint8_t* scales = in + 96;
  const float d = LoadF16(in + 108);
  for (int i = 0; i < 256; ++i) {
    const int low = (codes[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2)) & 3;
    const int q = low - (((high[i % 32] >> (i / 32)) & 1) != 0 ? 0 : 4);
    out[i] = d * static_cast<float>(UnpackScaleQ3(scales, i / 16)) * static_cast<float>(q);
  }
}

// d 2 | dmin 2 | scales and minima 12 | nibbles 128: of each 64 values, 0-31 in the low and 32-63
// in the high halves.
void DequantizeQ4_K(const uint8_t* in, float* out) {
  const float d = LoadF16(in);
  const float dmin = LoadF16(in + 2);
  const uint8_t* codes = in + 16;
  for (int group = 0; group < 8; ++group) {
    const auto [scale, min] = UnpackScaleAndMin(in + 4, group);
    const float step = d * static_cast<float>(scale);
    const float offset = dmin * static_cast<float>(min);
    const uint8_t* bytes = codes + group / 2 * 32;
    for (int l = 0; l < 32; ++l) {
      const int q = group % 2 == 0 ? bytes[l] & 15 : bytes[l] >> 4;
      out[group * 32 + l] = step * static_cast<float>(q) - offset;
    }
  }
}

// As Q4_K with 32 bytes of fifth bits (bit `group` of byte l) before the nibbles.
void DequantizeQ5_K(const uint8_t* in, float* out) {
  const float d = LoadF16(in);
  const float dmin = LoadF16(in + 2);
  const uint8_t* high = in + 16;
  const uint8_t* codes = in + 48;
  for (int group = 0; group < 8; ++group) {
    const auto [scale, min] = UnpackScaleAndMin(in + 4, group);
    const float step = d * static_cast<float>(scale);
    const float offset = dmin * static_cast<float>(min);
    const uint8_t* bytes = codes + group / 2 * 32;
    for (int l = 0; l < 32; ++l) {
      const int low = group % 2 == 0 ? bytes[l] & 15 : bytes[l] >> 4;
      const int q = low | ((high[l] >> group) & 1) << 4;
      out[group * 32 + l] = step * static_cast<float>(q) - offset;
    }
  }
}

// low nibbles 128 | upper 2 bits 64 | int8 scales 16 | d 2: x = d scale (q - 32).
// Each half of 128 values: value 32 k + l has its nibble in byte 32 (k % 2) + l (high half for k >=
// 2), its upper bits at 2k of byte l.
void DequantizeQ6_K(const uint8_t* in, float* out) {
  const uint8_t* low = in;
  const uint8_t* high = in + 128;
  const uint8_t* scales = in + 192;
  const float d = LoadF16(in + 208);
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128;
    const int k = i % 128 / 32;
    const int l = i % 32;
    const uint8_t byte = low[half * 64 + (k % 2) * 32 + l];
    const int nibble = k < 2 ? byte & 15 : byte >> 4;
    const int q = (nibble | ((high[half * 32 + l] >> (2 * k)) & 3) << 4) - 32;
    out[i] = d * static_cast<float>(static_cast<int8_t>(scales[i / 16])) * static_cast<float>(q);
  }
}

// d 2 | upper 2 scale bits 2 | lower 4 scale bits 4 | nibbles 128 (16 bytes for each 32 values): x
// = d (scale - 32) kIq4[q].
void DequantizeIQ4_XS(const uint8_t* in, float* out) {
  const float d = LoadF16(in);
  const unsigned scales_high = in[2] | static_cast<unsigned>(in[3]) << 8;
  for (int group = 0; group < 8; ++group) {
    const unsigned low = (in[4 + group / 2] >> (4 * (group % 2))) & 15u;
    const unsigned scale = low | ((scales_high >> (2 * group)) & 3u) << 4;
    const float step = d * static_cast<float>(static_cast<int>(scale) - 32);
    const uint8_t* codes = in + 8 + group * 16;
    for (int j = 0; j < 16; ++j) {
      out[group * 32 + j] = step * static_cast<float>(kIq4[codes[j] & 15]);
      out[group * 32 + 16 + j] = step * static_cast<float>(kIq4[codes[j] >> 4]);
    }
  }
}

}  // namespace planish::block_formats
