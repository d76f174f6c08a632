// SPDX-License-Identifier: Apache-2.0
// The int8 product on AVX-512 without VNNI: as on AVX2 with 16 rows in a vector.
#include "kernels/matmul_int8_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,f16c,fma")
namespace planish {
namespace avx512 {
namespace {

struct Ops {
  static constexpr size_t kVectors = 1;
  static constexpr size_t kStreamTokens = 8;
  static constexpr size_t kTileTokens = 8;
  static constexpr size_t kTileBlocks = 1;
  using Codes = __m512i;  // small codes as they are, others signed, without their zero
  using Floats = __m512;
  using Table = __m512i;

  static Table LoadTable(const int8_t* table) {
    if (table == nullptr) return _mm512_setzero_si512();
    return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
  }
  static __m512i Load(const uint8_t* p) { return _mm512_loadu_si512(p); }
  template <class Kind>
  static Codes Low(__m512i both, Table table) {
    const __m512i codes = _mm512_and_si512(both, _mm512_set1_epi8(15));
    return Kind::kTable ? _mm512_shuffle_epi8(table, codes) : codes;
  }
  template <class Kind>
  static Codes High(__m512i both, Table table) {
    return Low<Kind>(_mm512_srli_epi16(both, 4), table);
  }
  static Codes Whole(__m512i codes) { return _mm512_xor_si512(codes, _mm512_set1_epi8(-128)); }
  static void StoreBytes(uint8_t* p, Codes codes) { _mm512_store_si512(p, codes); }
  static Codes LoadCodes(const uint8_t* p) { return _mm512_load_si512(p); }
  static __m512i Broadcast(const int8_t* four) {
    int32_t bits;
    std::memcpy(&bits, four, 4);
    return _mm512_set1_epi32(bits);
  }

  // Small codes: 8 sums of pairs, each at most 2 * 15 * 127, fit 16 bits. Others: a pair is at most 2 * 128 * 127, which just
  // fits, and is widened before it is added.
  template <class Kind>
  struct Sum {
    __m512i sum;
    void Start(const int32_t*) { sum = _mm512_setzero_si512(); }
    void Add(Codes w, __m512i a) {
      if constexpr (Kind::kSmallCodes) {
        sum = _mm512_add_epi16(sum, _mm512_maddubs_epi16(w, a));
      } else {
        const __m512i zero = _mm512_setzero_si512();
        const __m512i turned = _mm512_mask_sub_epi8(a, _mm512_movepi8_mask(w), zero, a);
        const __m512i pairs = _mm512_maddubs_epi16(_mm512_abs_epi8(w), turned);
        sum = _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
      }
    }
    Floats Value(const int32_t* start) const {
      if constexpr (!Kind::kSmallCodes) return _mm512_cvtepi32_ps(sum);
      __m512i wide = _mm512_madd_epi16(sum, _mm512_set1_epi16(1));
      if constexpr (!Kind::kMin) wide = _mm512_add_epi32(wide, _mm512_set1_epi32(*start));
      return _mm512_cvtepi32_ps(wide);
    }
  };

  static Floats Zero() { return _mm512_setzero_ps(); }
  static Floats Set(float v) { return _mm512_set1_ps(v); }
  static Floats LoadFloats(const float* p) { return _mm512_load_ps(p); }
  static void Store(float* p, Floats v) { _mm512_store_ps(p, v); }
  static Floats LoadHalf(const uint8_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static Floats Mul(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
  static Floats MulAdd(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
  static Floats NegMulAdd(Floats a, Floats b, Floats c) { return _mm512_fnmadd_ps(a, b, c); }
};

#include "kernels/matmul_int8-inl.h"
#include "kernels/matmul_int8_dot-inl.h"

}  // namespace
}  // namespace avx512

const Int8Kernels kInt8Avx512 = {avx512::Ops::kStreamTokens, 2 * avx512::Ops::kStreamTokens + 1, 16,
                                 avx512::Stream, avx512::Tile};

}  // namespace planish
#pragma GCC pop_options
#endif
