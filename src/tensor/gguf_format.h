// SPDX-License-Identifier: Apache-2.0
// Constants and checks that GGUF's reader and writer share. The file: magic, version u32, tensor
// count u64, key count u64, key-value pairs, tensor table, padding, data. A string is a u64 length
// and its bytes; a pair is key, type u32, value; an array value is element type u32, count u64,
// elements; a table row is name, rank u32, dimensions u64 (fastest first), type u32, offset u64.
#pragma once

#include <bit>
#include <cstdint>
#include <string_view>

#include "base/limits.h"
#include "tensor/gguf.h"

namespace planish::gguf_format {

static_assert(std::endian::native == std::endian::little, "GGUF is read without byte swapping");

inline constexpr std::string_view kMagic = "GGUF";
inline constexpr std::string_view kAlignmentKey = "general.alignment";
inline constexpr std::string_view kSplitNo = "split.no";
inline constexpr std::string_view kSplitCount = "split.count";
inline constexpr std::string_view kSplitTensors = "split.tensors.count";
inline constexpr uint32_t kDefaultAlignment = 32;
inline constexpr uint64_t kSmallestPair = 8 + 1 + 4 + 1;            // bytes
inline constexpr uint64_t kSmallestTensor = 8 + 1 + 4 + 8 + 4 + 8;  // bytes

inline bool IsValidAlignment(uint64_t value) {
  return std::has_single_bit(value) && value >= limits::kGgufAlignmentMin &&
         value <= limits::kGgufAlignmentMax;
}

inline uint64_t RoundUp(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

// Bytes of one element in a file; 0 for strings, arrays and unknown types.
constexpr uint64_t ElementBytes(GgufType type) {
  switch (type) {
    case GgufType::kUint8:
    case GgufType::kInt8:
    case GgufType::kBool:
      return 1;
    case GgufType::kUint16:
    case GgufType::kInt16:
      return 2;
    case GgufType::kUint32:
    case GgufType::kInt32:
    case GgufType::kFloat32:
      return 4;
    case GgufType::kUint64:
    case GgufType::kInt64:
    case GgufType::kFloat64:
      return 8;
    default:
      return 0;
  }
}

constexpr std::string_view NameOf(GgufType type) {
  constexpr std::string_view kNames[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                         "bool", "string", "array", "u64", "i64", "f64"};
  const auto id = static_cast<uint32_t>(type);
  return id < std::size(kNames) ? kNames[id] : "unknown";
}

// ggml's name of a tensor type that planish does not read, for messages.
std::string_view UnsupportedTypeName(uint32_t id);

}  // namespace planish::gguf_format
