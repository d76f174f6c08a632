// SPDX-License-Identifier: Apache-2.0
#include "kernels/peak_units.h"

#include "base/error.h"
#include "kernels/amx.h"
#include "kernels/isa.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace planish::internal {
namespace {

#define PLANISH_TARGET(features) __attribute__((target(features)))

constexpr size_t kChains = 16;  // independent sums: enough for 5 cycles of latency on 2 units

#if defined(__x86_64__)

// The compiler must take `v` as changed: the loops below would otherwise be hoisted or folded.
#define PLANISH_OPAQUE(v) asm volatile("" : "+x"(v))

PLANISH_TARGET("avx512f,avx512bw,avx512vl,avx512bf16")
double Bf16Loop(size_t rounds) {
  __m512 acc[kChains];
  __m512i bits = _mm512_set1_epi16(0x3c00);  // some small bf16
  asm volatile("" : "+v"(bits));
  const auto x = reinterpret_cast<__m512bh>(bits);
#pragma GCC unroll 16
  for (size_t i = 0; i < kChains; ++i) {
    acc[i] = _mm512_setzero_ps();
    asm volatile("" : "+v"(acc[i]));  // else equal chains become one
  }
  for (size_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 16
    for (size_t i = 0; i < kChains; ++i) acc[i] = _mm512_dpbf16_ps(acc[i], x, x);
  }
#pragma GCC unroll 16
  for (size_t i = 0; i < kChains; ++i) asm volatile("" : : "v"(acc[i]));
  return static_cast<double>(rounds * kChains * 32 * 2);
}

PLANISH_TARGET("avx512f,avx512bw,avx512vl,avx512vnni")
double VnniLoop(size_t rounds) {
  __m512i acc[kChains], x = _mm512_set1_epi8(1);
  asm volatile("" : "+v"(x));
#pragma GCC unroll 16
  for (size_t i = 0; i < kChains; ++i) {
    acc[i] = _mm512_setzero_si512();
    asm volatile("" : "+v"(acc[i]));
  }
  for (size_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 16
    for (size_t i = 0; i < kChains; ++i) acc[i] = _mm512_dpbusd_epi32(acc[i], x, x);
  }
#pragma GCC unroll 16
  for (size_t i = 0; i < kChains; ++i) asm volatile("" : : "v"(acc[i]));
  return static_cast<double>(rounds * kChains * 64 * 2);
}

PLANISH_TARGET("avx2,avxvnni")
double AvxVnniLoop(size_t rounds) {
  __m256i acc[12], x = _mm256_set1_epi8(1);  // 16 registers in all
  PLANISH_OPAQUE(x);
#pragma GCC unroll 12
  for (size_t i = 0; i < 12; ++i) {
    acc[i] = _mm256_setzero_si256();
    PLANISH_OPAQUE(acc[i]);
  }
  for (size_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (size_t i = 0; i < 12; ++i) acc[i] = _mm256_dpbusd_avx_epi32(acc[i], x, x);
  }
#pragma GCC unroll 12
  for (size_t i = 0; i < 12; ++i) PLANISH_OPAQUE(acc[i]);
  return static_cast<double>(rounds * 12 * 32 * 2);
}

// Four sums; each round adds eight products of pairs in int16 (4-bit weights times int8 allow eight), then widens.
PLANISH_TARGET("avx2")
double MaddubsLoop(size_t rounds) {
  constexpr size_t kSums = 4;
  __m256i acc[kSums], x = _mm256_set1_epi8(1);
  const __m256i ones = _mm256_set1_epi16(1);
#pragma GCC unroll 4
  for (size_t i = 0; i < kSums; ++i) {
    acc[i] = _mm256_setzero_si256();
    PLANISH_OPAQUE(acc[i]);
  }
  for (size_t round = 0; round < rounds; ++round) {
    __m256i narrow[kSums];
#pragma GCC unroll 4
    for (size_t i = 0; i < kSums; ++i) {
      PLANISH_OPAQUE(x);
      narrow[i] = _mm256_maddubs_epi16(x, x);
    }
#pragma GCC unroll 7
    for (size_t k = 1; k < 8; ++k) {
#pragma GCC unroll 4
      for (size_t i = 0; i < kSums; ++i) {
        PLANISH_OPAQUE(x);
        narrow[i] = _mm256_add_epi16(narrow[i], _mm256_maddubs_epi16(x, x));
      }
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < kSums; ++i)
      acc[i] = _mm256_add_epi32(acc[i], _mm256_madd_epi16(narrow[i], ones));
  }
#pragma GCC unroll 4
  for (size_t i = 0; i < kSums; ++i) PLANISH_OPAQUE(acc[i]);
  return static_cast<double>(rounds * kSums * 8 * 32 * 2);
}

alignas(64) constexpr std::byte kZeros[1024] = {};

// Two rows of two tiles: four sums of 16 x 16 in turn.
PLANISH_TARGET("amx-tile,amx-int8")
double Int8TileLoop(size_t rounds) {
  const AmxTiles tiles;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, kZeros, 64);
  _tile_loadd(5, kZeros, 64);
  _tile_loadd(6, kZeros, 64);
  _tile_loadd(7, kZeros, 64);
  for (size_t round = 0; round < rounds; ++round) {
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 7);
    _tile_dpbusd(2, 5, 6);
    _tile_dpbusd(3, 5, 7);
  }
  return static_cast<double>(rounds) * 4 * 16 * 16 * 64 * 2;
}

