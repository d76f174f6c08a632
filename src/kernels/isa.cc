// SPDX-License-Identifier: Apache-2.0
#include "kernels/isa.h"

#include <array>
#include <cstdlib>
#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include "base/error.h"
#include "kernels/amx.h"

// The order of these includes matters.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/isa.cc"
#include "kernels/matmul_targets.h"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {

int64_t Target() { return HWY_TARGET; }

}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {
namespace {

HWY_EXPORT(Target);

struct Level {
  std::string_view name;
  Isa isa;
  int64_t target;  // Highway's bit; a smaller one is the better target
  bool is_simd;    // has a Highway target of its own
};

constexpr Level kLevels[] = {
    {"scalar", Isa::kScalar, HWY_SCALAR, true}, {"avx2", Isa::kAvx2, HWY_AVX2, true},
    {"avx512", Isa::kAvx512, HWY_AVX3, true},   {"vnni", Isa::kVnni, HWY_AVX3, false},
    {"bf16", Isa::kBf16, HWY_AVX3, false},      {"amx", Isa::kAmx, HWY_AVX3, false},
    {"neon", Isa::kNeon, HWY_NEON, true},       {"dotprod", Isa::kDotprod, HWY_NEON, false},
    {"i8mm", Isa::kI8mm, HWY_NEON, false},
};

int64_t g_targets = 0;     // the Highway targets allowed by LimitIsa; 0: all
Isa g_limit = Isa::kI8mm;  // the level allowed
constexpr Isa kNoLimit = Isa::kI8mm;

void Use(int64_t targets, Isa limit) {
  g_targets = targets;
  g_limit = limit;
  hwy::SetSupportedTargetsForTest(targets);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

// What the CPU has and this file was compiled for, whatever the limit in force.
int64_t CpuTargets() {
  hwy::SetSupportedTargetsForTest(0);
  const int64_t targets = (hwy::SupportedTargets() | HWY_STATIC_TARGET) & HWY_TARGETS;
  hwy::SetSupportedTargetsForTest(g_targets);
  return targets;
}

// Beyond Highway's targets: what the CPU says of its dot-product units.
bool CpuHasUnits(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::kVnni:
      return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi");
    case Isa::kBf16:
      return CpuHasUnits(Isa::kVnni) && __builtin_cpu_supports("avx512bf16");
    case Isa::kAmx:
      return CpuHasUnits(Isa::kBf16) && AmxAvailable();
#elif defined(__aarch64__)
    case Isa::kDotprod:
      return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
    case Isa::kI8mm:
      return CpuHasUnits(Isa::kDotprod) && (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0 &&
             (getauxval(AT_HWCAP2) & HWCAP2_BF16) != 0;
#endif
    default:
      return true;
  }
}

bool CpuHas(const Level& level, int64_t cpu_targets) {
  return (cpu_targets & level.target) != 0 && CpuHasUnits(level.isa);
}

// Asked once: the answer is on the way of every matrix product.
bool CpuHasCached(Isa isa) {
  static const auto levels = [] {
    std::array<bool, std::size(kLevels)> has = {};
    const int64_t targets = CpuTargets();
    for (size_t i = 0; i < std::size(kLevels); ++i) has[i] = CpuHas(kLevels[i], targets);
    return has;
  }();
  return levels[static_cast<size_t>(isa)];
}

}  // namespace

bool Has(Isa level) { return level <= g_limit && CpuHasCached(level); }

std::string IsaName() {
  std::string name = "scalar";
  for (const Level& level : kLevels)
    if (Has(level.isa)) name = level.name;
  return name;
}

std::vector<std::string> IsaLevels() {
  std::vector<std::string> names;
  for (const Level& level : kLevels)
    if (CpuHasCached(level.isa)) names.emplace_back(level.name);
  return names;
}

std::vector<std::string> SimdLevels() {
  std::vector<std::string> names;
  for (const Level& level : kLevels)
    if (level.is_simd && CpuHasCached(level.isa)) names.emplace_back(level.name);
  return names;
}

void LimitIsa(std::string_view name) {
  if (name.empty()) {
    Use(0, kNoLimit);
    return;
  }
  for (const Level& level : kLevels) {
    if (level.name != name) continue;
    if (!CpuHasCached(level.isa))
      throw UsageError("PLANISH_ISA: this CPU or build has no {}, best is {}", name,
                       IsaLevels().back());
    Use(CpuTargets() & ~(level.target - 1),
        level.isa);  // Highway ranks its bits: smaller is better
    return;
  }
  std::string known;
  for (const Level& level : kLevels) known += (known.empty() ? "" : ", ") + std::string(level.name);
  throw UsageError("PLANISH_ISA: unknown level {}, expected one of {}", Quoted(name), known);
}

void ApplyIsaOverride() {
  const char* level = std::getenv("PLANISH_ISA");
  if (level != nullptr && *level != '\0') LimitIsa(level);
}

}  // namespace planish
#endif  // HWY_ONCE
