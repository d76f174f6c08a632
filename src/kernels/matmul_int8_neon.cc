// SPDX-License-Identifier: Apache-2.0
// The int8 product on 64-bit Arm: plain NEON, dot products of four (Armv8.2) and 2 x 8 by 8 x 2 products (i8mm, Armv8.6).
// Codes are taken as signed: 8-bit codes less their zero of 128, look-up codes as their values; so only the zero 8 of small
// codes is in the starts of the sums. A "vector" is the 16 rows of a load, in four registers.
#include "kernels/matmul_int8_kernels.h"

#if defined(__aarch64__)
#include <arm_neon.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

namespace planish {
namespace {

// What the three levels share.
struct NeonOps {
  static constexpr size_t kVectors = 1;
  static constexpr size_t kTileBlocks = 1;
  struct Bytes {
    uint8x16_t v[4];
  };
  struct Codes {
    int8x16_t v[4];
  };
  struct Ints {
    int32x4_t v[4];
  };
  struct Floats {
    float32x4_t v[4];
  };
  using Table = int8x16_t;

  static Table LoadTable(const int8_t* table) {
    return table == nullptr ? vdupq_n_s8(0) : vld1q_s8(table);
  }
  static Bytes Load(const uint8_t* p) {
    return {{vld1q_u8(p), vld1q_u8(p + 16), vld1q_u8(p + 32), vld1q_u8(p + 48)}};
  }
  template <class Kind>
  static int8x16_t Code(uint8x16_t code, Table table) {
    return Kind::kTable ? vqtbl1q_s8(table, code) : vreinterpretq_s8_u8(code);
  }
  template <class Kind>
  static Codes Low(const Bytes& both, Table table) {
    const uint8x16_t mask = vdupq_n_u8(15);
    return {{Code<Kind>(vandq_u8(both.v[0], mask), table),
             Code<Kind>(vandq_u8(both.v[1], mask), table),
             Code<Kind>(vandq_u8(both.v[2], mask), table),
             Code<Kind>(vandq_u8(both.v[3], mask), table)}};
  }
  template <class Kind>
  static Codes High(const Bytes& both, Table table) {
    return {
        {Code<Kind>(vshrq_n_u8(both.v[0], 4), table), Code<Kind>(vshrq_n_u8(both.v[1], 4), table),
         Code<Kind>(vshrq_n_u8(both.v[2], 4), table), Code<Kind>(vshrq_n_u8(both.v[3], 4), table)}};
  }
  static Codes Whole(const Bytes& codes) {
    const uint8x16_t zero = vdupq_n_u8(128);
    return {{vreinterpretq_s8_u8(veorq_u8(codes.v[0], zero)),
             vreinterpretq_s8_u8(veorq_u8(codes.v[1], zero)),
             vreinterpretq_s8_u8(veorq_u8(codes.v[2], zero)),
             vreinterpretq_s8_u8(veorq_u8(codes.v[3], zero))}};
  }
  static void StoreBytes(uint8_t* p, const Codes& codes) {
    for (size_t i = 0; i < 4; ++i) vst1q_u8(p + 16 * i, vreinterpretq_u8_s8(codes.v[i]));
  }
  static Codes LoadCodes(const uint8_t* p) {
    const auto* codes = reinterpret_cast<const int8_t*>(p);
    return {{vld1q_s8(codes), vld1q_s8(codes + 16), vld1q_s8(codes + 32), vld1q_s8(codes + 48)}};
  }
  static int8x16_t Broadcast(const int8_t* four) {
    int32_t bits;
    std::memcpy(&bits, four, 4);
    return vreinterpretq_s8_s32(vdupq_n_s32(bits));
  }

