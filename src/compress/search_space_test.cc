// SPDX-License-Identifier: Apache-2.0
#include "compress/search_space.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "compress/compress_testing.h"

namespace planish {
namespace {

using namespace testing;  // the helpers of tests

ModelConfig ConfigOf(const char* text) { return ConfigFromJson(ParseJson(text, "tiny"), "tiny"); }

std::vector<std::string> NamesOf(const CandidateBlock& block) {
  std::vector<std::string> names;
  for (const Candidate& candidate : block.candidates) names.push_back(candidate.name);
  return names;
}

using Names = std::vector<std::string>;

TEST(SearchSpace, LlamaBlocksHaveTheCandidatesOfTheirKind) {
  const SearchSpace space = MakeSearchSpace(
      ConfigOf(kTinyLlama), {.attention = "kv=4,2,1,linear,none", .ffn = "100,50,25,linear,none"});
  ASSERT_EQ(space.blocks.size(), 6u);
  EXPECT_TRUE(space.notes.empty());
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(space.blocks[i].block, i);
    EXPECT_TRUE(space.blocks[i].candidates[0].is_parent);
    EXPECT_EQ(NamesOf(space.blocks[i]),
              i % 2 == 0 ? Names({"parent", "kv_heads=2", "kv_heads=1", "linear", "no_op"})
                         : Names({"parent", "ffn=50%", "ffn=25%", "linear", "no_op"}));
  }
  EXPECT_EQ(std::get<FfnConfig>(*space.blocks[1].candidates[1].mixer).intermediate_size, 32u);
  EXPECT_EQ(std::get<AttentionConfig>(*space.blocks[0].candidates[1].mixer).n_kv_heads, 2u);
}

TEST(SearchSpace, HybridsHaveFewerAndNarrowerHeadsInWholeGroups) {
  const SearchSpace space =
      MakeSearchSpace(ConfigOf(kTinyHybrid),
                      {.attention = "none", .ffn = "50", .mamba = "heads=50%,3,head_dim=4,none"});
  EXPECT_EQ(NamesOf(space.blocks[0]), Names({"parent", "heads=2", "head_dim=4", "no_op"}));
  EXPECT_EQ(std::get<Mamba2Config>(*space.blocks[0].candidates[1].mixer).n_groups, 2u);
  ASSERT_EQ(space.notes.size(), 1u);
  EXPECT_NE(space.notes[0].find("multiple of 2 groups"), std::string::npos) << space.notes[0];
}

TEST(SearchSpace, WhatTheParentCannotHaveIsLeftOutWithOneNote) {
  const SearchSpace space = MakeSearchSpace(
      ConfigOf(kTinyLlama), {.attention = "kv=8,3", .ffn = "120", .mamba = "heads=2"});
  for (const CandidateBlock& block : space.blocks) EXPECT_EQ(block.candidates.size(), 1u);
  ASSERT_EQ(space.notes.size(), 3u);
  for (const std::string& note : space.notes)
    EXPECT_NE(note.find("(3 blocks)"), std::string::npos) << note;
}

TEST(SearchSpace, TextThatIsNoListIsRefused) {
  const ModelConfig config = ConfigOf(kTinyLlama);
  const SpaceOptions wrong[] = {
      {.attention = "4,2"},   {.attention = "kv=x"},    {.attention = "kv=0"},
      {.attention = "kv=-1"}, {.attention = "heads=2"}, {.ffn = "half"},
      {.ffn = "50,,25"},      {.ffn = "nan"},           {.mamba = "head_dim=50%%"},
      {.mamba = "kv=1"},      {.ffn = "1e99999"}};
  for (const SpaceOptions& options : wrong) {
    try {
      MakeSearchSpace(config, options);
      ADD_FAILURE() << options.attention << " " << options.ffn << " " << options.mamba;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kUsage);
    }
  }
}

TEST(SearchSpace, WidthsAreWholeStepsAndNeverAboveTheParents) {
  EXPECT_EQ(FfnWidthOf(1536, 0.75), 1152u);
  EXPECT_EQ(FfnWidthOf(1536, 0.10), 128u);
  EXPECT_EQ(FfnWidthOf(14336, 0.5), 7168u);
  EXPECT_EQ(FfnWidthOf(14336, 0.01), 256u);
  EXPECT_EQ(FfnWidthOf(64, 0.001), 8u);
  EXPECT_EQ(FfnWidthOf(5, 0.5), 5u);
  EXPECT_EQ(FfnWidthOf(100, 1.0), 100u);
}

}  // namespace
}  // namespace planish
