// SPDX-License-Identifier: Apache-2.0
#include "tensor/dtype.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace planish {
namespace {

constexpr std::array<DTypeTraits, kDTypeCount> kTraits = {{
    // dtype, name, safetensors name, ggml_type, elements and bytes of a block
    {DType::kF32, "f32", "F32", 0, 1, 4},
    {DType::kF16, "f16", "F16", 1, 1, 2},
    {DType::kBF16, "bf16", "BF16", 30, 1, 2},
    {DType::kF64, "f64", "F64", 28, 1, 8},
    {DType::kF8E4M3, "f8_e4m3", "F8_E4M3", -1, 1, 1},
    {DType::kF8E5M2, "f8_e5m2", "F8_E5M2", -1, 1, 1},
    {DType::kBool, "bool", "BOOL", -1, 1, 1},
    {DType::kU8, "u8", "U8", -1, 1, 1},
    {DType::kI8, "i8", "I8", 24, 1, 1},
    {DType::kU16, "u16", "U16", -1, 1, 2},
    {DType::kI16, "i16", "I16", 25, 1, 2},
    {DType::kU32, "u32", "U32", -1, 1, 4},
    {DType::kI32, "i32", "I32", 26, 1, 4},
    {DType::kU64, "u64", "U64", -1, 1, 8},
    {DType::kI64, "i64", "I64", 27, 1, 8},
    {DType::kQ8_0, "q8_0", "", 8, 32, 34},
    {DType::kQ4_0, "q4_0", "", 2, 32, 18},
    {DType::kQ4_1, "q4_1", "", 3, 32, 20},
    {DType::kQ5_0, "q5_0", "", 6, 32, 22},
    {DType::kQ5_1, "q5_1", "", 7, 32, 24},
    {DType::kQ2_K, "q2_k", "", 10, 256, 84},
    {DType::kQ3_K, "q3_k", "", 11, 256, 110},
    {DType::kQ4_K, "q4_k", "", 12, 256, 144},
    {DType::kQ5_K, "q5_k", "", 13, 256, 176},
    {DType::kQ6_K, "q6_k", "", 14, 256, 210},
    {DType::kIQ4_NL, "iq4_nl", "", 20, 32, 18},
    {DType::kIQ4_XS, "iq4_xs", "", 23, 256, 136},
    {DType::kMXFP4, "mxfp4", "", 39, 32, 17},
}};

constexpr bool TraitsAreInEnumOrder() {
  for (size_t i = 0; i < kDTypeCount; ++i) {
    if (kTraits[i].dtype != static_cast<DType>(i)) return false;
  }
  return true;
}
static_assert(TraitsAreInEnumOrder());

template <typename Predicate>
std::optional<DType> FindType(Predicate&& matches) {
  for (const DTypeTraits& traits : kTraits) {
    if (matches(traits)) return traits.dtype;
  }
  return std::nullopt;
}

// Rounds a non-negative float, given by its bits, to a narrower format of `mantissa` bits and
// exponent bias `bias`, nearest even, and returns the narrow code. The value must not exceed the
// largest finite one of that format.
uint32_t NarrowCode(uint32_t abs_bits, int mantissa, int bias) {
  const int drop = 23 - mantissa;  // mantissa bits that go
  const uint32_t smallest_normal = static_cast<uint32_t>(128 - bias) << 23;
  if (abs_bits < smallest_normal) {
    // Adding a power of two whose last place is the narrow format's subnormal step makes the FPU
    // round.
    const uint32_t step = static_cast<uint32_t>(128 - bias + drop) << 23;
    return std::bit_cast<uint32_t>(std::bit_cast<float>(abs_bits) + std::bit_cast<float>(step)) -
           step;
  }
  const uint32_t half = (1u << (drop - 1)) - 1 + ((abs_bits >> drop) & 1u);
  return ((abs_bits + half) >> drop) - (static_cast<uint32_t>(127 - bias) << mantissa);
}

}  // namespace

const DTypeTraits& Traits(DType dtype) {
  PLANISH_CHECK(static_cast<size_t>(dtype) < kDTypeCount, "dtype {}", static_cast<int>(dtype));
  return kTraits[static_cast<size_t>(dtype)];
}

std::optional<DType> DTypeFromName(std::string_view name) {
  return FindType([&](const DTypeTraits& t) { return t.name == name; });
}

std::optional<DType> DTypeFromSafetensors(std::string_view name) {
  if (name.empty()) return std::nullopt;
  return FindType([&](const DTypeTraits& t) { return t.safetensors == name; });
}

std::optional<DType> DTypeFromGguf(uint32_t id) {
  return FindType([&](const DTypeTraits& t) {
    return t.gguf_id >= 0 && static_cast<uint32_t>(t.gguf_id) == id;
  });
}

bool IsQuantised(DType dtype) { return Traits(dtype).block_elems > 1; }

bool IsDequantisable(DType dtype) {
  switch (dtype) {
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
    case DType::kF64:
    case DType::kF8E4M3:
    case DType::kF8E5M2:
      return true;
    default:
      return IsQuantised(dtype);
  }
}

float FloatFromF16(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 31u;
  const uint32_t mantissa = bits & 0x3FFu;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
  }
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000u | (mantissa << 13));
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

uint16_t F16FromFloat(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u)
    return static_cast<uint16_t>(sign | 0x7E00u | ((magnitude >> 13) & 0x3FFu));
  if (magnitude >= 0x477FF000u)
    return static_cast<uint16_t>(sign | 0x7C00u);  // 65520 and more round to infinity
  return static_cast<uint16_t>(sign | NarrowCode(magnitude, 10, 15));
}

float FloatFromF8E4M3(uint8_t code) {
  const int exponent = (code >> 3) & 15;
  const int mantissa = code & 7;
  if ((code & 0x7F) == 0x7F) return std::numeric_limits<float>::quiet_NaN();
  const float magnitude = exponent == 0
                              ? std::ldexp(static_cast<float>(mantissa), -9)
                              : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
  return (code & 0x80) != 0 ? -magnitude : magnitude;
}

uint8_t F8E4M3FromFloat(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 24) & 0x80u;
  uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return static_cast<uint8_t>(sign | 0x7Fu);
  magnitude = std::min(magnitude, std::bit_cast<uint32_t>(448.0f));
  return static_cast<uint8_t>(sign | NarrowCode(magnitude, 3, 7));
}

float FloatFromF8E5M2(uint8_t code) {
  // The upper half of an F16.
  return FloatFromF16(static_cast<uint16_t>(code << 8));
}

uint8_t F8E5M2FromFloat(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 24) & 0x80u;
  uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return static_cast<uint8_t>(sign | 0x7Fu);
  magnitude = std::min(magnitude, std::bit_cast<uint32_t>(57344.0f));
  return static_cast<uint8_t>(sign | NarrowCode(magnitude, 2, 15));
}

}  // namespace planish
