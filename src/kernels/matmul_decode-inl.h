// SPDX-License-Identifier: Apache-2.0
// SIMD decoding of every stored weight type to floats, bit-identical to tensor/blocks.h
// DequantizeRow. A decoder is a type with
//   kBlock, kBytes  elements and bytes of a block as stored
//   kUnit           elements decoded by one Unit (a divisor of kBlock)
//   kGroup          elements that share a scale
//   Scales(block, count, s, m)  writes the scale and minimum of each group of `count` blocks, so that
//                   the inner loops take them by a broadcast load instead of converting F16 in line
//   Unit(block, u, s, m)  unit u of a block; s, m: of its first group
//   Unit::At(j)     elements j .. j + kLanes - 1 of the unit, in stored order
// x = s q + m. The products s q are exact in float (11 + 7 + 6 bits at most), so a fused
// multiply-add rounds like the product and sum of the reference; m is stored negated where the
// format subtracts. Included by matmul.cc once per target.
#if defined(PLANISH_KERNELS_MATMUL_DECODE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PLANISH_KERNELS_MATMUL_DECODE_INL_H_
#undef PLANISH_KERNELS_MATMUL_DECODE_INL_H_
#else
#define PLANISH_KERNELS_MATMUL_DECODE_INL_H_
#endif

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "hwy/highway.h"
#include "tensor/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::ScalableTag<float>;
using DI = hn::RebindToSigned<DF>;
using DU = hn::RebindToUnsigned<DF>;
using VF = hn::Vec<DF>;
using VI = hn::Vec<DI>;
constexpr size_t kLanes = hn::MaxLanes(DF());

// Elements whose scales are prepared at a time, and the arrays that hold them (groups of >= 16).
constexpr size_t kScaleChunk = 512;
constexpr size_t kScaleSlots = kScaleChunk / 16;

// ---- pieces

HWY_INLINE VI BytesAt(const uint8_t* p) {
  return hn::PromoteTo(DI(), hn::LoadU(hn::Rebind<uint8_t, DI>(), p));
}
HWY_INLINE VI SignedBytesAt(const uint8_t* p) {
  return hn::PromoteTo(DI(),
                       hn::LoadU(hn::Rebind<int8_t, DI>(), reinterpret_cast<const int8_t*>(p)));
}
HWY_INLINE VI And(VI v, int mask) { return hn::And(v, hn::Set(DI(), mask)); }

// v >> bits for a count that is constant after unrolling.
HWY_INLINE VI ShiftRightBy(VI v, size_t bits) {
  switch (bits) {
    case 0:
      return v;
    case 2:
      return hn::ShiftRight<2>(v);
    case 4:
      return hn::ShiftRight<4>(v);
    default:
      return hn::ShiftRight<6>(v);
  }
}

HWY_INLINE VF Scaled(VI q, VF s) { return hn::Mul(hn::ConvertTo(DF(), q), s); }

#if HWY_TARGET == HWY_SCALAR
HWY_INLINE float HalfAt(const uint8_t* p) {
  uint16_t bits;
  std::memcpy(&bits, p, sizeof bits);
  return FloatFromF16(bits);
}
HWY_INLINE VF HalvesAt(const uint16_t* p) { return hn::Set(DF(), FloatFromF16(*p)); }
#else
HWY_INLINE float HalfAt(const uint8_t* p) {
  uint16_t bits;
  std::memcpy(&bits, p, sizeof bits);
  const hn::CappedTag<float, 4> d;
  const hn::Rebind<hwy::float16_t, decltype(d)> d16;
  return hn::GetLane(
      hn::PromoteTo(d, hn::BitCast(d16, hn::Set(hn::RebindToUnsigned<decltype(d16)>(), bits))));
}
HWY_INLINE VF HalvesAt(const uint16_t* p) {
  return hn::PromoteTo(DF(), hn::LoadU(hn::Rebind<hwy::float16_t, DF>(),
                                       reinterpret_cast<const hwy::float16_t*>(p)));
}
#endif

