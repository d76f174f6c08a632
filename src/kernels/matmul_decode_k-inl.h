// SPDX-License-Identifier: Apache-2.0
// Decoders of the 256-element block types and of plain floats; see matmul_decode-inl.h, which must
// be included before. Byte layouts: tensor/blocks_k.cc.
#if defined(PLANISH_KERNELS_MATMUL_DECODE_K_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PLANISH_KERNELS_MATMUL_DECODE_K_INL_H_
#undef PLANISH_KERNELS_MATMUL_DECODE_K_INL_H_
#else
#define PLANISH_KERNELS_MATMUL_DECODE_K_INL_H_
#endif

#include "kernels/matmul_decode-inl.h"

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

struct Q2_K {
  static constexpr size_t kBlock = 256, kUnit = 128, kGroup = 16, kBytes = 84;
  static HWY_INLINE void Scales(const uint8_t* block, size_t count, float* s, float* m) {
    for (size_t b = 0; b < count; ++b, block += kBytes, s += 16, m += 16) {
      uint8_t scale[16], min[16];
      for (size_t i = 0; i < 16; ++i) {
        scale[i] = block[i] & 15;
        min[i] = block[i] >> 4;
      }
      ScaleBytes(scale, 16, HalfAt(block + 80), s);
      ScaleBytes(min, 16, -HalfAt(block + 82), m);
    }
  }
  struct Unit {
    HWY_INLINE Unit(const uint8_t* block, size_t u, const float* scales, const float* mins)
        : q(block + 16 + 32 * u), s(scales), m(mins) {}
    HWY_INLINE VF At(size_t j) const {
      const VI code = And(ShiftRightBy(BytesAt(q + j % 32), j / 32 * 2), 3);
      return hn::MulAdd(hn::ConvertTo(DF(), code), hn::Set(DF(), s[j / 16]),
                        hn::Set(DF(), m[j / 16]));
    }
    const uint8_t* q;
    const float *s, *m;
  };
};

struct Q3_K {
  static constexpr size_t kBlock = 256, kUnit = 128, kGroup = 16, kBytes = 110;
  static HWY_INLINE void Scales(const uint8_t* block, size_t count, float* s, float*) {
    for (size_t b = 0; b < count; ++b, block += kBytes, s += 16) {
      const uint8_t* packed = block + 96;
      const float d = HalfAt(block + 108);
      for (size_t j = 0; j < 16; ++j) {
        const int low = j < 8 ? packed[j] & 15 : packed[j - 8] >> 4;
        const int high = (packed[8 + j % 4] >> (2 * (j / 4))) & 3;
        s[j] = d * static_cast<float>((low | high << 4) - 32);
      }
    }
  }
  struct Unit {
    HWY_INLINE Unit(const uint8_t* block, size_t u, const float* scales, const float*)
        : high(block), q(block + 32 + 32 * u), s(scales), first_bit(static_cast<int>(4 * u)) {}
    HWY_INLINE VF At(size_t j) const {
      const VI low = And(ShiftRightBy(BytesAt(q + j % 32), j / 32 * 2), 3);
      const VI bits =
          hn::ShiftRightSame(BytesAt(high + j % 32), first_bit + static_cast<int>(j / 32));
      const VI third = hn::ShiftLeft<2>(And(bits, 1));
      return Scaled(hn::Sub(hn::Or(low, third), hn::Set(DI(), 4)), hn::Set(DF(), s[j / 16]));
    }
    const uint8_t *high, *q;
    const float* s;
    int first_bit;
  };
};

// Scales and minima of Q4_K and Q5_K: eight of 6 bits each in 12 bytes (see blocks_k.cc), unpacked
// four at a time.
HWY_INLINE void ScalesOfQ4K(const uint8_t* block, float* s, float* m) {
  uint32_t a, b, c;
  std::memcpy(&a, block + 4, 4);
  std::memcpy(&b, block + 8, 4);
  std::memcpy(&c, block + 12, 4);
  uint8_t codes[16];
  const uint32_t words[4] = {a & 0x3F3F3F3Fu, (c & 0x0F0F0F0Fu) | ((a >> 2) & 0x30303030u),
                             b & 0x3F3F3F3Fu, ((c >> 4) & 0x0F0F0F0Fu) | ((b >> 2) & 0x30303030u)};
  std::memcpy(codes, words, sizeof codes);
  ScaleBytes(codes, 8, HalfAt(block), s);
  ScaleBytes(codes + 8, 8, -HalfAt(block + 2), m);
}

