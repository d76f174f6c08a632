// SPDX-License-Identifier: Apache-2.0
// The transposition of 16 x 16 dwords that turns a left tile of bf16_panels.h into a right one and back. AVX-512 only.
#pragma once

#include <immintrin.h>

namespace planish {

__attribute__((target("avx512f"), always_inline)) inline void Transpose16(__m512i (&v)[16]) {
  __m512i t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {  // dwords of row pairs
    t[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {  // v[i + c]: column 4 q + c of four rows in 128-bit block q
    v[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    v[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    v[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    v[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {  // 4 x 4 blocks
    const __m512i low01 = _mm512_shuffle_i32x4(v[c], v[c + 4], 0x88);
    const __m512i high01 = _mm512_shuffle_i32x4(v[c], v[c + 4], 0xDD);
    const __m512i low23 = _mm512_shuffle_i32x4(v[c + 8], v[c + 12], 0x88);
    const __m512i high23 = _mm512_shuffle_i32x4(v[c + 8], v[c + 12], 0xDD);
    t[c] = _mm512_shuffle_i32x4(low01, low23, 0x88);
    t[c + 8] = _mm512_shuffle_i32x4(low01, low23, 0xDD);
    t[c + 4] = _mm512_shuffle_i32x4(high01, high23, 0x88);
    t[c + 12] = _mm512_shuffle_i32x4(high01, high23, 0xDD);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) v[i] = t[i];
}

}  // namespace planish