// s[i] = the F16 at in + i * stride, m[i] = the one after it (if kPairs), i < count. count is 1 to
// 16, s and m have room for 16; stride >= 4. AVX-512 gathers: storing halves one by one and loading
// them as a vector stalls for the stores (2.5 cycles a block instead of 0.6).
template <bool kPairs>
HWY_INLINE void GatherHalves(const uint8_t* in, size_t stride, size_t count, float* s, float* m) {
#if HWY_TARGET == HWY_AVX3
  const DI d;
  const hn::Rebind<uint16_t, DF> d16;
  const hn::Rebind<hwy::float16_t, DF> half;
  const VI index = hn::Min(hn::Iota(d, 0), hn::Set(d, static_cast<int32_t>(count - 1)));
  const VI offset = hn::Mul(index, hn::Set(d, static_cast<int32_t>(stride)));
  const auto words =
      hn::BitCast(DU(), hn::GatherOffset(d, reinterpret_cast<const int32_t*>(in), offset));
  const auto low = hn::DemoteTo(d16, hn::BitCast(d, hn::And(words, hn::Set(DU(), 0xFFFFu))));
  hn::Store(hn::PromoteTo(DF(), hn::BitCast(half, low)), DF(), s);
  if (kPairs) {
    const auto high = hn::DemoteTo(d16, hn::BitCast(d, hn::ShiftRight<16>(words)));
    hn::Store(hn::PromoteTo(DF(), hn::BitCast(half, high)), DF(), m);
  }
#else
  HWY_ALIGN uint16_t first[16] = {}, second[16] = {};
  for (size_t i = 0; i < count; ++i) std::memcpy(first + i, in + i * stride, 2);
  if (kPairs)
    for (size_t i = 0; i < count; ++i) std::memcpy(second + i, in + i * stride + 2, 2);
  for (size_t i = 0; i < 16; i += kLanes) {
    hn::StoreU(HalvesAt(first + i), DF(), s + i);
    if (kPairs) hn::StoreU(HalvesAt(second + i), DF(), m + i);
  }
#endif
}

// out[i] = codes[i] * d, in[i] a byte; n a multiple of 8.
HWY_INLINE void ScaleBytes(const uint8_t* codes, size_t n, float d, float* out) {
  const hn::CappedTag<float, 8> d8;
  const hn::RebindToSigned<decltype(d8)> di;
  for (size_t i = 0; i < n; i += hn::MaxLanes(d8)) {
    const auto q = hn::PromoteTo(di, hn::LoadU(hn::Rebind<uint8_t, decltype(d8)>(), codes + i));
    hn::StoreU(hn::Mul(hn::ConvertTo(d8, q), hn::Set(d8, d)), d8, out + i);
  }
}

// Values of 4-bit codes, s (q + kZero) + m. AVX-512 looks them up in a register of all 16 values
// (vpermps reads the low 4 bits of each lane, so low nibbles need no mask); others compute.
template <int kZero, bool kHasMin>
class LinearNibbles {
 public:
#if HWY_TARGET == HWY_AVX3
  HWY_INLINE LinearNibbles(const float* s, const float* m) {
    const VF codes = hn::Iota(DF(), static_cast<float>(kZero));
    table_ = kHasMin ? hn::MulAdd(codes, hn::Set(DF(), *s), hn::Set(DF(), *m))
                     : hn::Mul(codes, hn::Set(DF(), *s));
  }
  HWY_INLINE VF Low(const uint8_t* p) const { return Lookup(BytesAt(p)); }
  HWY_INLINE VF High(const uint8_t* p) const { return Lookup(hn::ShiftRight<4>(BytesAt(p))); }

 private:
  HWY_INLINE VF Lookup(VI index) const {
    return hn::TableLookupLanes(table_, hn::Indices512<float>{index.raw});
  }
  VF table_;
#else
  HWY_INLINE LinearNibbles(const float* s, const float* m)
      : s_(hn::Set(DF(), *s)), m_(hn::Set(DF(), kHasMin ? *m : 0.0f)) {}
  HWY_INLINE VF Low(const uint8_t* p) const { return Value(And(BytesAt(p), 15)); }
  HWY_INLINE VF High(const uint8_t* p) const { return Value(hn::ShiftRight<4>(BytesAt(p))); }