struct Q4_K {
  static constexpr size_t kBlock = 256, kUnit = 64, kGroup = 32, kBytes = 144;
  static HWY_INLINE void Scales(const uint8_t* block, size_t count, float* s, float* m) {
    for (size_t b = 0; b < count; ++b) ScalesOfQ4K(block + b * kBytes, s + 8 * b, m + 8 * b);
  }
  struct Unit {
    HWY_INLINE Unit(const uint8_t* block, size_t u, const float* s, const float* m)
        : q(block + 16 + 32 * u), even(s, m), odd(s + 1, m + 1) {}
    HWY_INLINE VF At(size_t j) const { return j < 32 ? even.Low(q + j) : odd.High(q + j - 32); }
    const uint8_t* q;
    LinearNibbles<0, true> even, odd;
  };
};

struct Q5_K {
  static constexpr size_t kBlock = 256, kUnit = 64, kGroup = 32, kBytes = 176;
  static HWY_INLINE void Scales(const uint8_t* block, size_t count, float* s, float* m) {
    for (size_t b = 0; b < count; ++b) ScalesOfQ4K(block + b * kBytes, s + 8 * b, m + 8 * b);
  }
  struct Unit {
    HWY_INLINE Unit(const uint8_t* block, size_t u, const float* scales, const float* mins)
        : high(block + 16),
          q(block + 48 + 32 * u),
          s(scales),
          m(mins),
          bit(static_cast<int>(2 * u)) {}
    HWY_INLINE VF At(size_t j) const {
      const VI byte = BytesAt(q + j % 32);
      const VI nibble = j < 32 ? And(byte, 15) : hn::ShiftRight<4>(byte);
      const VI fifth =
          And(hn::ShiftRightSame(BytesAt(high + j % 32), bit + static_cast<int>(j / 32)), 1);
      const VI code = hn::Or(nibble, hn::ShiftLeft<4>(fifth));
      return hn::MulAdd(hn::ConvertTo(DF(), code), hn::Set(DF(), s[j / 32]),
                        hn::Set(DF(), m[j / 32]));
    }
    const uint8_t *high, *q;
    const float *s, *m;
    int bit;
  };
};

struct Q6_K {
  static constexpr size_t kBlock = 256, kUnit = 128, kGroup = 16, kBytes = 210;
  static HWY_INLINE void Scales(const uint8_t* block, size_t count, float* s, float*) {
    for (size_t b = 0; b < count; ++b, block += kBytes, s += 16) {
      const float d = HalfAt(block + 208);
      for (size_t i = 0; i < 16; ++i)
        s[i] = d * static_cast<float>(static_cast<int8_t>(block[192 + i]));
    }
  }
  struct Unit {
    HWY_INLINE Unit(const uint8_t* block, size_t u, const float* scales, const float*)
        : low(block + 64 * u), high(block + 128 + 32 * u), s(scales) {}
    HWY_INLINE VF At(size_t j) const {
      const size_t k = j / 32, l = j % 32;
      const VI byte = BytesAt(low + k % 2 * 32 + l);
      const VI nibble = k < 2 ? And(byte, 15) : hn::ShiftRight<4>(byte);
      const VI upper = And(ShiftRightBy(BytesAt(high + l), 2 * k), 3);
      const VI code = hn::Or(nibble, hn::ShiftLeft<4>(upper));
      return Scaled(hn::Sub(code, hn::Set(DI(), 32)), hn::Set(DF(), s[j / 16]));
    }
    const uint8_t *low, *high;
    const float* s;
  };
};

struct IQ4_XS {
  static constexpr size_t kBlock = 256, kUnit = 32, kGroup = 32, kBytes = 136;
  static HWY_INLINE void Scales(const uint8_t* block, size_t count, float* s, float*) {
    for (size_t b = 0; b < count; ++b, block += kBytes, s += 8) {
      const float d = HalfAt(block);
      const unsigned high = block[2] | static_cast<unsigned>(block[3]) << 8;
      for (size_t g = 0; g < 8; ++g) {
        const unsigned low = (block[4 + g / 2] >> (4 * (g % 2))) & 15u;
        s[g] = d * static_cast<float>(static_cast<int>(low | ((high >> (2 * g)) & 3u) << 4) - 32);
      }
    }
  }
  struct Unit {
    HWY_INLINE Unit(const uint8_t* block, size_t u, const float* s, const float*)
        : q(block + 8 + 16 * u), nibbles(kIq4Codes, s) {}
    HWY_INLINE VF At(size_t j) const {
      return j < 16 ? nibbles.Low(q + j) : nibbles.High(q + j - 16);
    }
    const uint8_t* q;
    CodebookNibbles nibbles;
  };
};

// ---- plain types: At(p) reads kLanes elements of kBytes each