PLANISH_TARGET("amx-tile,amx-bf16")
double Bf16TileLoop(size_t rounds) {
  const AmxTiles tiles;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, kZeros, 64);
  _tile_loadd(5, kZeros, 64);
  _tile_loadd(6, kZeros, 64);
  _tile_loadd(7, kZeros, 64);
  for (size_t round = 0; round < rounds; ++round) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  return static_cast<double>(rounds) * 4 * 16 * 16 * 32 * 2;
}

// __builtin_cpu_supports of GCC 12 does not know it: CPUID leaf 7, subleaf 1, EAX bit 4.
bool HasAvxVnni() {
  static const bool has = [] {
    unsigned a = 7, b, c = 1, d;
    asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return (a & (1u << 4)) != 0;
  }();
  return has;
}

#elif defined(__aarch64__)

// 8-bit dot products of four.
PLANISH_TARGET("arch=armv8.2-a+dotprod")
double SdotLoop(size_t rounds) {
  int32x4_t acc[kChains];
  int8x16_t x = vdupq_n_s8(1);
  asm volatile("" : "+w"(x));
#pragma GCC unroll 16
  for (size_t i = 0; i < kChains; ++i) {
    acc[i] = vdupq_n_s32(0);
    asm volatile("" : "+w"(acc[i]));  // else equal chains become one
  }
  for (size_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 16
    for (size_t i = 0; i < kChains; ++i) acc[i] = vdotq_s32(acc[i], x, x);
  }
#pragma GCC unroll 16
  for (size_t i = 0; i < kChains; ++i) asm volatile("" : : "w"(acc[i]));
  return static_cast<double>(rounds * kChains * 16 * 2);
}

// 2 x 8 by 8 x 2 blocks.
PLANISH_TARGET("arch=armv8.2-a+dotprod+i8mm")
double SmmlaLoop(size_t rounds) {
  int32x4_t acc[kChains];
  int8x16_t x = vdupq_n_s8(1);
  asm volatile("" : "+w"(x));
#pragma GCC unroll 16
  for (size_t i = 0; i < kChains; ++i) {
    acc[i] = vdupq_n_s32(0);
    asm volatile("" : "+w"(acc[i]));  // else equal chains become one
  }
  for (size_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 16
    for (size_t i = 0; i < kChains; ++i) acc[i] = vmmlaq_s32(acc[i], x, x);
  }
#pragma GCC unroll 16
  for (size_t i = 0; i < kChains; ++i) asm volatile("" : : "w"(acc[i]));
  return static_cast<double>(rounds * kChains * 32 * 2);
}

