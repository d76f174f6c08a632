// SPDX-License-Identifier: Apache-2.0
// Normal numbers in blocks of 256, written so that the compiler turns every loop into SIMD: 64 Philox counters side by
// side, then logarithm, sine and cosine as polynomials. Only +, *, / and sqrt of float and integer operations occur, all of
// which IEEE 754 defines to the bit, and contraction to FMA is off: every instruction set gives the same numbers. Built with
// -fno-math-errno, without which sqrt is a call and no SIMD instruction (CMakeLists.txt).
#include <bit>
#include <cmath>
#include <cstring>

#include "base/random.h"

namespace planish {
namespace {

constexpr size_t kLanes = 64;          // counters of a block
constexpr size_t kBlock = 4 * kLanes;  // numbers of a block
using Words = uint32_t[4][kLanes];     // word w of counter l

#if defined(__x86_64__) && defined(__GNUC__)
#define PLANISH_AVX2_CLONE 1
#endif
#define PLANISH_INLINE inline __attribute__((always_inline))

PLANISH_INLINE void PhiloxBlock(uint64_t key, uint64_t high, uint64_t low, Words c) {
  for (size_t l = 0; l < kLanes; ++l) {
    c[0][l] = static_cast<uint32_t>(low) + static_cast<uint32_t>(l);  // low is a multiple of kLanes
    c[1][l] = static_cast<uint32_t>(low >> 32);
    c[2][l] = static_cast<uint32_t>(high);
    c[3][l] = static_cast<uint32_t>(high >> 32);
  }
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
    for (size_t l = 0; l < kLanes; ++l) {
      const uint64_t p0 = uint64_t{0xD2511F53u} * c[0][l];
      const uint64_t p1 = uint64_t{0xCD9E8D57u} * c[2][l];
      c[0][l] = static_cast<uint32_t>(p1 >> 32) ^ c[1][l] ^ k0;
      c[1][l] = static_cast<uint32_t>(p1);
      c[2][l] = static_cast<uint32_t>(p0 >> 32) ^ c[3][l] ^ k1;
      c[3][l] = static_cast<uint32_t>(p0);
    }
  }
}

// ln x for normal x > 0: x = 2^e m with m in [sqrt(1/2), sqrt(2)), ln m = 2 atanh(s), s = (m - 1) / (m + 1), as its
// series to s^9 (|s| <= 0.1716: what is left out is below 1e-9).
PLANISH_INLINE float Log(float x) {
  const int32_t bits = std::bit_cast<int32_t>(x);
  const int32_t e = (bits - 0x3F3504F3) >> 23;
  const float m = std::bit_cast<float>(bits - e * (1 << 23));
  const float s = (m - 1.0f) / (m + 1.0f), z = s * s;
  const float series = 1.0f + z * (1.0f / 3 + z * (1.0f / 5 + z * (1.0f / 7 + z * (1.0f / 9))));
  return static_cast<float>(e) * 0.693147182f + 2.0f * s * series;
}

// Two uniform words to two independent normals: r = sqrt(-2 ln u) with u = (a + 1/2) / 2^32, angle 2 pi b / 2^32. The
// nearest axis gives signs and which is the sine, then Taylor series to x^9 and x^8 on [-pi/4, pi/4], errors below 2e-9 and 3e-8.
PLANISH_INLINE void BoxMuller(uint32_t a, uint32_t b, float* x, float* y) {
  // Halved to a signed number, because the conversion of unsigned ones is no SIMD instruction before AVX-512. Rounding
  // reaches u = 1, never more.
  const float u = static_cast<float>(static_cast<int32_t>(a >> 1)) * 0x1p-31f + 0x1p-32f;
  const float r = std::sqrt(-2.0f * Log(u));
  const uint32_t quadrant = (b + (1u << 29)) >> 30;
  const auto offset = static_cast<int32_t>(b << 2) >> 1;  // from its axis, [-2^30, 2^30)
  const float t = static_cast<float>(offset) * (0.785398163f * 0x1p-30f), z = t * t;
  const float sine =
      t * (1.0f + z * (-1.0f / 6 + z * (1.0f / 120 + z * (-1.0f / 5040 + z * (1.0f / 362880)))));
  const float cosine =
      1.0f + z * (-1.0f / 2 + z * (1.0f / 24 + z * (-1.0f / 720 + z * (1.0f / 40320))));
  // Exchange in odd quadrants and change signs by masks: compilers make branches of "?:" here.
  const auto s = std::bit_cast<uint32_t>(sine), c = std::bit_cast<uint32_t>(cosine);
  const uint32_t exchange = (s ^ c) & (0u - (quadrant & 1));
  *x = r * std::bit_cast<float>((c ^ exchange) ^ (((quadrant + 1) & 2) << 30));
  *y = r * std::bit_cast<float>((s ^ exchange) ^ ((quadrant & 2) << 30));
}

PLANISH_INLINE void NormalBlock(uint64_t seed, uint64_t stream, uint64_t low, float* out) {
  alignas(64) Words words;
  PhiloxBlock(seed, stream, low, words);
  for (size_t pair = 0; pair < 4; pair += 2) {
    for (size_t l = 0; l < kLanes; ++l) {
      BoxMuller(words[pair][l], words[pair + 1][l], &out[pair * kLanes + l],
                &out[(pair + 1) * kLanes + l]);
    }
  }
}

PLANISH_INLINE void FillBlocks(uint64_t seed, uint64_t stream, uint64_t row, std::span<float> out) {
  const uint64_t first = row << 32;
  size_t i = 0;
  for (; i + kBlock <= out.size(); i += kBlock)
    NormalBlock(seed, stream, first + i / 4, out.data() + i);
  if (i == out.size()) return;
  alignas(64) float rest[kBlock];
  NormalBlock(seed, stream, first + i / 4, rest);
  std::memcpy(out.data() + i, rest, (out.size() - i) * sizeof(float));
}

#ifdef PLANISH_AVX2_CLONE
__attribute__((target("avx2"))) void FillBlocksAvx2(uint64_t seed, uint64_t stream, uint64_t row,
                                                    std::span<float> out) {
  FillBlocks(seed, stream, row, out);
}
#endif

}  // namespace

void FillNormal(uint64_t seed, uint64_t stream, uint64_t row, std::span<float> out) {
#ifdef PLANISH_AVX2_CLONE
  if (__builtin_cpu_supports("avx2")) return FillBlocksAvx2(seed, stream, row, out);
#endif
  FillBlocks(seed, stream, row, out);
}

}  // namespace planish
