// SPDX-License-Identifier: Apache-2.0
// The loops that machine_peaks times: nothing but one kind of arithmetic in registers, or nothing but memory traffic. Each
// runs on the calling thread and returns what it did, so that a rate is a division. The level of kernels/isa.h decides the
// instructions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace planish {

// kInt8 counts u8 x s8 products summed in int32: vpdpbusd, or vpmaddubsw with sums of eight in int16 where it is missing.
enum class ArithmeticUnit { kF32, kBf16, kInt8, kBf16Tiles, kInt8Tiles };
inline constexpr size_t kArithmeticUnitCount = 5;
const char* Name(ArithmeticUnit unit);  // "f32", "bf16", "int8", "bf16_amx", "int8_amx"
bool HasUnit(ArithmeticUnit unit);

// Operations done in `rounds` rounds, a multiply-add counting as two; a round is tens to hundreds of cycles. Only if HasUnit.
double RunUnit(ArithmeticUnit unit, size_t rounds) noexcept;

// How a loop walks over memory.
struct MemoryPattern {
  enum class Kind { kRead, kReadTiles, kCopy, kCopyNonTemporal };
  enum class Prefetch { kNone, kAll, kNta };  // into all cache levels, or past the outer ones
  Kind kind = Kind::kRead;
  size_t streams = 1;  // equal consecutive parts walked side by side
  Prefetch prefetch = Prefetch::kNone;
  size_t distance = 0;  // bytes ahead
  bool is_copy() const { return kind == Kind::kCopy || kind == Kind::kCopyNonTemporal; }
  std::string name() const;  // "read, 4 streams, prefetch 1024"
};
std::vector<MemoryPattern>
MemoryPatterns();  // all that this CPU can run; the first is the plain read loop

// Reads source[0, bytes), or copies it to `target`. Both 64-byte aligned, bytes a multiple of 16 KiB. Returns the bytes moved:
// a copy counts what it reads and what it writes, not the line that an ordinary store reads first.
double RunMemory(const MemoryPattern& pattern, const std::byte* source, std::byte* target,
                 size_t bytes) noexcept;

}  // namespace planish