  static Floats Zero() {
    const float32x4_t zero = vdupq_n_f32(0);
    return {{zero, zero, zero, zero}};
  }
  static float Set(float v) { return v; }
  static Floats LoadFloats(const float* p) {
    return {{vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)}};
  }
  static void Store(float* p, const Floats& v) {
    for (size_t i = 0; i < 4; ++i) vst1q_f32(p + 4 * i, v.v[i]);
  }
  static Floats LoadHalf(const uint8_t* p) {
    const float16x8_t low = vreinterpretq_f16_u8(vld1q_u8(p));
    const float16x8_t high = vreinterpretq_f16_u8(vld1q_u8(p + 16));
    return {{vcvt_f32_f16(vget_low_f16(low)), vcvt_high_f32_f16(low),
             vcvt_f32_f16(vget_low_f16(high)), vcvt_high_f32_f16(high)}};
  }
  static Floats Convert(const Ints& sum) {
    return {{vcvtq_f32_s32(sum.v[0]), vcvtq_f32_s32(sum.v[1]), vcvtq_f32_s32(sum.v[2]),
             vcvtq_f32_s32(sum.v[3])}};
  }
  static Floats Mul(const Floats& a, float b) {
    return {{vmulq_n_f32(a.v[0], b), vmulq_n_f32(a.v[1], b), vmulq_n_f32(a.v[2], b),
             vmulq_n_f32(a.v[3], b)}};
  }
  static Floats MulAdd(const Floats& a, const Floats& b, const Floats& c) {
    return {{vfmaq_f32(c.v[0], a.v[0], b.v[0]), vfmaq_f32(c.v[1], a.v[1], b.v[1]),
             vfmaq_f32(c.v[2], a.v[2], b.v[2]), vfmaq_f32(c.v[3], a.v[3], b.v[3])}};
  }
  static Floats NegMulAdd(const Floats& a, float b, const Floats& c) {
    const float32x4_t all = vdupq_n_f32(b);
    return {{vfmsq_f32(c.v[0], a.v[0], all), vfmsq_f32(c.v[1], a.v[1], all),
             vfmsq_f32(c.v[2], a.v[2], all), vfmsq_f32(c.v[3], a.v[3], all)}};
  }
};

// The sums of this kind start at -8 * (sum of the activations).
template <class Kind>
constexpr bool kHasStart = Kind::kSmallCodes && !Kind::kMin;

}  // namespace

namespace neon {
namespace {

struct Ops : NeonOps {
  static constexpr size_t kStreamTokens = 2;
  static constexpr size_t kTileTokens = 2;

  template <class Kind>
  struct Sum {
    // Small codes: the eight products of a lane fit 16 bits (8 * 15 * 127 < 2^15). Others widen at once.
    using Lanes = std::conditional_t<Kind::kSmallCodes, int16x8_t, int32x4_t>;
    Lanes low[4], high[4];  // rows 4 i and 4 i + 1; rows 4 i + 2 and 4 i + 3
    void Start(const int32_t*) { std::memset(this, 0, sizeof *this); }
    void Add(const Codes& w, int8x16_t a) {
      for (size_t i = 0; i < 4; ++i) {
        if constexpr (Kind::kSmallCodes) {
          low[i] = vmlal_s8(low[i], vget_low_s8(w.v[i]), vget_low_s8(a));
          high[i] = vmlal_high_s8(high[i], w.v[i], a);
        } else {
          low[i] = vpadalq_s16(low[i], vmull_s8(vget_low_s8(w.v[i]), vget_low_s8(a)));
          high[i] = vpadalq_s16(high[i], vmull_high_s8(w.v[i], a));
        }
      }
    }
    Floats Value(const int32_t* start) const {
      const int32x4_t first = vdupq_n_s32(kHasStart<Kind> ? *start : 0);
      Ints sum;
      for (size_t i = 0; i < 4; ++i) {
        if constexpr (Kind::kSmallCodes)
          sum.v[i] = vpaddq_s32(vpaddlq_s16(low[i]), vpaddlq_s16(high[i]));
        else
          sum.v[i] = vpaddq_s32(low[i], high[i]);
        sum.v[i] = vaddq_s32(sum.v[i], first);
      }
      return Convert(sum);
    }
  };
};

#include "kernels/matmul_int8-inl.h"
#include "kernels/matmul_int8_dot-inl.h"

}  // namespace
}  // namespace neon
}  // namespace planish

