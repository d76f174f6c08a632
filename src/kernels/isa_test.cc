// SPDX-License-Identifier: Apache-2.0
#include "kernels/isa.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "base/error.h"

namespace planish {
namespace {

class IsaTest : public testing::Test {
 protected:
  void TearDown() override {
    unsetenv("PLANISH_ISA");
    LimitIsa("");
  }
};

TEST_F(IsaTest, BestLevelIsInUseWithoutALimit) {
  LimitIsa("");
  ASSERT_FALSE(IsaLevels().empty());
  EXPECT_EQ(IsaName(), IsaLevels().back());
}

class IsaLevelTest : public IsaTest, public testing::WithParamInterface<std::string> {};

TEST_P(IsaLevelTest, EveryLevelOfThisCpuCanBeChosen) {
  const std::vector<std::string> levels = IsaLevels();
  LimitIsa(GetParam());
  EXPECT_EQ(IsaName(), GetParam());
  EXPECT_EQ(IsaLevels(), levels) << "a limit must not hide what the CPU has";
}
INSTANTIATE_TEST_SUITE_P(Cpu, IsaLevelTest, testing::ValuesIn(IsaLevels()),
                         [](const auto& level) { return level.param; });

TEST_F(IsaTest, ALimitAllowsTheLevelsBelowAndNoneAbove) {
  constexpr std::pair<const char*, Isa> kOrder[] = {
      {"scalar", Isa::kScalar}, {"avx2", Isa::kAvx2},       {"avx512", Isa::kAvx512},
      {"vnni", Isa::kVnni},     {"bf16", Isa::kBf16},       {"amx", Isa::kAmx},
      {"neon", Isa::kNeon},     {"dotprod", Isa::kDotprod}, {"i8mm", Isa::kI8mm}};
  const std::vector<std::string> levels = IsaLevels();
  for (const auto& [name, isa] : kOrder) {
    const bool is_here = std::find(levels.begin(), levels.end(), name) != levels.end();
    LimitIsa("");
    EXPECT_EQ(Has(isa), is_here) << name;
    if (!is_here) continue;
    LimitIsa(name);
    for (const auto& [other, other_isa] : kOrder) {
      if (std::find(levels.begin(), levels.end(), other) == levels.end()) continue;
      EXPECT_EQ(Has(other_isa), other_isa <= isa) << other << " under a limit of " << name;
    }
  }
}

TEST_F(IsaTest, UnknownOrMissingLevelIsAUsageErrorAndChangesNothing) {
  const std::string before = IsaName();
  const std::vector<std::string> levels = IsaLevels();
  for (const std::string name :
       {"sse9", "AVX2", "avx2 ", "avx512", "avx2", "neon", "i8mm", "scalar"}) {
    if (std::find(levels.begin(), levels.end(), name) != levels.end()) continue;
    try {
      LimitIsa(name);
      ADD_FAILURE() << name << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kUsage);
    }
    EXPECT_EQ(IsaName(), before);
  }
}

TEST_F(IsaTest, EnvironmentLimitsTheLevelUnlessEmpty) {
  const std::string lowest = IsaLevels().front();
  setenv("PLANISH_ISA", lowest.c_str(), 1);
  ApplyIsaOverride();
  EXPECT_EQ(IsaName(), lowest);
  LimitIsa("");
  setenv("PLANISH_ISA", "", 1);
  ApplyIsaOverride();
  EXPECT_EQ(IsaName(), IsaLevels().back());
  setenv("PLANISH_ISA", "fastest", 1);
  EXPECT_THROW(ApplyIsaOverride(), Error);
}

}  // namespace
}  // namespace planish