 private:
  HWY_INLINE VF Value(VI q) const {
    if (kZero != 0) q = hn::Add(q, hn::Set(DI(), kZero));
    const VF value = hn::ConvertTo(DF(), q);
    return kHasMin ? hn::MulAdd(value, s_, m_) : hn::Mul(value, s_);
  }
  VF s_, m_;
#endif
};

HWY_ALIGN constexpr int8_t kIq4Codes[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                            1,    13,   25,  38,  53,  69,  89,  113};
HWY_ALIGN constexpr int8_t kMxfp4Codes[16] = {0, 1,  2,  3,  4,  6,  8,  12,
                                              0, -1, -2, -3, -4, -6, -8, -12};

// Values of 4-bit codes, s codes[q].
class CodebookNibbles {
 public:
#if HWY_TARGET == HWY_AVX3
  HWY_INLINE CodebookNibbles(const int8_t* codes, const float* s)
      : table_(Scaled(SignedBytesAt(reinterpret_cast<const uint8_t*>(codes)), hn::Set(DF(), *s))) {}
  HWY_INLINE VF Low(const uint8_t* p) const { return Lookup(BytesAt(p)); }
  HWY_INLINE VF High(const uint8_t* p) const { return Lookup(hn::ShiftRight<4>(BytesAt(p))); }

 private:
  HWY_INLINE VF Lookup(VI index) const {
    return hn::TableLookupLanes(table_, hn::Indices512<float>{index.raw});
  }
  VF table_;
#elif HWY_TARGET == HWY_SCALAR
  HWY_INLINE CodebookNibbles(const int8_t* codes, const float* s) : codes_(codes), s_(*s) {}
  HWY_INLINE VF Low(const uint8_t* p) const { return Value(*p & 15); }
  HWY_INLINE VF High(const uint8_t* p) const { return Value(*p >> 4); }

 private:
  HWY_INLINE VF Value(int q) const { return hn::Set(DF(), s_ * static_cast<float>(codes_[q])); }
  const int8_t* codes_;
  float s_;
#else
  HWY_INLINE CodebookNibbles(const int8_t* codes, const float* s)
      : codes_(hn::LoadU(hn::Full128<int8_t>(), codes)), s_(hn::Set(DF(), *s)) {}
  HWY_INLINE VF Low(const uint8_t* p) const {
    const DB d;
    return Value(hn::And(hn::LoadU(d, p), hn::Set(d, 15)));
  }
  HWY_INLINE VF High(const uint8_t* p) const {
    return Value(hn::ShiftRight<4>(hn::LoadU(DB(), p)));
  }

 private:
  using DB = hn::Rebind<uint8_t, DF>;
  HWY_INLINE VF Value(hn::Vec<DB> q) const {
    const hn::RebindToSigned<DB> d;
    return Scaled(hn::PromoteTo(DI(), hn::TableLookupBytes(codes_, hn::BitCast(d, q))), s_);
  }
  hn::Vec<hn::Full128<int8_t> > codes_;
  VF s_;
#endif
};

// ---- 32 elements a block

template <size_t kBlockBytes>
struct Block32 {
  static constexpr size_t kBlock = 32, kUnit = 32, kGroup = 32, kBytes = kBlockBytes;
  // d is the first F16 of every block, the minimum (if any) the second.
  static HWY_INLINE void Scales(const uint8_t* block, size_t count, float* s, float* m) {
    GatherHalves<false>(block, kBlockBytes, count, s, m);
  }
};

template <size_t kBlockBytes>
struct Block32WithMin : Block32<kBlockBytes> {
  static HWY_INLINE void Scales(const uint8_t* block, size_t count, float* s, float* m) {
    GatherHalves<true>(block, kBlockBytes, count, s, m);
  }
};

struct Q8_0 : Block32<34> {
  struct Unit {
    HWY_INLINE Unit(const uint8_t* block, size_t, const float* scale, const float*)
        : q(block + 2), s(hn::Set(DF(), *scale)) {}
    HWY_INLINE VF At(size_t j) const { return Scaled(SignedBytesAt(q + j), s); }
    const uint8_t* q;
    VF s;
  };
};

