// SPDX-License-Identifier: Apache-2.0
// Element and block types of tensors, as files hold them. Block types are ggml's: `block_elems`
// values in `block_bytes`.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

namespace planish {

enum class DType : uint8_t {
  kF32,
  kF16,
  kBF16,
  kF64,
  kF8E4M3,
  kF8E5M2,
  kBool,
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kU64,
  kI64,
  kQ8_0,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kIQ4_NL,
  kIQ4_XS,
  kMXFP4,
};
inline constexpr size_t kDTypeCount = static_cast<size_t>(DType::kMXFP4) + 1;

struct DTypeTraits {
  DType dtype;
  std::string_view name;         // planish's and ggml's name in lower case: "bf16", "q4_k"
  std::string_view safetensors;  // name in a safetensors header, empty if that format has none
  int gguf_id;                   // ggml_type, -1 if GGUF has none
  size_t block_elems;            // 1 for plain types
  size_t block_bytes;
};
const DTypeTraits& Traits(DType dtype);
inline std::string_view Name(DType dtype) { return Traits(dtype).name; }
std::optional<DType> DTypeFromName(std::string_view name);
std::optional<DType> DTypeFromSafetensors(std::string_view name);
std::optional<DType> DTypeFromGguf(uint32_t id);
bool IsQuantised(DType dtype);  // a block type
bool IsDequantisable(
    DType dtype);  // DequantizeRow accepts it: floats, 8-bit floats and block types

// Bytes of `n` elements; n must be a multiple of block_elems.
inline size_t BytesOf(DType dtype, size_t n) {
  return n / Traits(dtype).block_elems * Traits(dtype).block_bytes;
}

// bfloat16: the upper half of a float. Rounds to nearest even; NaN stays NaN.
inline float FloatFromBF16(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}
inline uint16_t BF16FromFloat(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}
float FloatFromF16(uint16_t bits);
uint16_t F16FromFloat(float value);  // nearest even, overflow to infinity

// FP8 "fn" E4M3 (no infinity, 0x7f and 0xff NaN, largest 448) and IEEE-like E5M2. To FP8:
// saturating at the largest finite value, nearest even (spec of Nemotron Nano 2's recipe; torch's
// float8 casts after a clamp).
float FloatFromF8E4M3(uint8_t code);
uint8_t F8E4M3FromFloat(float value);
float FloatFromF8E5M2(uint8_t code);
uint8_t F8E5M2FromFloat(float value);

}  // namespace planish