// 2 x 4 by 4 x 2 blocks.
PLANISH_TARGET("arch=armv8.2-a+bf16")
double BfmmlaLoop(size_t rounds) {
  float32x4_t acc[kChains];
  uint16x8_t bits = vdupq_n_u16(0x3c00);  // some small bf16
  asm volatile("" : "+w"(bits));
  const bfloat16x8_t x = vreinterpretq_bf16_u16(bits);
#pragma GCC unroll 16
  for (size_t i = 0; i < kChains; ++i) {
    acc[i] = vdupq_n_f32(0);
    asm volatile("" : "+w"(acc[i]));
  }
  for (size_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 16
    for (size_t i = 0; i < kChains; ++i) acc[i] = vbfmmlaq_f32(acc[i], x, x);
  }
#pragma GCC unroll 16
  for (size_t i = 0; i < kChains; ++i) asm volatile("" : : "w"(acc[i]));
  return static_cast<double>(rounds * kChains * 16 * 2);
}

#endif

}  // namespace

#if defined(__x86_64__)

bool HasDotUnit(ArithmeticUnit unit) {
  switch (unit) {
    case ArithmeticUnit::kBf16:
      return Has(Isa::kBf16);
    case ArithmeticUnit::kInt8:
      return Has(Isa::kAvx2);
    case ArithmeticUnit::kBf16Tiles:
    case ArithmeticUnit::kInt8Tiles:
      return Has(Isa::kAmx);
    default:
      return false;
  }
}

double RunDotUnit(ArithmeticUnit unit, size_t rounds) noexcept {
  PLANISH_DCHECK(HasDotUnit(unit));
  switch (unit) {
    case ArithmeticUnit::kBf16:
      return Bf16Loop(rounds);
    case ArithmeticUnit::kBf16Tiles:
      return Bf16TileLoop(rounds);
    case ArithmeticUnit::kInt8Tiles:
      return Int8TileLoop(rounds);
    default:
      return Has(Isa::kVnni) ? VnniLoop(rounds)
             : HasAvxVnni()  ? AvxVnniLoop(rounds)
                             : MaddubsLoop(rounds);
  }
}

PLANISH_TARGET("amx-tile")
void ReadTiles(const std::byte* source, size_t bytes, size_t ahead) noexcept {
  const AmxTiles tiles;
  for (size_t k = 0; k < bytes; k += 4096) {
    const std::byte* block = source + k;
    if (ahead != 0) {
#pragma GCC unroll 64
      for (size_t line = 0; line < 4096; line += 64)
        _mm_prefetch(block + ahead + line, _MM_HINT_T0);
    }
    _tile_loadd(0, block, 64);
    _tile_loadd(1, block + 1024, 64);
    _tile_loadd(2, block + 2048, 64);
    _tile_loadd(3, block + 3072, 64);
  }
}

#else

bool HasDotUnit(ArithmeticUnit unit) {
  return (unit == ArithmeticUnit::kInt8 && Has(Isa::kDotprod)) ||
         (unit == ArithmeticUnit::kBf16 && Has(Isa::kI8mm));
}

double RunDotUnit([[maybe_unused]] ArithmeticUnit unit, [[maybe_unused]] size_t rounds) noexcept {
  PLANISH_DCHECK(HasDotUnit(unit));
#if defined(__aarch64__)
  if (unit == ArithmeticUnit::kBf16) return BfmmlaLoop(rounds);
  return Has(Isa::kI8mm) ? SmmlaLoop(rounds) : SdotLoop(rounds);
#else
  return 0;
#endif
}

void ReadTiles(const std::byte*, size_t, size_t) noexcept {}

#endif

}  // namespace planish::internal
