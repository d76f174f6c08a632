// SPDX-License-Identifier: Apache-2.0
// The int8 product on AVX-512 VNNI: vpdpbusd multiplies the unsigned codes of 16 rows with 4 signed activations each.
#include "kernels/matmul_int8_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,f16c,fma")
namespace planish {
namespace vnni {
namespace {

struct Ops {
  static constexpr size_t kVectors = 1;
  static constexpr size_t kStreamTokens = 8;
  // Sums of 3 x 8 in registers: each activation fetched serves three products (of two: 6 % slower, since loads limit).
  static constexpr size_t kTileTokens = 8;
  static constexpr size_t kTileBlocks = 3;
  using Codes = __m512i;
  using Floats = __m512;
  using Table = __m512i;

  // The 16 values + 128, so that they are unsigned.
  static Table LoadTable(const int8_t* table) {
    if (table == nullptr) return _mm512_setzero_si512();
    const __m128i values = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
    return _mm512_broadcast_i32x4(_mm_xor_si128(values, _mm_set1_epi8(-128)));
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
  static Codes Whole(__m512i codes) { return codes; }
  static void StoreBytes(uint8_t* p, Codes codes) { _mm512_store_si512(p, codes); }
  static Codes LoadCodes(const uint8_t* p) { return _mm512_load_si512(p); }
  static __m512i Broadcast(const int8_t* four) {
    int32_t bits;
    std::memcpy(&bits, four, 4);
    return _mm512_set1_epi32(bits);
  }

  template <class Kind>
  struct Sum {
    __m512i sum;
    void Start(const int32_t* start) {
      sum = Kind::kSmallCodes && Kind::kMin ? _mm512_setzero_si512() : _mm512_set1_epi32(*start);
    }
    // As assembler since GCC 12 copies sums between registers around the intrinsic.
    void Add(Codes w, __m512i a) { asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(w), "v"(a)); }
    Floats Value(const int32_t*) const { return _mm512_cvtepi32_ps(sum); }
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
}  // namespace vnni

const Int8Kernels kInt8Vnni = {vnni::Ops::kStreamTokens, vnni::Ops::kStreamTokens + 1, 16,
                               vnni::Stream, vnni::Tile};

}  // namespace planish
#pragma GCC pop_options
#endif
