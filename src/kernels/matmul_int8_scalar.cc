// SPDX-License-Identifier: Apache-2.0
// The int8 product in portable C++: arrays of 16 rows, which compilers turn into whatever vectors the baseline has.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "kernels/matmul_int8_kernels.h"
#include "tensor/dtype.h"

namespace planish {
namespace scalar {
namespace {

struct Ops {
  static constexpr size_t kVectors = 1;
  static constexpr size_t kStreamTokens = 2;
  static constexpr size_t kTileTokens = 2;
  static constexpr size_t kTileBlocks = 1;
  struct Bytes {
    uint8_t b[64];
  };
  using Codes = Bytes;
  struct Floats {
    float f[16];
  };
  using Table = const int8_t*;

  static Table LoadTable(const int8_t* table) { return table; }
  static Bytes Load(const uint8_t* p) {
    Bytes r;
    std::memcpy(r.b, p, 64);
    return r;
  }
  template <class Kind>
  static uint8_t Code(uint8_t code, Table table) {
    return Kind::kTable ? static_cast<uint8_t>(table[code] + 128) : code;
  }
  template <class Kind>
  static Codes Low(const Bytes& both, Table table) {
    Codes r;
    for (size_t i = 0; i < 64; ++i) r.b[i] = Code<Kind>(both.b[i] & 15, table);
    return r;
  }
  template <class Kind>
  static Codes High(const Bytes& both, Table table) {
    Codes r;
    for (size_t i = 0; i < 64; ++i) r.b[i] = Code<Kind>(both.b[i] >> 4, table);
    return r;
  }
  static const Codes& Whole(const Bytes& codes) { return codes; }
  static void StoreBytes(uint8_t* p, const Codes& codes) { std::memcpy(p, codes.b, 64); }
  static Codes LoadCodes(const uint8_t* p) { return Load(p); }
  static const int8_t* Broadcast(const int8_t* four) { return four; }

  template <class Kind>
  struct Sum {
    int32_t sum[16];
    void Start(const int32_t* start) {
      const int32_t first = Kind::kSmallCodes && Kind::kMin ? 0 : *start;
      for (int32_t& s : sum) s = first;
    }
    void Add(const Codes& w, const int8_t* a) {
      for (size_t r = 0; r < 16; ++r)
        for (size_t j = 0; j < 4; ++j) sum[r] += w.b[4 * r + j] * a[j];
    }
    Floats Value(const int32_t*) const {
      Floats r;
      for (size_t i = 0; i < 16; ++i) r.f[i] = static_cast<float>(sum[i]);
      return r;
    }
  };

  static Floats Zero() { return {}; }
  static float Set(float v) { return v; }
  static Floats LoadFloats(const float* p) {
    Floats r;
    std::memcpy(r.f, p, 64);
    return r;
  }
  static void Store(float* p, const Floats& v) { std::memcpy(p, v.f, 64); }
  static Floats LoadHalf(const uint8_t* p) {
    Floats r;
    for (size_t i = 0; i < 16; ++i) {
      uint16_t bits;
      std::memcpy(&bits, p + 2 * i, 2);
      r.f[i] = FloatFromF16(bits);
    }
    return r;
  }
  static Floats Mul(Floats a, float b) {
    for (float& v : a.f) v *= b;
    return a;
  }
  static Floats MulAdd(const Floats& a, const Floats& b, Floats c) {
    for (size_t i = 0; i < 16; ++i) c.f[i] = std::fma(a.f[i], b.f[i], c.f[i]);
    return c;
  }
  static Floats NegMulAdd(const Floats& a, float b, Floats c) {
    for (size_t i = 0; i < 16; ++i) c.f[i] = std::fma(-a.f[i], b, c.f[i]);
    return c;
  }
};

#include "kernels/matmul_int8-inl.h"
#include "kernels/matmul_int8_dot-inl.h"

}  // namespace
}  // namespace scalar

const Int8Kernels kInt8Scalar = {scalar::Ops::kStreamTokens, 2 * scalar::Ops::kStreamTokens + 1, 16,
                                 scalar::Stream, scalar::Tile};

}  // namespace planish
