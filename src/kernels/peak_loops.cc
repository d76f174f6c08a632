// SPDX-License-Identifier: Apache-2.0
#include "kernels/peak_loops.h"

#include "kernels/isa.h"
#include "kernels/peak_units.h"

// The order of these includes matters.
// clang-format off
#include "kernels/matmul_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/peak_loops.cc"
#include "hwy/foreach_target.h"
#include "hwy/cache_control.h"
#include "hwy/highway.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using Prefetch = MemoryPattern::Prefetch;

// Keeps results of timed loops alive: the compiler must not see that nobody reads them.
inline void Use(float value) { asm volatile("" : : "m"(value) : "memory"); }

// 16 independent chains: covers 4 cycles of latency on 2 units twice.
double F32Loop(size_t rounds) {
  const hn::ScalableTag<float> d;
  const auto x = hn::Set(d, 0.999f), y = hn::Set(d, 0.001f);
  hn::Vec<decltype(d)> acc[16];
#pragma GCC unroll 16
  for (size_t i = 0; i < 16; ++i) acc[i] = hn::Set(d, static_cast<float>(i));
  for (size_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 16
    for (size_t i = 0; i < 16; ++i) acc[i] = hn::MulAdd(acc[i], x, y);
  }
#pragma GCC unroll 16
  for (size_t i = 1; i < 16; ++i) acc[0] = hn::Add(acc[0], acc[i]);
  Use(hn::GetLane(acc[0]));
  return static_cast<double>(rounds) * 16 * 2 * static_cast<double>(hn::Lanes(d));
}

template <Prefetch kPrefetch>
HWY_INLINE void PrefetchLine(const float* p) {
  if constexpr (kPrefetch == Prefetch::kAll) __builtin_prefetch(p, 0, 3);
  if constexpr (kPrefetch == Prefetch::kNta) __builtin_prefetch(p, 0, 0);
}

constexpr size_t kBlock = 64;  // floats (256 bytes) taken of each stream in turn

template <size_t kStreams, Prefetch kPrefetch>
void ReadLoop(const float* p, size_t n, size_t ahead) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d), part = n / kStreams;
  hn::Vec<decltype(d)> acc[4];
#pragma GCC unroll 4
  for (size_t i = 0; i < 4; ++i) acc[i] = hn::Zero(d);
  for (size_t k = 0; k < part; k += kBlock) {
#pragma GCC unroll 16
    for (size_t s = 0; s < kStreams; ++s) {
      const float* block = p + s * part + k;
#pragma GCC unroll 4
      for (size_t line = 0; line < kBlock; line += 16)
        PrefetchLine<kPrefetch>(block + ahead + line);
      for (size_t i = 0; i < kBlock; i += 4 * lanes) {
#pragma GCC unroll 4
        for (size_t j = 0; j < 4; ++j) acc[j] = hn::Add(acc[j], hn::Load(d, block + i + j * lanes));
      }
    }
  }
  Use(hn::GetLane(hn::Add(hn::Add(acc[0], acc[1]), hn::Add(acc[2], acc[3]))));
}

template <bool kNonTemporal, Prefetch kPrefetch>
void CopyLoop(const float* from, float* to, size_t n, size_t ahead) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  for (size_t k = 0; k < n; k += kBlock) {
#pragma GCC unroll 4
    for (size_t line = 0; line < kBlock; line += 16)
      PrefetchLine<kPrefetch>(from + k + ahead + line);
    for (size_t i = 0; i < kBlock; i += 4 * lanes) {
#pragma GCC unroll 4
      for (size_t j = 0; j < 4; ++j) {
        const auto v = hn::Load(d, from + k + i + j * lanes);
        if constexpr (kNonTemporal)
          hn::Stream(v, d, to + k + i + j * lanes);
        else
          hn::Store(v, d, to + k + i + j * lanes);
      }
    }
  }
  if constexpr (kNonTemporal) hwy::FlushStream();
}

template <Prefetch kPrefetch>
void Read(size_t streams, const float* p, size_t n, size_t ahead) {
  switch (streams) {
    case 2:
      return ReadLoop<2, kPrefetch>(p, n, ahead);
    case 4:
      return ReadLoop<4, kPrefetch>(p, n, ahead);
    case 8:
      return ReadLoop<8, kPrefetch>(p, n, ahead);
    case 16:
      return ReadLoop<16, kPrefetch>(p, n, ahead);
    default:
      return ReadLoop<1, kPrefetch>(p, n, ahead);
  }
}

