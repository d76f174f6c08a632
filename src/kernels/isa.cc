// SPDX-License-Identifier: Apache-2.0
#include "kernels/isa.h"

#include <cstdlib>

#include "base/error.h"

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
  int64_t target;  // Highway's bit; a smaller one is the better target
};

constexpr Level kLevels[] = {
    {"scalar", HWY_SCALAR},
    {"avx2", HWY_AVX2},
    {"avx512", HWY_AVX3},
    {"neon", HWY_NEON},
};

int64_t g_limit = 0;  // the targets allowed by LimitIsa; 0: all

void Use(int64_t targets) {
  g_limit = targets;
  hwy::SetSupportedTargetsForTest(targets);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

// What the CPU has and this file was compiled for, whatever the limit in force.
int64_t CpuTargets() {
  hwy::SetSupportedTargetsForTest(0);
  const int64_t targets = (hwy::SupportedTargets() | HWY_STATIC_TARGET) & HWY_TARGETS;
  hwy::SetSupportedTargetsForTest(g_limit);
  return targets;
}

}  // namespace

std::string IsaName() {
  const int64_t target = HWY_DYNAMIC_DISPATCH(Target)();
  for (const Level& level : kLevels)
    if (level.target == target) return std::string(level.name);
  return hwy::TargetName(target);
}

std::vector<std::string> IsaLevels() {
  const int64_t cpu = CpuTargets();
  std::vector<std::string> names;
  for (const Level& level : kLevels)
    if ((cpu & level.target) != 0) names.emplace_back(level.name);
  return names;
}

void LimitIsa(std::string_view level) {
  if (level.empty()) {
    Use(0);
    return;
  }
  const std::string_view wanted = level == "vnni" || level == "bf16" ? "avx512" : level;
  for (const Level& known : kLevels) {
    if (known.name != wanted) continue;
    const int64_t cpu = CpuTargets();
    if ((cpu & known.target) == 0)
      throw UsageError("PLANISH_ISA: this CPU or build has no {}, best is {}", wanted,
                       IsaLevels().back());
    Use(cpu & ~(known.target - 1));  // Highway ranks its bits: smaller is better
    return;
  }
  throw UsageError(
      "PLANISH_ISA: unknown level {}, expected scalar, avx2, avx512, vnni, bf16 or neon",
      Quoted(level));
}

void ApplyIsaOverride() {
  const char* level = std::getenv("PLANISH_ISA");
  if (level != nullptr && *level != '\0') LimitIsa(level);
}

}  // namespace planish
#endif  // HWY_ONCE