#if HWY_TARGET == HWY_SCALAR
template <typename T, float (*kConvert)(T)>
struct PlainScalar {
  static constexpr size_t kBytes = sizeof(T);
  static VF At(const uint8_t* p) {
    T bits;
    std::memcpy(&bits, p, sizeof bits);
    return hn::Set(DF(), kConvert(bits));
  }
};
inline float Same(float value) { return value; }
using PlainF32 = PlainScalar<float, Same>;
using PlainF16 = PlainScalar<uint16_t, FloatFromF16>;
using PlainBF16 = PlainScalar<uint16_t, FloatFromBF16>;
using PlainF8E4M3 = PlainScalar<uint8_t, FloatFromF8E4M3>;
using PlainF8E5M2 = PlainScalar<uint8_t, FloatFromF8E5M2>;
#else
struct PlainF32 {
  static constexpr size_t kBytes = 4;
  static HWY_INLINE VF At(const uint8_t* p) {
    return hn::BitCast(DF(), hn::LoadU(hn::Repartition<uint8_t, DF>(), p));
  }
};
struct PlainF16 {
  static constexpr size_t kBytes = 2;
  static HWY_INLINE VF At(const uint8_t* p) {
    HWY_ALIGN uint16_t bits[kLanes];
    std::memcpy(bits, p, sizeof bits);  // `p` may be odd; compiles to the load itself
    return HalvesAt(bits);
  }
};
struct PlainBF16 {
  static constexpr size_t kBytes = 2;
  static HWY_INLINE VF At(const uint8_t* p) {
    const hn::Rebind<uint16_t, DF> d16;
    const hn::Repartition<uint8_t, decltype(d16)> d8;
    const auto bits = hn::PromoteTo(DU(), hn::BitCast(d16, hn::LoadU(d8, p)));
    return hn::BitCast(DF(), hn::ShiftLeft<16>(bits));
  }
};
// Codes moved into the fields of F16, whose conversion handles subnormals at full speed.
HWY_INLINE VF FromHalfBits(hn::Vec<hn::Rebind<uint16_t, DF> > bits) {
  const hn::Rebind<hwy::float16_t, DF> d;
  return hn::PromoteTo(DF(), hn::BitCast(d, bits));
}
struct PlainF8E4M3 {
  static constexpr size_t kBytes = 1;
  // s eeee mmm -> s 0eeee mmm0000000: the exponent bias grows by 8, so the value is 256 times the
  // F16.
  static HWY_INLINE VF At(const uint8_t* p) {
    const hn::Rebind<uint16_t, DF> d16;
    const auto code = hn::PromoteTo(d16, hn::LoadU(hn::Rebind<uint8_t, DF>(), p));
    const auto rest = hn::And(code, hn::Set(d16, 0x7F));
    const auto sign = hn::ShiftLeft<8>(hn::And(code, hn::Set(d16, 0x80)));
    const auto nan =
        hn::And(hn::VecFromMask(d16, hn::Eq(rest, hn::Set(d16, 0x7F))), hn::Set(d16, 0x7C00));
    const auto bits = hn::Or(hn::Or(hn::ShiftLeft<7>(rest), sign), nan);
    return hn::Mul(FromHalfBits(bits), hn::Set(DF(), 256.0f));
  }
};
struct PlainF8E5M2 {
  static constexpr size_t kBytes = 1;
  static HWY_INLINE VF At(const uint8_t* p) {
    const hn::Rebind<uint16_t, DF> d16;
    return FromHalfBits(
        hn::ShiftLeft<8>(hn::PromoteTo(d16, hn::LoadU(hn::Rebind<uint8_t, DF>(), p))));
  }
};
#endif

// Calls visit(decoder) for a block type, or plain(decoder) for a plain type. False for other types.
template <typename Visit, typename Plain>
HWY_INLINE bool WithDecoder(DType dtype, const Visit& visit, const Plain& plain) {
  switch (dtype) {
    case DType::kF32:
      return plain(PlainF32()), true;
    case DType::kF16:
      return plain(PlainF16()), true;
    case DType::kBF16:
      return plain(PlainBF16()), true;
    case DType::kF8E4M3:
      return plain(PlainF8E4M3()), true;
    case DType::kF8E5M2:
      return plain(PlainF8E5M2()), true;
    case DType::kQ8_0:
      return visit(Q8_0()), true;
    case DType::kQ4_0:
      return visit(Q4_0()), true;
    case DType::kQ4_1:
      return visit(Q4_1()), true;
    case DType::kQ5_0:
      return visit(Q5_0()), true;
    case DType::kQ5_1:
      return visit(Q5_1()), true;
    case DType::kQ2_K:
      return visit(Q2_K()), true;
    case DType::kQ3_K:
      return visit(Q3_K()), true;
    case DType::kQ4_K:
      return visit(Q4_K()), true;
    case DType::kQ5_K:
      return visit(Q5_K()), true;
    case DType::kQ6_K:
      return visit(Q6_K()), true;
    case DType::kIQ4_NL:
      return visit(IQ4_NL()), true;
    case DType::kIQ4_XS:
      return visit(IQ4_XS()), true;
    case DType::kMXFP4:
      return visit(MXFP4()), true;
    default:
      return false;
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#endif  // PLANISH_KERNELS_MATMUL_DECODE_K_INL_H_
