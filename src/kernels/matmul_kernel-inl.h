// SPDX-License-Identifier: Apache-2.0
// The loops of the matrix product, per Highway target. One order of summation for all of them:
// element (t, n) is one vector of partial sums, lane l adding the products of k = l, l + kLanes,
// ... with fused multiply-adds in ascending k, and at the end SumLanes. So a result does not depend
// on which loop made it. Activations come packed (PackTokens): groups of up to kTokens rows, their
// vectors interleaved, [K / kLanes][C][kLanes], the last vector filled with zeros. Included by
// matmul.cc once per target.
#if defined(PLANISH_KERNELS_MATMUL_KERNEL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PLANISH_KERNELS_MATMUL_KERNEL_INL_H_
#undef PLANISH_KERNELS_MATMUL_KERNEL_INL_H_
#else
#define PLANISH_KERNELS_MATMUL_KERNEL_INL_H_
#endif

#include <algorithm>

#include "hwy/cache_control.h"
#include "kernels/matmul_decode_k-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

// Register tile: kRows weight rows x kTokens activation rows. 24 + 6 + 1 of 32 registers, or 12 + 3
// + 1 of 16.
constexpr size_t kTokens = 4;
#if HWY_TARGET == HWY_AVX2
constexpr size_t kRows = 3;
#else
constexpr size_t kRows = 6;
#endif

// Elements of a row that are decoded into the L1 tile at a time, at most.
constexpr size_t kMaxSlab = 1024;
// Row stride of the tile; not a multiple of 4 KiB, where stores would be taken for the loads of
// other rows.
constexpr size_t kTileStride = kMaxSlab + 16;
constexpr size_t kTileFloats = kRows * kTileStride;

constexpr size_t RoundUp(size_t n, size_t to) { return (n + to - 1) / to * to; }

// sums[i] = the sum of the lanes of v[i], i < 4, always added in the same order.
HWY_INLINE void SumLanes(VF a, VF b, VF c, VF d, float* HWY_RESTRICT sums) {
#if HWY_TARGET == HWY_SCALAR
  sums[0] = hn::GetLane(a);
  sums[1] = hn::GetLane(b);
  sums[2] = hn::GetLane(c);
  sums[3] = hn::GetLane(d);
#else
  const DF df;
  const hn::Repartition<double, DF> d64;
  // Per 128-bit block: a0+a2 b0+b2 a1+a3 b1+b3
  const VF ab = hn::Add(hn::InterleaveLower(df, a, b), hn::InterleaveUpper(df, a, b));
  const VF cd = hn::Add(hn::InterleaveLower(df, c, d), hn::InterleaveUpper(df, c, d));
  const auto ab64 = hn::BitCast(d64, ab), cd64 = hn::BitCast(d64, cd);
  const VF even = hn::BitCast(df, hn::InterleaveLower(d64, ab64, cd64));
  const VF odd = hn::BitCast(df, hn::InterleaveUpper(d64, ab64, cd64));
  const VF blocks = hn::Add(even, odd);  // per block: its sums of a, b, c, d
#if HWY_TARGET == HWY_AVX3
  const hn::Half<DF> d8;
  const hn::Half<decltype(d8)> d4;
  const auto halves = hn::Add(hn::LowerHalf(d8, blocks), hn::UpperHalf(d8, blocks));
  hn::StoreU(hn::Add(hn::LowerHalf(d4, halves), hn::UpperHalf(d4, halves)), d4, sums);
#elif HWY_TARGET == HWY_AVX2
  const hn::Half<DF> d4;
  hn::StoreU(hn::Add(hn::LowerHalf(d4, blocks), hn::UpperHalf(d4, blocks)), d4, sums);
#else
  static_assert(kLanes == 4);
  hn::StoreU(blocks, df, sums);
#endif
#endif
}

// Prefetches may point past the end of a buffer: they do not fault.
HWY_INLINE void PrefetchToL2(const uint8_t* p) { __builtin_prefetch(p, 0, 2); }

// ---- decoding into a buffer

// out[0, n) = elements of the blocks at `in`; n a multiple of the block.
template <class D>
HWY_NOINLINE void DecodeBlocks(const uint8_t* in, size_t n, float* HWY_RESTRICT out) {
  HWY_ALIGN float s[kScaleSlots], m[kScaleSlots];
  for (size_t begin = 0; begin < n; begin += kScaleChunk) {
    const size_t blocks = std::min(kScaleChunk, n - begin) / D::kBlock;
    D::Scales(in, blocks, s, m);
    size_t group = 0;
    for (size_t b = 0; b < blocks; ++b, in += D::kBytes) {
      for (size_t u = 0; u < D::kBlock / D::kUnit; ++u, group += D::kUnit / D::kGroup) {
        const typename D::Unit unit(in, u, s + group, m + group);
#pragma GCC unroll 16
        for (size_t j = 0; j < D::kUnit; j += kLanes, out += kLanes)
          hn::StoreU(unit.At(j), DF(), out);
      }
    }
  }
}