struct Q4_0 : Block32<18> {
  struct Unit {
    HWY_INLINE Unit(const uint8_t* block, size_t, const float* s, const float* m)
        : q(block + 2), nibbles(s, m) {}
    HWY_INLINE VF At(size_t j) const {
      return j < 16 ? nibbles.Low(q + j) : nibbles.High(q + j - 16);
    }
    const uint8_t* q;
    LinearNibbles<-8, false> nibbles;
  };
};

struct Q4_1 : Block32WithMin<20> {
  struct Unit {
    HWY_INLINE Unit(const uint8_t* block, size_t, const float* s, const float* m)
        : q(block + 4), nibbles(s, m) {}
    HWY_INLINE VF At(size_t j) const {
      return j < 16 ? nibbles.Low(q + j) : nibbles.High(q + j - 16);
    }
    const uint8_t* q;
    LinearNibbles<0, true> nibbles;
  };
};

// Nibble j of 16 bytes at q with bit j of the 32 at `high` as its fifth bit.
HWY_INLINE VI FiveBits(const uint8_t* q, const uint8_t* high, size_t j) {
  uint32_t bits;
  std::memcpy(&bits, high, sizeof bits);
  const DU d;
  const VI nibble = j < 16 ? And(BytesAt(q + j), 15) : hn::ShiftRight<4>(BytesAt(q + j - 16));
  const auto shifted = hn::Set(d, bits) >> hn::Iota(d, static_cast<uint32_t>(j));
  const auto fifth = hn::ShiftLeft<4>(hn::And(shifted, hn::Set(d, 1u)));
  return hn::Or(nibble, hn::BitCast(DI(), fifth));
}

struct Q5_0 : Block32<22> {
  struct Unit {
    HWY_INLINE Unit(const uint8_t* in, size_t, const float* scale, const float*)
        : block(in), s(hn::Set(DF(), *scale)) {}
    HWY_INLINE VF At(size_t j) const {
      return Scaled(hn::Sub(FiveBits(block + 6, block + 2, j), hn::Set(DI(), 16)), s);
    }
    const uint8_t* block;
    VF s;
  };
};

struct Q5_1 : Block32WithMin<24> {
  struct Unit {
    HWY_INLINE Unit(const uint8_t* in, size_t, const float* scale, const float* min)
        : block(in), s(hn::Set(DF(), *scale)), m(hn::Set(DF(), *min)) {}
    HWY_INLINE VF At(size_t j) const {
      return hn::MulAdd(hn::ConvertTo(DF(), FiveBits(block + 8, block + 4, j)), s, m);
    }
    const uint8_t* block;
    VF s, m;
  };
};

struct IQ4_NL : Block32<18> {
  struct Unit {
    HWY_INLINE Unit(const uint8_t* block, size_t, const float* s, const float*)
        : q(block + 2), nibbles(kIq4Codes, s) {}
    HWY_INLINE VF At(size_t j) const {
      return j < 16 ? nibbles.Low(q + j) : nibbles.High(q + j - 16);
    }
    const uint8_t* q;
    CodebookNibbles nibbles;
  };
};

struct MXFP4 : Block32<17> {
  // Half of the E8M0 power of two, because the codebook holds doubled values.
  static HWY_INLINE void Scales(const uint8_t* block, size_t count, float* s, float*) {
    for (size_t i = 0; i < count; ++i) {
      const uint32_t e = block[i * kBytes];
      s[i] = std::bit_cast<float>(e < 2 ? 0x00200000u << e : (e - 1) << 23);
    }
  }
  struct Unit {
    HWY_INLINE Unit(const uint8_t* block, size_t, const float* s, const float*)
        : q(block + 1), nibbles(kMxfp4Codes, s) {}
    HWY_INLINE VF At(size_t j) const {
      return j < 16 ? nibbles.Low(q + j) : nibbles.High(q + j - 16);
    }
    const uint8_t* q;
    CodebookNibbles nibbles;
  };
};

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#endif  // PLANISH_KERNELS_MATMUL_DECODE_INL_H_
