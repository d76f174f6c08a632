// SPDX-License-Identifier: Apache-2.0
// The int8 product on AVX2: vpmaddubsw adds pairs of unsigned times signed bytes in 16 bits. Signed codes give their sign to the
// activations.
#include "kernels/matmul_int8_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
namespace planish {
namespace avx2 {
namespace {

struct Ops {
  static constexpr size_t kVectors = 2;
  static constexpr size_t kStreamTokens = 4;
  static constexpr size_t kTileTokens = 4;
  static constexpr size_t kTileBlocks = 1;
  using Codes = __m256i;  // small codes as they are, others signed, without their zero
  using Floats = __m256;
  using Table = __m256i;

  static Table LoadTable(const int8_t* table) {
    if (table == nullptr) return _mm256_setzero_si256();
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
  }
  static __m256i Load(const uint8_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  template <class Kind>
  static Codes Low(__m256i both, Table table) {
    const __m256i codes = _mm256_and_si256(both, _mm256_set1_epi8(15));
    return Kind::kTable ? _mm256_shuffle_epi8(table, codes) : codes;
  }
  template <class Kind>
  static Codes High(__m256i both, Table table) {
    return Low<Kind>(_mm256_srli_epi16(both, 4), table);
  }
  static Codes Whole(__m256i codes) { return _mm256_xor_si256(codes, _mm256_set1_epi8(-128)); }
  static void StoreBytes(uint8_t* p, Codes codes) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(p), codes);
  }
  static Codes LoadCodes(const uint8_t* p) {
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
  }
  static __m256i Broadcast(const int8_t* four) {
    int32_t bits;
    std::memcpy(&bits, four, 4);
    return _mm256_set1_epi32(bits);
  }

  // Small codes: 8 sums of pairs, each at most 2 * 15 * 127, fit 16 bits. Others: a pair is at most 2 * 128 * 127, which just
  // fits, and is widened before it is added.
  template <class Kind>
  struct Sum {
    __m256i sum;
    void Start(const int32_t*) { sum = _mm256_setzero_si256(); }
    void Add(Codes w, __m256i a) {
      if constexpr (Kind::kSmallCodes) {
        sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(w, a));
      } else {
        const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(a, w));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
      }
    }
    Floats Value(const int32_t* start) const {
      if constexpr (!Kind::kSmallCodes) return _mm256_cvtepi32_ps(sum);
      __m256i wide = _mm256_madd_epi16(sum, _mm256_set1_epi16(1));
      if constexpr (!Kind::kMin) wide = _mm256_add_epi32(wide, _mm256_set1_epi32(*start));
      return _mm256_cvtepi32_ps(wide);
    }
  };

  static Floats Zero() { return _mm256_setzero_ps(); }
  static Floats Set(float v) { return _mm256_set1_ps(v); }
  static Floats LoadFloats(const float* p) { return _mm256_load_ps(p); }
  static void Store(float* p, Floats v) { _mm256_store_ps(p, v); }
  static Floats LoadHalf(const uint8_t* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static Floats Mul(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
  static Floats MulAdd(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
  static Floats NegMulAdd(Floats a, Floats b, Floats c) { return _mm256_fnmadd_ps(a, b, c); }
};

#include "kernels/matmul_int8-inl.h"
#include "kernels/matmul_int8_dot-inl.h"

}  // namespace
}  // namespace avx2

const Int8Kernels kInt8Avx2 = {avx2::Ops::kStreamTokens, 2 * avx2::Ops::kStreamTokens + 1, 16,
                               avx2::Stream, avx2::Tile};

}  // namespace planish
#pragma GCC pop_options
#endif
