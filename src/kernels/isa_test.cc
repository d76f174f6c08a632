// SPDX-License-Identifier: Apache-2.0
#include "kernels/isa.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "base/error.h"

namespace planish {
namespace {

class Isa : public testing::Test {
 protected:
  void TearDown() override {
    unsetenv("PLANISH_ISA");
    LimitIsa("");
  }
};

TEST_F(Isa, BestLevelIsInUseWithoutALimit) {
  LimitIsa("");
  ASSERT_FALSE(IsaLevels().empty());
  EXPECT_EQ(IsaName(), IsaLevels().back());
}

TEST_F(Isa, EveryLevelOfThisCpuCanBeChosen) {
  const std::vector<std::string> levels = IsaLevels();
  for (const std::string& level : levels) {
    LimitIsa(level);
    EXPECT_EQ(IsaName(), level);
    EXPECT_EQ(IsaLevels(), levels) << "a limit must not hide what the CPU has";
  }
}

TEST_F(Isa, NamesOfLaterKernelsMeanAvx512) {
  const std::vector<std::string> levels = IsaLevels();
  if (std::find(levels.begin(), levels.end(), "avx512") == levels.end())
    GTEST_SKIP() << "this CPU has no AVX-512";
  for (const char* name : {"vnni", "bf16"}) {
    LimitIsa(name);
    EXPECT_EQ(IsaName(), "avx512") << name;
  }
}

TEST_F(Isa, UnknownOrMissingLevelIsAUsageErrorAndChangesNothing) {
  const std::string before = IsaName();
  const std::vector<std::string> levels = IsaLevels();
  for (const std::string name : {"sse9", "AVX2", "avx2 ", "avx512", "avx2", "neon", "scalar"}) {
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

TEST_F(Isa, EnvironmentLimitsTheLevelUnlessEmpty) {
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