// The last n % kLanes elements of a plain row, zeros above.
template <class P>
HWY_INLINE VF PlainTail(const uint8_t* in, size_t count) {
  HWY_ALIGN uint8_t bytes[kLanes * P::kBytes] = {};
  std::memcpy(bytes, in, count * P::kBytes);
  return P::At(bytes);
}

// The same for plain types and any n; out has room for whole vectors.
template <class P>
HWY_NOINLINE void DecodePlain(const uint8_t* in, size_t n, float* HWY_RESTRICT out) {
  size_t k = 0;
  for (; k + kLanes <= n; k += kLanes) hn::StoreU(P::At(in + k * P::kBytes), DF(), out + k);
  if (k < n) hn::StoreU(PlainTail<P>(in + k * P::kBytes, n - k), DF(), out + k);
}

// ---- few tokens: decode and multiply in registers

constexpr size_t kStreamRows =
    4;  // rows in flight: hides the latency of the one chain of sums per row
constexpr size_t kStreamTokens = 2;  // most tokens served so; with more the tile is faster

// sums[c * kStreamRows + r] = row r . token c; x packed in one group of C tokens. The bytes `ahead`
// of those in use are prefetched: the rows that come next, for the hardware's own prefetcher starts
// anew with each row.
template <class D, size_t C>
HWY_NOINLINE void StreamBlocks(const uint8_t* const* rows, size_t K, size_t ahead,
                               const float* HWY_RESTRICT x, float* HWY_RESTRICT sums) {
  const DF d;
  HWY_ALIGN float s[kStreamRows][kScaleSlots], m[kStreamRows][kScaleSlots];
  VF acc[C][kStreamRows];
#pragma GCC unroll 4
  for (size_t c = 0; c < C; ++c)
#pragma GCC unroll 4
    for (size_t r = 0; r < kStreamRows; ++r) acc[c][r] = hn::Zero(d);
  const uint8_t* in[kStreamRows];
  for (size_t r = 0; r < kStreamRows; ++r) in[r] = rows[r];
  for (size_t k = 0; k < K; k += kScaleChunk) {
    const size_t blocks = std::min(kScaleChunk, K - k) / D::kBlock;
    for (size_t r = 0; r < kStreamRows; ++r) D::Scales(in[r], blocks, s[r], m[r]);
    size_t group = 0;
    for (size_t b = 0; b < blocks; ++b) {
      for (size_t u = 0; u < D::kBlock / D::kUnit; ++u, group += D::kUnit / D::kGroup) {
#pragma GCC unroll 4
        for (size_t r = 0; r < kStreamRows; ++r) {
          const uint8_t* next = in[r] + u * (D::kBytes * D::kUnit / D::kBlock) + ahead;
          for (size_t i = 0; i < D::kBytes * D::kUnit / D::kBlock; i += 64) PrefetchToL2(next + i);
          const typename D::Unit unit(in[r], u, s[r] + group, m[r] + group);
#pragma GCC unroll 16
          for (size_t j = 0; j < D::kUnit; j += kLanes) {
            const VF w = unit.At(j);
#pragma GCC unroll 4
            for (size_t c = 0; c < C; ++c)
              acc[c][r] = hn::MulAdd(w, hn::LoadU(d, x + j * C + c * kLanes), acc[c][r]);
          }
        }
        x += D::kUnit * C;
      }
#pragma GCC unroll 4
      for (size_t r = 0; r < kStreamRows; ++r) in[r] += D::kBytes;
    }
  }
#pragma GCC unroll 4
  for (size_t c = 0; c < C; ++c)
    SumLanes(acc[c][0], acc[c][1], acc[c][2], acc[c][3], sums + c * kStreamRows);
}