#pragma GCC push_options
#pragma GCC target("arch=armv8.2-a+dotprod")
namespace planish {
namespace dotprod {
namespace {

struct Ops : NeonOps {
  static constexpr size_t kStreamTokens = 4;  // 16 registers of sums, 8 of codes
  static constexpr size_t kTileTokens = 4;

  template <class Kind>
  struct Sum {
    Ints sum;
    void Start(const int32_t* start) {
      const int32x4_t first = vdupq_n_s32(kHasStart<Kind> ? *start : 0);
      sum = {{first, first, first, first}};
    }
    void Add(const Codes& w, int8x16_t a) {
      sum = {{vdotq_s32(sum.v[0], w.v[0], a), vdotq_s32(sum.v[1], w.v[1], a),
              vdotq_s32(sum.v[2], w.v[2], a), vdotq_s32(sum.v[3], w.v[3], a)}};
    }
    Floats Value(const int32_t*) const { return Convert(sum); }
  };
};

#include "kernels/matmul_int8-inl.h"
#include "kernels/matmul_int8_dot-inl.h"

}  // namespace
}  // namespace dotprod
}  // namespace planish
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("arch=armv8.2-a+dotprod+i8mm")
namespace planish {
namespace i8mm {
namespace {

using Ops = dotprod::Ops;

#include "kernels/matmul_int8-inl.h"
#include "kernels/matmul_int8_dot-inl.h"

constexpr size_t kOctets = kPackedGroup / 8;
constexpr size_t kOctetBytes = 8 * kPackedRows;

// From [8 fours of k][16 rows][4] to [4 eights of k][16 rows][8], in place: what smmla takes two rows of.
template <class Kind>
void Zip(uint8_t* wide, size_t groups) {
  for (size_t g = 0; g < groups; ++g, wide += kWideBytes<Kind>) {
    for (size_t o = 0; o < kOctets; ++o) {
      uint8_t* octet = wide + o * kOctetBytes;
      uint32x4_t first[4], second[4];
      for (size_t i = 0; i < 4; ++i) {
        first[i] = vreinterpretq_u32_u8(vld1q_u8(octet + 16 * i));
        second[i] = vreinterpretq_u32_u8(vld1q_u8(octet + 64 + 16 * i));
      }
      for (size_t i = 0; i < 4; ++i) {
        vst1q_u8(octet + 32 * i, vreinterpretq_u8_u32(vzip1q_u32(first[i], second[i])));
        vst1q_u8(octet + 32 * i + 16, vreinterpretq_u8_u32(vzip2q_u32(first[i], second[i])));
      }
    }
  }
}

inline int8x16_t AsBytes(int64x2_t v) { return vreinterpretq_s8_s64(v); }

// sums [token][16] += the products of one zipped row block with tokens [first, first + M) of the panel. Four rows at a time:
// M sums in registers beside the activations of a group.
template <class Kind, size_t M>
void MultiplyZipped(const uint8_t* wide, size_t groups, const Int8Panel& x, size_t first,
                    float* sums) {
  constexpr size_t kPairs = M / 2;
  const int8_t* codes = x.codes + 32 * first;
  sums += first * kPackedRows;
  for (size_t g = 0; g < groups; ++g, wide += kWideBytes<Kind>, codes += 32 * x.height) {
    int8x16_t a[kPairs][kOctets];  // two tokens x 8 k
#pragma GCC unroll 4
    for (size_t p = 0; p < kPairs; ++p) {
#pragma GCC unroll 2
      for (size_t h = 0; h < 2; ++h) {
        const int8_t* at = codes + 64 * p + 16 * h;
        const int64x2_t even = vreinterpretq_s64_s8(vld1q_s8(at));
        const int64x2_t odd = vreinterpretq_s64_s8(vld1q_s8(at + 32));
        a[p][2 * h] = AsBytes(vzip1q_s64(even, odd));
        a[p][2 * h + 1] = AsBytes(vzip2q_s64(even, odd));
      }
    }
    const auto* floats = reinterpret_cast<const float*>(wide + 512);
    for (size_t s = 0; s < Kind::kScales; ++s) {
      const int32_t* start = StartOf<Kind>(x, g, s);
      for (size_t r = 0; r < kPackedRows; r += 4) {
        int32x4_t acc[kPairs][2];  // [token pair][row pair]: token, row 00 01 10 11
#pragma GCC unroll 4
        for (size_t p = 0; p < kPairs; ++p) {
          acc[p][0] = vdupq_n_s32(0);
          if constexpr (kHasStart<Kind>)
            acc[p][0] = vcombine_s32(vdup_n_s32(start[first + 2 * p]),
                                     vdup_n_s32(start[first + 2 * p + 1]));
          acc[p][1] = acc[p][0];
        }
#pragma GCC unroll 4
        for (size_t i = 0; i < kOctets / Kind::kScales; ++i) {
          const size_t o = s * 2 + i;
#pragma GCC unroll 2
          for (size_t j = 0; j < 2; ++j) {
            const int8x16_t w =
                vreinterpretq_s8_u8(vld1q_u8(wide + o * kOctetBytes + 8 * (r + 2 * j)));
#pragma GCC unroll 4
            for (size_t p = 0; p < kPairs; ++p) acc[p][j] = vmmlaq_s32(acc[p][j], a[p][o], w);
          }
        }
        const float32x4_t scale = vld1q_f32(floats + s * kPackedRows + r);
#pragma GCC unroll 8
        for (size_t m = 0; m < M; ++m) {
          const int64x2_t low = vreinterpretq_s64_s32(acc[m / 2][0]);
          const int64x2_t high = vreinterpretq_s64_s32(acc[m / 2][1]);
          const int32x4_t sum =
              vreinterpretq_s32_s64(m % 2 == 0 ? vzip1q_s64(low, high) : vzip2q_s64(low, high));
          const size_t i = g * x.height + first + m;
          float* at = sums + m * kPackedRows + r;
          float32x4_t result =
              vfmaq_f32(vld1q_f32(at), vcvtq_f32_s32(sum), vmulq_n_f32(scale, x.scales[i]));
          if constexpr (Kind::kMin)
            result = vfmsq_f32(result, vld1q_f32(floats + kPackedRows + r),
                               vdupq_n_f32(x.scaled_sums[i]));
          vst1q_f32(at, result);
        }
      }
    }
  }
}

inline void TileZipped(const Int8Weight& w, size_t begin, size_t end, const Int8Rows& x,
                       size_t first, size_t last, uint8_t* workspace, float* y) noexcept {
  WithKind(w.format, [&](auto kind) {
    using Kind = decltype(kind);
    TileBlocks<Kind>(
        w, begin, end, x, first, last, workspace, y,
        [](const uint8_t* wide, size_t stride, size_t blocks, size_t groups, const Int8Panel& panel,
           size_t tokens, float* sums, size_t sum_stride) {
          for (size_t b = 0; b < blocks; ++b, wide += stride, sums += sum_stride) {
            size_t t = 0;
            for (; t + 4 < tokens; t += 8) MultiplyZipped<Kind, 8>(wide, groups, panel, t, sums);
            if (t < tokens) MultiplyZipped<Kind, 4>(wide, groups, panel, t, sums);
          }
        },
        Zip<Kind>);
  });
}

}  // namespace
}  // namespace i8mm
}  // namespace planish
#pragma GCC pop_options

namespace planish {

const Int8Kernels kInt8Neon = {neon::Ops::kStreamTokens, 2 * neon::Ops::kStreamTokens + 1, 16,
                               neon::Stream, neon::Tile};
const Int8Kernels kInt8Dotprod = {dotprod::Ops::kStreamTokens, 2 * dotprod::Ops::kStreamTokens + 1,
                                  16, dotprod::Stream, dotprod::Tile};
// Few tokens: a weight is read once from memory, which dot products keep up with.
const Int8Kernels kInt8I8mm = {dotprod::Ops::kStreamTokens, 2 * dotprod::Ops::kStreamTokens + 1, 16,
                               dotprod::Stream, i8mm::TileZipped};

}  // namespace planish
#endif
