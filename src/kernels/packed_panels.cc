// SPDX-License-Identifier: Apache-2.0
// A code is turned into a float without conversion: put into the mantissa of 1 it makes 1 + code 2^-s, and one fused
// multiply-add with 2^s scale and -(2^s + zero) scale, both exact in float, gives scale (code - zero), exact too (11 + 8 bits
// at most). Two vectors of 16 rows are rounded by one instruction and interleaved by one.
#include "kernels/packed_panels.h"

#include "kernels/bf16_panels.h"

#if defined(__x86_64__)
#include <immintrin.h>

// GCC 12 takes the undefined pass-through operands inside its own intrinsics for a mistake of ours.
#pragma GCC diagnostic ignored "-Wuninitialized"

#define PLANISH_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"))) inline

namespace planish {
namespace {

PLANISH_BF16 __m512 HalvesAt(const uint8_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

// Values of codes that stand at bit kShift of a dword's byte 1 (kShift 8: 4 bits or 8; 12: the upper 4 bits).
struct Linear {
  __m512 multiplier, offset, min;
};
template <int kShift>
PLANISH_BF16 Linear LinearOf(__m512 scale, __m512 min, int zero) {
  constexpr float kUnit = static_cast<float>(1 << (23 - kShift));
  return {_mm512_mul_ps(scale, _mm512_set1_ps(kUnit)),
          _mm512_mul_ps(scale, _mm512_set1_ps(-kUnit - static_cast<float>(zero))), min};
}
template <int kMask, bool kHasMin>
PLANISH_BF16 __m512 Value(__m512i dwords, const Linear& linear) {
  const __m512i one = _mm512_set1_epi32(0x3F800000);
  constexpr int kAndOr = 0xEA;  // (a & b) | c
  const __m512 x = reinterpret_cast<__m512>(
      _mm512_ternarylogic_epi32(dwords, _mm512_set1_epi32(kMask), one, kAndOr));
  const __m512 value = _mm512_fmadd_ps(x, linear.multiplier, linear.offset);
  return kHasMin ? _mm512_sub_ps(value, linear.min) : value;
}

PLANISH_BF16 void StorePair(__m512 first, __m512 second, __m512i interleave, uint16_t* out) {
  const auto words = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(second, first));
  _mm512_store_si512(out, _mm512_permutexvar_epi16(interleave, words));
}

constexpr size_t kPair = 2 * kPanelRows;  // words of a pair of k

// A group's codes to a tile; s: scales of the first and second 16 inputs.
template <bool kHasMin>
PLANISH_BF16 void Decode4(const uint8_t* codes, const __m512* s, __m512 min, int zero,
                          __m512i interleave, uint16_t* out) {
  const Linear low = LinearOf<8>(s[0], min, zero), high = LinearOf<12>(s[1], min, zero);
#pragma GCC unroll 4
  for (size_t t = 0; t < 4; ++t, codes += 64) {
    const __m512i v = _mm512_loadu_si512(codes);
    const __m512i byte[4] = {_mm512_slli_epi32(v, 8), v, _mm512_srli_epi32(v, 8),
                             _mm512_srli_epi32(v, 16)};
#pragma GCC unroll 2
    for (size_t j = 0; j < 4; j += 2) {
      uint16_t* to = out + (2 * t + j / 2) * kPair;
      StorePair(Value<0xF00, kHasMin>(byte[j], low), Value<0xF00, kHasMin>(byte[j + 1], low),
                interleave, to);
      StorePair(Value<0xF000, kHasMin>(byte[j], high), Value<0xF000, kHasMin>(byte[j + 1], high),
                interleave, to + 8 * kPair);
    }
  }
}

template <bool kHasMin>
PLANISH_BF16 void Decode8(const uint8_t* codes, const __m512* s, __m512 min, int zero,
                          __m512i interleave, uint16_t* out) {
  const Linear halves[2] = {LinearOf<8>(s[0], min, zero), LinearOf<8>(s[1], min, zero)};
#pragma GCC unroll 8
  for (size_t t = 0; t < 8; ++t, codes += 64) {
    const __m512i v = _mm512_loadu_si512(codes);
    const Linear& linear = halves[t / 4];
    StorePair(Value<0xFF00, kHasMin>(_mm512_slli_epi32(v, 8), linear),
              Value<0xFF00, kHasMin>(v, linear), interleave, out + 2 * t * kPair);
    StorePair(Value<0xFF00, kHasMin>(_mm512_srli_epi32(v, 8), linear),
              Value<0xFF00, kHasMin>(_mm512_srli_epi32(v, 16), linear), interleave,
              out + (2 * t + 1) * kPair);
  }
}

// Codes are indices of a table: vpermps reads the low 4 bits of each dword.
PLANISH_BF16 void DecodeTable(const uint8_t* codes, const __m512* s, __m512 table,
                              __m512i interleave, uint16_t* out) {
#pragma GCC unroll 4
  for (size_t t = 0; t < 4; ++t, codes += 64) {
    const __m512i v = _mm512_loadu_si512(codes);
#pragma GCC unroll 4
    for (unsigned j = 0; j < 4; ++j) {  // pairs: low nibbles of bytes 0 1 and 2 3, then high ones
      const unsigned shift = j % 2 * 16 + j / 2 * 4;
      const __m512 scale = s[j / 2];
      const __m512 first =
          _mm512_mul_ps(_mm512_permutexvar_ps(_mm512_srli_epi32(v, shift), table), scale);
      const __m512 second =
          _mm512_mul_ps(_mm512_permutexvar_ps(_mm512_srli_epi32(v, shift + 8), table), scale);
      StorePair(first, second, interleave, out + (2 * t + j % 2 + j / 2 * 8) * kPair);
    }
  }
}

enum class Kind { k4, k8, kTable };

template <Kind kKind, bool kHasMin>
PLANISH_BF16 void DecodeGroups(const PackedFormat& format, const uint8_t* groups, size_t count,
                               uint16_t* out) {
  const __m512i dwords = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i upper = _mm512_slli_epi32(_mm512_add_epi32(dwords, _mm512_set1_epi32(16)), 16);
  const __m512i interleave = _mm512_or_si512(dwords, upper);
  const size_t header = format.header_bytes(), bytes = format.group_bytes();
  const size_t second = format.scales_per_group == 2 ? 2 * kPackedRows : 0;
  __m512 table = _mm512_setzero_ps();
  if (kKind == Kind::kTable)
    table = _mm512_cvtepi32_ps(
        _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(format.table))));
  for (size_t g = 0; g < count; ++g, groups += bytes, out += kTileElems) {
    const __m512 s[2] = {HalvesAt(groups), HalvesAt(groups + second)};
    const __m512 min = kHasMin ? HalvesAt(groups + header - 2 * kPackedRows) : _mm512_setzero_ps();
    const uint8_t* codes = groups + header;
    if constexpr (kKind == Kind::k4)
      Decode4<kHasMin>(codes, s, min, format.zero, interleave, out);
    else if constexpr (kKind == Kind::k8)
      Decode8<kHasMin>(codes, s, min, format.zero, interleave, out);
    else
      DecodeTable(codes, s, table, interleave, out);
  }
}

}  // namespace

bool DecodePackedPanel(const PackedFormat& format, const uint8_t* groups, size_t count,
                       uint16_t* out) noexcept {
  if (!HasBf16Units()) return false;
  if (format.table != nullptr) {
    DecodeGroups<Kind::kTable, false>(format, groups, count, out);
  } else if (format.is_4bit) {
    if (format.has_min)
      DecodeGroups<Kind::k4, true>(format, groups, count, out);
    else
      DecodeGroups<Kind::k4, false>(format, groups, count, out);
  } else {
    if (format.has_min)
      DecodeGroups<Kind::k8, true>(format, groups, count, out);
    else
      DecodeGroups<Kind::k8, false>(format, groups, count, out);
  }
  return true;
}

}  // namespace planish

#else

namespace planish {
bool DecodePackedPanel(const PackedFormat&, const uint8_t*, size_t, uint16_t*) noexcept {
  return false;
}
}  // namespace planish
#endif