template <class P, size_t C>
HWY_NOINLINE void StreamPlain(const uint8_t* const* rows, size_t K, size_t ahead,
                              const float* HWY_RESTRICT x, float* HWY_RESTRICT sums) {
  const DF d;
  VF acc[C][kStreamRows];
#pragma GCC unroll 4
  for (size_t c = 0; c < C; ++c)
#pragma GCC unroll 4
    for (size_t r = 0; r < kStreamRows; ++r) acc[c][r] = hn::Zero(d);
  size_t k = 0;
  for (; k + kLanes <= K; k += kLanes, x += C * kLanes) {
#pragma GCC unroll 4
    for (size_t r = 0; r < kStreamRows; ++r) {
      const VF w = P::At(rows[r] + k * P::kBytes);
      PrefetchToL2(rows[r] + k * P::kBytes + ahead);
#pragma GCC unroll 4
      for (size_t c = 0; c < C; ++c)
        acc[c][r] = hn::MulAdd(w, hn::LoadU(d, x + c * kLanes), acc[c][r]);
    }
  }
  if (k < K) {
#pragma GCC unroll 4
    for (size_t r = 0; r < kStreamRows; ++r) {
      const VF w = PlainTail<P>(rows[r] + k * P::kBytes, K - k);
#pragma GCC unroll 4
      for (size_t c = 0; c < C; ++c)
        acc[c][r] = hn::MulAdd(w, hn::LoadU(d, x + c * kLanes), acc[c][r]);
    }
  }
#pragma GCC unroll 4
  for (size_t c = 0; c < C; ++c)
    SumLanes(acc[c][0], acc[c][1], acc[c][2], acc[c][3], sums + c * kStreamRows);
}

// ---- many tokens: rows decoded into an L1 tile, register tiles over it

// Adds the products of n elements (whole vectors) of kRows rows of `tile` and C tokens of the group
// at `x` to the sums at `acc` ([C][kRows] vectors; begun at zero when is_first). When is_last they
// are not stored but summed: sums[c * kRows + r].
template <size_t C>
HWY_NOINLINE void MultiplyTile(const float* HWY_RESTRICT tile, const float* HWY_RESTRICT x,
                               size_t n, bool is_first, bool is_last,
                               float* HWY_RESTRICT acc_memory, float* HWY_RESTRICT sums) {
  const DF d;
  VF acc[C][kRows];
  if (is_first) {
#pragma GCC unroll 4
    for (size_t c = 0; c < C; ++c)
#pragma GCC unroll 6
      for (size_t r = 0; r < kRows; ++r) acc[c][r] = hn::Zero(d);
  } else {
#pragma GCC unroll 4
    for (size_t c = 0; c < C; ++c)
#pragma GCC unroll 6
      for (size_t r = 0; r < kRows; ++r)
        acc[c][r] = hn::LoadU(d, acc_memory + (c * kRows + r) * kLanes);
  }
  for (size_t k = 0; k < n; k += kLanes, x += C * kLanes) {
    VF w[kRows];
#pragma GCC unroll 6
    for (size_t r = 0; r < kRows; ++r) w[r] = hn::LoadU(d, tile + r * kTileStride + k);
#pragma GCC unroll 4
    for (size_t c = 0; c < C; ++c) {
      const VF token = hn::LoadU(d, x + c * kLanes);
      hwy::Prefetch(x +
                    (C * 4 + c) * kLanes);  // L2 to L1: 160 -> 170 GFLOP/s; 8 or 16 ahead the same
#pragma GCC unroll 6
      for (size_t r = 0; r < kRows; ++r) acc[c][r] = hn::MulAdd(w[r], token, acc[c][r]);
    }
  }
  if (!is_last) {
#pragma GCC unroll 4
    for (size_t c = 0; c < C; ++c)
#pragma GCC unroll 6
      for (size_t r = 0; r < kRows; ++r)
        hn::StoreU(acc[c][r], d, acc_memory + (c * kRows + r) * kLanes);
    return;
  }
  // Four at a time; the last few repeat the last vector.
  constexpr size_t kCount = C * kRows;
  const auto at = [&acc](size_t i) HWY_ATTR {
    const size_t j = i < kCount ? i : kCount - 1;
    return acc[j / kRows][j % kRows];
  };
#pragma GCC unroll 6
  for (size_t i = 0; i < kCount; i += 4) SumLanes(at(i), at(i + 1), at(i + 2), at(i + 3), sums + i);
}

// packed = C rows of x, [n / kLanes][C][kLanes]; stride: floats from row to row; zeros fill the
// last vector.
HWY_INLINE void PackTokens(const float* HWY_RESTRICT x, size_t stride, size_t C, size_t n,
                           float* HWY_RESTRICT packed) {
  const DF d;
  size_t k = 0;
  for (; k + kLanes <= n; k += kLanes)
    for (size_t c = 0; c < C; ++c, packed += kLanes)
      hn::StoreU(hn::LoadU(d, x + c * stride + k), d, packed);
  if (k == n) return;
  for (size_t c = 0; c < C; ++c, packed += kLanes)
    for (size_t l = 0; l < kLanes; ++l) packed[l] = k + l < n ? x[c * stride + k + l] : 0.0f;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#endif  // PLANISH_KERNELS_MATMUL_KERNEL_INL_H_
