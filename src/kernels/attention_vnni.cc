// SPDX-License-Identifier: Apache-2.0
// Scores of q8_0 keys by VNNI: four channels of 16 positions are one vector, met by four channels of a query in every lane.
// Instructions multiply unsigned by signed bytes, so keys are taken plus 128 and the query's sums times 128 off again.
#include "kernels/attention_tile.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <cstring>

#define PLANISH_VNNI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))

namespace planish {
namespace {

// kQ queries; sums of a group of 32 channels stay in registers, scaled ones in `scores`.
template <size_t kQ>
PLANISH_VNNI void Scores(const Int8Queries& queries, const KvLayout& kv, const std::byte* head,
                         const std::byte* ahead, float* scores) {
  const size_t words = (kv.head_dim + 3) / 4;  // 32-bit groups of four channels
  const __m512i flip = _mm512_set1_epi8(static_cast<char>(-128));
  for (size_t g = 0; g < queries.groups; ++g) {
    __m512i sum[kQ][4];
#pragma GCC unroll 8
    for (size_t i = 0; i < kQ; ++i) {
      const __m512i start = _mm512_set1_epi32(-128 * queries.sums[i * queries.groups + g]);
#pragma GCC unroll 4
      for (size_t j = 0; j < 4; ++j) sum[i][j] = start;
    }
    const size_t end = words - 8 * g < 8 ? words - 8 * g : 8;
    for (size_t w = 0; w < end; ++w) {
      const std::byte* codes = head + (8 * g + w) * kKvPagePositions * 4;
      __m512i keys[4];
#pragma GCC unroll 4
      for (size_t j = 0; j < 4; ++j) {
        if (ahead != nullptr) _mm_prefetch(ahead + (codes - head) + 64 * j, _MM_HINT_T0);
        keys[j] = _mm512_xor_si512(_mm512_loadu_si512(codes + 64 * j), flip);
      }
#pragma GCC unroll 8
      for (size_t i = 0; i < kQ; ++i) {
        int32_t four;
        std::memcpy(&four, queries.codes + (i * queries.groups + g) * 32 + 4 * w, 4);
        const __m512i query = _mm512_set1_epi32(four);
#pragma GCC unroll 4
        for (size_t j = 0; j < 4; ++j) sum[i][j] = _mm512_dpbusd_epi32(sum[i][j], keys[j], query);
      }
    }
    const std::byte* scales = head + kv.KeyScales() + g * kKvPagePositions * 2;
#pragma GCC unroll 4
    for (size_t j = 0; j < 4; ++j) {
      const __m512 key_scale =
          _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(scales + 32 * j)));
#pragma GCC unroll 8
      for (size_t i = 0; i < kQ; ++i) {
        float* to = scores + i * kKvPagePositions + 16 * j;
        const __m512 scale =
            _mm512_mul_ps(key_scale, _mm512_set1_ps(queries.scales[i * queries.groups + g]));
        const __m512 before = g == 0 ? _mm512_setzero_ps() : _mm512_loadu_ps(to);
        _mm512_storeu_ps(to, _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[i][j]), scale, before));
      }
    }
  }
}

}  // namespace

void ScoresInt8(const Int8Queries& queries, size_t n, const KvLayout& kv, const std::byte* head,
                const std::byte* ahead, float* scores) noexcept {
  switch (n) {
    case 1:
      return Scores<1>(queries, kv, head, ahead, scores);
    case 2:
      return Scores<2>(queries, kv, head, ahead, scores);
    case 3:
      return Scores<3>(queries, kv, head, ahead, scores);
    case 4:
      return Scores<4>(queries, kv, head, ahead, scores);
    case 5:
      return Scores<5>(queries, kv, head, ahead, scores);
    default:
      return Scores<6>(queries, kv, head, ahead, scores);
  }
}

}  // namespace planish
#endif