template <Prefetch kPrefetch>
void Run(const MemoryPattern& pattern, const float* source, float* target, size_t n) {
  const size_t ahead = pattern.distance / sizeof(float);
  if (pattern.kind == MemoryPattern::Kind::kCopy)
    CopyLoop<false, kPrefetch>(source, target, n, ahead);
  else if (pattern.kind == MemoryPattern::Kind::kCopyNonTemporal)
    CopyLoop<true, kPrefetch>(source, target, n, ahead);
  else
    Read<kPrefetch>(pattern.streams, source, n, ahead);
}

void VectorMemory(const MemoryPattern& pattern, const float* source, float* target, size_t n) {
  switch (pattern.prefetch) {
    case Prefetch::kNone:
      return Run<Prefetch::kNone>(pattern, source, target, n);
    case Prefetch::kAll:
      return Run<Prefetch::kAll>(pattern, source, target, n);
    case Prefetch::kNta:
      return Run<Prefetch::kNta>(pattern, source, target, n);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {
namespace {

HWY_EXPORT(F32Loop);
HWY_EXPORT(VectorMemory);

}  // namespace

const char* Name(ArithmeticUnit unit) {
  static constexpr const char* kNames[kArithmeticUnitCount] = {"f32", "bf16", "int8", "bf16_amx",
                                                               "int8_amx"};
  return kNames[static_cast<size_t>(unit)];
}

bool HasUnit(ArithmeticUnit unit) {
  return unit == ArithmeticUnit::kF32 || internal::HasDotUnit(unit);
}

double RunUnit(ArithmeticUnit unit, size_t rounds) noexcept {
  return unit == ArithmeticUnit::kF32 ? HWY_DYNAMIC_DISPATCH(F32Loop)(rounds)
                                      : internal::RunDotUnit(unit, rounds);
}

std::string MemoryPattern::name() const {
  std::string text = kind == Kind::kRead        ? "read"
                     : kind == Kind::kReadTiles ? "read AMX tiles"
                     : kind == Kind::kCopy      ? "copy"
                                                : "copy, non-temporal";
  if (streams > 1) text += ", " + std::to_string(streams) + " streams";
  if (prefetch != Prefetch::kNone)
    text +=
        (prefetch == Prefetch::kNta ? ", prefetch-nta " : ", prefetch ") + std::to_string(distance);
  return text;
}

std::vector<MemoryPattern> MemoryPatterns() {
  using Kind = MemoryPattern::Kind;
  using Prefetch = MemoryPattern::Prefetch;
  std::vector<MemoryPattern> patterns;
  const auto add = [&](Kind kind, size_t streams, std::initializer_list<size_t> distances,
                       bool with_nta) {
    patterns.push_back({kind, streams, Prefetch::kNone, 0});
    for (const size_t distance : distances) {
      patterns.push_back({kind, streams, Prefetch::kAll, distance});
      if (with_nta) patterns.push_back({kind, streams, Prefetch::kNta, distance});
    }
  };
  add(Kind::kRead, 1, {256, 512, 768, 1024, 2048, 4096}, /*with_nta=*/true);
  for (const size_t streams : {2, 4, 8, 16})
    add(Kind::kRead, streams, {256, 512, 1024, 2048}, /*with_nta=*/false);
  if (HasUnit(ArithmeticUnit::kInt8Tiles))
    add(Kind::kReadTiles, 1, {1024, 2048, 4096, 8192}, /*with_nta=*/false);
  for (const Kind kind : {Kind::kCopy, Kind::kCopyNonTemporal})
    add(kind, 1, {1024, 4096}, /*with_nta=*/false);
  return patterns;
}

double RunMemory(const MemoryPattern& pattern, const std::byte* source, std::byte* target,
                 size_t bytes) noexcept {
  if (pattern.kind == MemoryPattern::Kind::kReadTiles) {
    internal::ReadTiles(source, bytes,
                        pattern.prefetch == MemoryPattern::Prefetch::kNone ? 0 : pattern.distance);
  } else {
    HWY_DYNAMIC_DISPATCH(VectorMemory)
    (pattern, reinterpret_cast<const float*>(source), reinterpret_cast<float*>(target),
     bytes / sizeof(float));
  }
  return static_cast<double>(bytes) * (pattern.is_copy() ? 2 : 1);
}

}  // namespace planish
#endif  // HWY_ONCE
