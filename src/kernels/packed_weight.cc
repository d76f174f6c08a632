// SPDX-License-Identifier: Apache-2.0
// One reader for each block type gives the 32 codes and the scales of a row's group; the loop over groups and rows is common
// and is compiled once for each reader, so that it is limited by memory and not by calls.
#include "kernels/packed_weight.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/parallel.h"
#include "tensor/block_formats.h"

namespace planish {
namespace {

using block_formats::LoadF16;

constexpr size_t kTaskBytes = 256 << 10;  // packed bytes of a task: some 100 us
constexpr uint8_t kMiddle = 128;          // zero of 8-bit codes

// What a reader makes of one group of a row.
struct Group {
  uint16_t scales[2];  // f16 bits
  uint16_t min;
  uint8_t
      codes[kPackedGroup];  // 8 bits: one a byte. 4 bits: bytes 0-15, code j | code (j + 16) << 4
};

// f16 bits of `value`, rounded to nearest even; false if it overflows or is off by more than `tolerance`.
bool ToF16(float value, float tolerance, uint16_t* bits) {
  const uint32_t raw = std::bit_cast<uint32_t>(value);
  const uint32_t magnitude = raw & 0x7FFFFFFFu;
  constexpr uint32_t kSmallestNormal = 0x38800000u, kOverflow = 0x477FF000u;
  if (magnitude >= kSmallestNormal && magnitude < kOverflow) {  // the common case without calls
    const uint32_t rounded = (magnitude + 0xFFFu + ((magnitude >> 13) & 1u)) >> 13;
    *bits = static_cast<uint16_t>((raw >> 16 & 0x8000u) | (rounded - (112u << 10)));
    return true;
  }
  *bits = F16FromFloat(value);
  return std::fabs(FloatFromF16(*bits) - value) <= tolerance;  // false for NaN
}

uint16_t LoadBits(const uint8_t* in) {
  uint16_t bits;
  std::memcpy(&bits, in, sizeof(bits));
  return bits;
}

// ---- readers: `row` is the canonical row, g its group

// Types whose 16 code bytes are those of the packed group already: [scale 2] [minimum 2] codes 16.
template <bool kHasMin>
struct Nibbles32 {
  static bool Read(const uint8_t* row, size_t g, Group* out) {
    constexpr size_t kHead = kHasMin ? 4 : 2;
    const uint8_t* block = row + g * (kHead + 16);
    out->scales[0] = LoadBits(block);
    if (kHasMin) out->min = LoadBits(block + 2) ^ 0x8000u;  // ggml adds it
    std::memcpy(out->codes, block + kHead, 16);
    return true;
  }
};

struct Mxfp4 {
  static bool Read(const uint8_t* row, size_t g, Group* out) {
    const uint8_t* block = row + g * 17;
    std::memcpy(out->codes, block + 1, 16);
    return ToF16(block_formats::HalfOfE8M0(block[0]), 0.0f, &out->scales[0]);
  }
};

struct Q8_0 {
  static bool Read(const uint8_t* row, size_t g, Group* out) {
    const uint8_t* block = row + g * 34;
    out->scales[0] = LoadBits(block);
    for (size_t j = 0; j < 32; ++j) out->codes[j] = block[2 + j] ^ kMiddle;
    return true;
  }
};

// Q5_0: the codes' own zero is 16. Q5_1: 0, and a minimum.
template <bool kHasMin>
struct Q5 {
  static bool Read(const uint8_t* row, size_t g, Group* out) {
    constexpr size_t kHead = kHasMin ? 4 : 2;
    constexpr uint8_t kShift = kHasMin ? kMiddle : kMiddle - 16;
    const uint8_t* block = row + g * (kHead + 20);
    out->scales[0] = LoadBits(block);
    if (kHasMin) out->min = LoadBits(block + 2) ^ 0x8000u;
    uint32_t high;
    std::memcpy(&high, block + kHead, sizeof(high));
    const uint8_t* q = block + kHead + 4;
    for (size_t j = 0; j < 16; ++j) {
      out->codes[j] = static_cast<uint8_t>(kShift + ((q[j] & 15) | ((high >> j) & 1) << 4));
      out->codes[j + 16] =
          static_cast<uint8_t>(kShift + ((q[j] >> 4) | ((high >> (j + 16)) & 1) << 4));
    }
    return true;
  }
};

// Scale and minimum of group `sub` of a Q4_K or Q5_K block.
bool ScaleAndMinOfK(const uint8_t* block, size_t sub, Group* out) {
  const float d = LoadF16(block), dmin = LoadF16(block + 2);
  const auto [scale, min] = block_formats::UnpackScaleAndMin(block + 4, static_cast<int>(sub));
  // The 6-bit factors of a block usually reach 63; 32 is a safe bound below which no rounding to subnormals happens.
  const float tolerance = 0x1p-10f * 32;
  return ToF16(d * static_cast<float>(scale), tolerance * std::fabs(d), &out->scales[0]) &&
         ToF16(dmin * static_cast<float>(min), tolerance * std::fabs(dmin), &out->min);
}

struct Q4_K {
  static bool Read(const uint8_t* row, size_t g, Group* out) {
    const uint8_t* block = row + g / 8 * 144;
    const size_t sub = g % 8;
    const uint8_t* q = block + 16 + sub / 2 * 32;
    if (sub % 2 == 0) {
      for (size_t j = 0; j < 16; ++j)
        out->codes[j] = static_cast<uint8_t>((q[j] & 15) | (q[j + 16] & 15) << 4);
    } else {
      for (size_t j = 0; j < 16; ++j)
        out->codes[j] = static_cast<uint8_t>((q[j] >> 4) | (q[j + 16] & 0xF0));
    }
    return ScaleAndMinOfK(block, sub, out);
  }
};

struct Q5_K {
  static bool Read(const uint8_t* row, size_t g, Group* out) {
    const uint8_t* block = row + g / 8 * 176;
    const size_t sub = g % 8;
    const uint8_t* high = block + 16;
    const uint8_t* q = block + 48 + sub / 2 * 32;
    const unsigned shift = sub % 2 == 0 ? 0 : 4;
    for (size_t j = 0; j < 32; ++j)
      out->codes[j] =
          static_cast<uint8_t>(kMiddle + (((q[j] >> shift) & 15) | ((high[j] >> sub) & 1) << 4));
    return ScaleAndMinOfK(block, sub, out);
  }
};

struct Q6_K {
  static bool Read(const uint8_t* row, size_t g, Group* out) {
    const uint8_t* block = row + g / 8 * 210;
    const size_t half = g % 8 / 4, k = g % 4;
    const uint8_t* low = block + half * 64 + k % 2 * 32;
    const uint8_t* high = block + 128 + half * 32;
    const unsigned low_shift = k < 2 ? 0 : 4, high_shift = static_cast<unsigned>(2 * k);
    for (size_t j = 0; j < 32; ++j)
      out->codes[j] = static_cast<uint8_t>(
          kMiddle - 32 + (((low[j] >> low_shift) & 15) | ((high[j] >> high_shift) & 3) << 4));
    const float d = LoadF16(block + 208);
    bool fits = true;
    for (size_t s = 0; s < 2; ++s) {
      const float scale = static_cast<float>(static_cast<int8_t>(block[192 + g % 8 * 2 + s]));
      fits &= ToF16(d * scale, 0x1p-10f * 64 * std::fabs(d), &out->scales[s]);
    }
    return fits;
  }
};

struct Iq4Xs {
  static bool Read(const uint8_t* row, size_t g, Group* out) {
    const uint8_t* block = row + g / 8 * 136;
    const size_t sub = g % 8;
    std::memcpy(out->codes, block + 8 + sub * 16, 16);
    const unsigned low = (block[4 + sub / 2] >> (4 * (sub % 2))) & 15u;
    const unsigned high = (LoadBits(block + 2) >> (2 * sub)) & 3u;
    const float d = LoadF16(block);
    return ToF16(d * static_cast<float>(static_cast<int>(low | high << 4) - 32),
                 0x1p-10f * 16 * std::fabs(d), &out->scales[0]);
  }
};

// ---- the layout

// Packs rows [16 b, 16 b + 16) of w to `out`.
template <class Reader, bool k4Bit, bool kHasMin, size_t kScales>
bool PackBlock(const Weight& w, size_t b, size_t groups, uint8_t* out) {
  const size_t first = b * kPackedRows, valid = std::min(kPackedRows, w.out() - first);
  constexpr size_t kLoads = k4Bit ? 4 : 8;
  constexpr size_t kHeader = (kScales + (kHasMin ? 1 : 0)) * kPackedRows * 2;
  constexpr size_t kGroupBytes = kHeader + kLoads * 64;
  const uint8_t* rows[kPackedRows];
  for (size_t r = 0; r < valid; ++r) rows[r] = reinterpret_cast<const uint8_t*>(w.row(first + r));
  bool fits = true;
  if (valid < kPackedRows) std::memset(out, 0, groups * kGroupBytes);
  for (size_t g = 0; g < groups; ++g, out += kGroupBytes) {
    for (size_t r = 0; r < valid; ++r) {
      Group group;
      fits &= Reader::Read(rows[r], g, &group);
      for (size_t s = 0; s < kScales; ++s)
        std::memcpy(out + (s * kPackedRows + r) * 2, &group.scales[s], 2);
      if (kHasMin) std::memcpy(out + (kScales * kPackedRows + r) * 2, &group.min, 2);
      for (size_t t = 0; t < kLoads; ++t)
        std::memcpy(out + kHeader + 64 * t + 4 * r, group.codes + 4 * t, 4);
    }
  }
  return fits;
}

using Packer = bool (*)(const Weight& w, size_t b, size_t groups, uint8_t* out);

Packer PackerOf(DType dtype) {
  switch (dtype) {
    case DType::kQ4_0:
    case DType::kIQ4_NL:
      return PackBlock<Nibbles32<false>, true, false, 1>;
    case DType::kQ4_1:
      return PackBlock<Nibbles32<true>, true, true, 1>;
    case DType::kQ4_K:
      return PackBlock<Q4_K, true, true, 1>;
    case DType::kIQ4_XS:
      return PackBlock<Iq4Xs, true, false, 1>;
    case DType::kMXFP4:
      return PackBlock<Mxfp4, true, false, 1>;
    case DType::kQ8_0:
      return PackBlock<Q8_0, false, false, 1>;
    case DType::kQ5_0:
      return PackBlock<Q5<false>, false, false, 1>;
    case DType::kQ5_1:
      return PackBlock<Q5<true>, false, true, 1>;
    case DType::kQ5_K:
      return PackBlock<Q5_K, false, true, 1>;
    case DType::kQ6_K:
      return PackBlock<Q6_K, false, false, 2>;
    default:
      return nullptr;
  }
}

}  // namespace

bool PackedFormatOf(DType dtype, PackedFormat* format) {
  PackedFormat f;
  switch (dtype) {
    case DType::kQ4_0:
      f.is_4bit = true;
      f.zero = 8;
      break;
    case DType::kQ4_1:
    case DType::kQ4_K:
      f.is_4bit = true;
      f.has_min = true;
      break;
    case DType::kIQ4_NL:
    case DType::kIQ4_XS:
      f.is_4bit = true;
      f.table = block_formats::kIq4;
      break;
    case DType::kMXFP4:
      f.is_4bit = true;
      f.table = block_formats::kMxfp4;
      break;
    case DType::kQ5_1:
    case DType::kQ5_K:
      f.has_min = true;
      f.zero = kMiddle;
      break;
    case DType::kQ8_0:
    case DType::kQ5_0:
      f.zero = kMiddle;
      break;
    case DType::kQ6_K:
      f.scales_per_group = 2;
      f.zero = kMiddle;
      break;
    default:
      return false;
  }
  *format = f;
  return true;
}

bool PackWeight(Weight* weight) {
  if (weight->packed(kPackedLayout) != nullptr) return true;
  PackedFormat format;
  if (!PackedFormatOf(weight->dtype(), &format)) return false;
  const Packer pack = PackerOf(weight->dtype());
  const size_t groups = PackedGroups(weight->in()), blocks = PackedBlocks(weight->out());
  const size_t block_bytes = groups * format.group_bytes();
  PackedView view;
  view.data = AlignedBuffer(blocks * block_bytes);
  auto* out = reinterpret_cast<uint8_t*>(view.data.data());
  const size_t a_task = std::max<size_t>(1, kTaskBytes / std::max<size_t>(block_bytes, 1));
  std::atomic<bool> fits = true;
  ParallelFor((blocks + a_task - 1) / a_task, [&](size_t task, int) {
    const size_t begin = task * a_task, end = std::min(blocks, begin + a_task);
    for (size_t b = begin; b < end; ++b)
      if (!pack(*weight, b, groups, out + b * block_bytes)) fits = false;
    // At once, so that a large matrix is never in memory twice; a weight that stays canonical reads its pages again.
    weight->EvictRows(begin * kPackedRows, std::min(weight->out(), end * kPackedRows));
  });
  if (!fits) return false;
  weight->SetPacked(kPackedLayout, std::move(view));
  return true;
}

}  // namespace planish
