// SPDX-License-Identifier: Apache-2.0
// Slices keep widths, order and mix of the blocks; what config.json says of them reads back as the same slice.
#include "model/config_slice.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"

namespace planish {
namespace {

ModelConfig Published(const std::string& name) {
  return ConfigFromJson(*PublishedConfig(name), name);
}

// Kinds of the blocks of layers [first, first + count), with the layer they are in.
std::vector<std::pair<size_t, MixerConfig>> Blocks(const ModelConfig& config, size_t first,
                                                   size_t count) {
  std::vector<std::pair<size_t, MixerConfig>> blocks;
  for (const BlockConfig& block : config.blocks) {
    if (block.layer >= first && block.layer < first + count)
      blocks.emplace_back(block.layer - first, block.mixer);
  }
  return blocks;
}

TEST(SliceLayers, IsAWindowOfThePublishedModelWithItsWidths) {
  for (const std::string& name : PublishedNames()) {
    const ModelConfig whole = Published(name);
    for (const size_t n : {size_t{1}, size_t{14}, whole.n_layers - 1, whole.n_layers}) {
      SCOPED_TRACE(name + " " + std::to_string(n));
      ModelConfig slice;
      try {
        slice = SliceLayers(whole, n);
      } catch (const Error& error) {  // no window of one layer of these has attention
        ADD_FAILURE() << error.what();
        continue;
      }
      EXPECT_EQ(slice.n_layers, n);
      EXPECT_EQ(slice.hidden_size, whole.hidden_size);
      EXPECT_EQ(slice.vocab_size, whole.vocab_size);
      bool is_window = false;
      for (size_t first = 0; first + n <= whole.n_layers; ++first)
        is_window |= Blocks(slice, 0, n) == Blocks(whole, first, n);
      EXPECT_TRUE(is_window);
    }
    EXPECT_TRUE(SliceLayers(whole, whole.n_layers).HasBlocksOf(whole)) << name;
    EXPECT_THROW(SliceLayers(whole, whole.n_layers + 1), Error);
    EXPECT_THROW(SliceLayers(whole, 0), Error);
  }
}

TEST(SliceLayers, KeepsTheMixOfTheHybrid) {
  const ModelConfig whole = Published("nano-9b-v2");
  EXPECT_EQ(DescribeBlocks(SliceLayers(whole, 14)), "1 attention, 7 mamba2, 6 ffn");
  for (const size_t n : {14, 28, 42}) {
    const ModelConfig slice = SliceLayers(whole, n);
    for (size_t kind = 0; kind < std::size(kMixerNames); ++kind) {
      const double share =
          static_cast<double>(whole.CountBlocks(kind) * n) / static_cast<double>(whole.n_layers);
      EXPECT_LE(std::abs(static_cast<double>(slice.CountBlocks(kind)) - share), 1.0)
          << kMixerNames[kind] << " of " << n;
    }
  }
}

TEST(SliceLayers, OfBlockTypeListsEqualsThatOfPatterns) {
  Json json = *PublishedConfig("nano-9b-v2");
  const ModelConfig expected = SliceLayers(Published("nano-9b-v2"), 14);
  Json::Array names;
  for (const char c : json.Find("hybrid_override_pattern")->AsString())
    names.push_back(c == 'M' ? "mamba" : c == '*' ? "attention" : "mlp");
  json.Set("layers_block_type", names);
  EXPECT_EQ(SliceLayers(ConfigFromJson(json, "both"), 14).blocks, expected.blocks);
  json.Remove("hybrid_override_pattern");
  EXPECT_EQ(SliceLayers(ConfigFromJson(json, "list"), 14).blocks, expected.blocks);
}

TEST(CutVocabulary, MovesSpecialIdsBeyondItsEndOntoRowsThatStay) {
  const ModelConfig whole = Published("ln-nano-8b");  // bos 128000, one eos
  const ModelConfig cut = CutVocabulary(whole, 1000);
  EXPECT_EQ(cut.vocab_size, 1000u);
  ASSERT_TRUE(cut.bos_id.has_value());
  ASSERT_EQ(cut.eos_ids.size(), whole.eos_ids.size());
  EXPECT_LT(*cut.bos_id, 1000);
  EXPECT_LT(cut.eos_ids[0], 1000);
  EXPECT_NE(*cut.bos_id, cut.eos_ids[0]);
  EXPECT_EQ(cut.blocks, whole.blocks);
  const ModelConfig hybrid = CutVocabulary(Published("nano-9b-v2"), 1000);
  EXPECT_EQ(hybrid.bos_id, std::optional<int32_t>(1)) << "ids that stay keep their place";
  EXPECT_EQ(hybrid.eos_ids, std::vector<int32_t>{2});
  EXPECT_THROW(CutVocabulary(whole, whole.vocab_size + 1), Error);
  EXPECT_THROW(CutVocabulary(whole, 7), Error);
}

}  // namespace
}  // namespace planish
