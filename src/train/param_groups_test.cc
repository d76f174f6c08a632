// SPDX-License-Identifier: Apache-2.0
#include "train/param_groups.h"

#include <gtest/gtest.h>

#include <set>

#include "train/params_testing.h"

namespace planish {
namespace {

TEST(ParamGroups, GlobsMatchAsInAShellButDotsAndSlashesAreNothingSpecial) {
  EXPECT_TRUE(MatchesGlob("*", ""));
  EXPECT_TRUE(MatchesGlob("", ""));
  EXPECT_FALSE(MatchesGlob("", "a"));
  EXPECT_TRUE(MatchesGlob("*.mixer.*", "backbone.layers.0.mixer.D"));
  EXPECT_TRUE(MatchesGlob("*a?c*", "xxabc"));
  EXPECT_FALSE(MatchesGlob("*a?c", "xxabcd"));
  EXPECT_TRUE(MatchesGlob("*ab*ab", "ababxab"));
  EXPECT_FALSE(MatchesGlob("lm_head", "lm_head.weight"));
  EXPECT_TRUE(MatchesGlob("lm_head.weight", "lm_head.weight"));
  EXPECT_FALSE(MatchesGlob("?", ""));
  EXPECT_FALSE(MatchesGlob("*a*a*a*a*a*a*a*a*b", std::string(100000, 'a')));  // and fast
}

TEST(ParamGroups, DecaysMatricesAndConvWeightsOnly) {
  const std::set<std::string> decayed = {
      "backbone.embeddings.weight", "backbone.layers.0.mixer.in_proj.weight",
      "backbone.layers.0.mixer.conv1d.weight", "backbone.layers.0.mixer.out_proj.weight",
      "lm_head.weight"};
  const ParamGroups groups(0.1, {});
  const testing::ParamStore store = testing::HybridParams();
  for (const Param& param : store.params()) {
    const ParamGroup group = groups.Of(param);
    EXPECT_EQ(group.weight_decay, decayed.contains(param.name) ? 0.1 : 0.0) << param.name;
    EXPECT_EQ(group.lr_multiplier, 1.0);
    EXPECT_FALSE(group.is_frozen);
  }
  // By role and by name too, whatever the shape.
  EXPECT_FALSE(ParamGroups::Decays("A_log", {3, 1}, ParamRole::kSsmALog));
  EXPECT_FALSE(ParamGroups::Decays("up_proj.bias", {4, 4}, ParamRole::kInput));
}

TEST(ParamGroups, LaterOverridesWinWhereTheySetSomething) {
  const ParamGroups groups(0.1, {{.glob = "*.mixer.*", .weight_decay = 0.3, .lr_multiplier = 0.5},
                                 {.glob = "*.D", .lr_multiplier = 2.0},
                                 {.glob = "*embeddings*", .is_frozen = true}});
  EXPECT_EQ(groups.Of("a.mixer.D", {4}, ParamRole::kSsmD), (ParamGroup{0.3, 2.0, false}));
  EXPECT_EQ(groups.Of("a.mixer.up_proj.weight", {4, 4}, ParamRole::kInput),
            (ParamGroup{0.3, 0.5, false}));
  EXPECT_EQ(groups.Of("embeddings.weight", {4, 4}, ParamRole::kEmbedding),
            (ParamGroup{0.1, 1.0, true}));
}

TEST(ParamGroups, AnOverrideThatMatchesNothingIsAnError) {
  const ParamGroups groups(0.1, {{.glob = "*.D"}, {.glob = "*.mixers.*"}});
  try {
    groups.CheckAllUsed({"a.mixer.D"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage);
    EXPECT_NE(std::string(error.what()).find("*.mixers.*"), std::string::npos) << error.what();
  }
  groups.CheckAllUsed({"a.mixer.D", "a.mixers.b"});
}

}  // namespace
}  // namespace planish
