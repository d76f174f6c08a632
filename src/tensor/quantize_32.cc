// SPDX-License-Identifier: Apache-2.0
// Quantisation to the formats with 32 values a block, byte-identical to ggml's reference quantiser:
// products with the rounded reciprocal of the scale, Q8_0 by roundf (half away from zero), the
// others by adding one half and truncating.
#include <algorithm>
#include <bit>
#include <cmath>

#include "tensor/block_formats.h"

namespace planish::block_formats {
namespace {

float Reciprocal(float d) { return d != 0.0f ? 1.0f / d : 0.0f; }

// To an integer inside [low, high]; NaN becomes `low`, so bad weights cannot make the conversion
// undefined.
int ClampToInt(float value, int low, int high) {
  if (!(value > static_cast<float>(low))) return low;
  return value < static_cast<float>(high) ? static_cast<int>(value) : high;
}

// Magnitudes are compared as integers, which the compiler turns into SIMD; NaN does not count, as in float comparisons.
int32_t MagnitudeBits(float value) {
  const int32_t bits = std::bit_cast<int32_t>(value) & 0x7FFFFFFF;
  return bits > 0x7F800000 ? 0 : bits;
}

// std::round of a value clamped to [-127, 127]; NaN becomes -127.
int RoundHalfAway(float value) {
  const int whole = ClampToInt(value, -127, 127);
  const float rest = value - static_cast<float>(whole);  // exact
  return whole + (whole < 127 && rest >= 0.5f) - (whole > -127 && rest <= -0.5f);
}

float MagnitudeMax(const float* in) {
  int32_t result = 0;
  for (int j = 0; j < 32; ++j) result = std::max(result, MagnitudeBits(in[j]));
  return std::bit_cast<float>(result);
}

// The first value of largest magnitude, with its sign: it becomes the most negative code exactly.
float SignedMax(const float* in) {
  const float magnitude = MagnitudeMax(in);
  if (magnitude == 0.0f) return 0.0f;
  return *std::find_if(in, in + 32, [&](float x) { return std::fabs(x) == magnitude; });
}

void StoreNibbles(const int* q, uint8_t* out) {
  for (int j = 0; j < 16; ++j) out[j] = static_cast<uint8_t>((q[j] & 15) | (q[j + 16] & 15) << 4);
}

void StoreFifthBits(const int* q, uint8_t* out) {
  uint32_t bits = 0;
  for (int j = 0; j < 32; ++j) bits |= static_cast<uint32_t>((q[j] >> 4) & 1) << j;
  std::memcpy(out, &bits, sizeof(bits));
}

// q = x / d + levels / 2 for levels = 16 or 32; returns d.
float CodeSymmetric(const float* in, int levels, int* q) {
  const float middle = static_cast<float>(levels / 2);
  const float d = SignedMax(in) / -middle;
  const float id = Reciprocal(d);
  for (int j = 0; j < 32; ++j) q[j] = ClampToInt(in[j] * id + (middle + 0.5f), 0, levels - 1);
  return d;
}

// q = (x - min) / d; stores d and the minimum.
void CodeFromMinimum(const float* in, int levels, int* q, uint8_t* out) {
  const auto [low, high] = std::minmax_element(in, in + 32);
  const float d = (*high - *low) / static_cast<float>(levels - 1);
  const float id = Reciprocal(d);
  for (int j = 0; j < 32; ++j) q[j] = ClampToInt((in[j] - *low) * id + 0.5f, 0, levels - 1);
  StoreF16(d, out);
  StoreF16(*low, out + 2);
}

}  // namespace

void QuantizeQ8_0(const float* in, uint8_t* out) {
  const float d = MagnitudeMax(in) / 127.0f;
  const float id = Reciprocal(d);
  StoreF16(d, out);
  for (int j = 0; j < 32; ++j) {
    out[2 + j] = static_cast<uint8_t>(static_cast<int8_t>(RoundHalfAway(in[j] * id)));
  }
}

void QuantizeQ4_0(const float* in, uint8_t* out) {
  int q[32];
  StoreF16(CodeSymmetric(in, 16, q), out);
  StoreNibbles(q, out + 2);
}

void QuantizeQ4_1(const float* in, uint8_t* out) {
  int q[32];
  CodeFromMinimum(in, 16, q, out);
  StoreNibbles(q, out + 4);
}

void QuantizeQ5_0(const float* in, uint8_t* out) {
  int q[32];
  StoreF16(CodeSymmetric(in, 32, q), out);
  StoreFifthBits(q, out + 2);
  StoreNibbles(q, out + 6);
}

void QuantizeQ5_1(const float* in, uint8_t* out) {
  int q[32];
  CodeFromMinimum(in, 32, q, out);
  StoreFifthBits(q, out + 4);
  StoreNibbles(q, out + 8);
}

// The scale is the power of two that brings the largest magnitude to [4, 8) (E2M1's largest is 6);
// each value takes the nearest of the sixteen codes, the first one on a tie.
void QuantizeMXFP4(const float* in, uint8_t* out) {
  const float largest = MagnitudeMax(in);
  const float exponent = largest > 0.0f ? std::floor(std::log2(largest)) - 2.0f + 127.0f : 0.0f;
  const uint8_t e = static_cast<uint8_t>(ClampToInt(exponent, 0, 254));
  const float d = HalfOfE8M0(e);
  int q[32];
  for (int j = 0; j < 32; ++j) {
    q[j] = 0;
    float best = std::fabs(static_cast<float>(kMxfp4[0]) * d - in[j]);
    for (int code = 1; code < 16; ++code) {
      const float distance = std::fabs(static_cast<float>(kMxfp4[code]) * d - in[j]);
      if (distance < best) {
        best = distance;
        q[j] = code;
      }
    }
  }
  out[0] = e;
  StoreNibbles(q, out + 1);
}

}  // namespace planish::block_formats
