// SPDX-License-Identifier: Apache-2.0
// Edited configs open again to exactly the blocks that were asked for, keep what the edit does not touch, and are refused
// where no config can say them.
#include "model/config_edit.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "model/gguf_map.h"
#include "model/planner.h"

namespace planish {
namespace {

ModelConfig Published(const std::string& name) {
  return ConfigFromJson(*PublishedConfig(name), name);
}

ConfigEdit Identity(const ModelConfig& config) {
  ConfigEdit edit;
  for (const BlockConfig& block : config.blocks) edit.blocks.emplace_back(block.mixer);
  return edit;
}

// What a reader of the written text gets.
ModelConfig Again(const EditedConfig& edited) {
  return ConfigFromJson(
      ParseJson(DumpJson(ConfigToJson(edited.config)), "text", {.allow_non_finite = true}), "text");
}

void ExpectRefused(const ModelConfig& parent, const ConfigEdit& edit, const std::string& part) {
  try {
    EditConfig(parent, edit);
    ADD_FAILURE() << "accepted, expected a complaint about " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage);
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

template <typename Kind>
Kind& Get(ConfigEdit& edit, size_t block) {
  return std::get<Kind>(*edit.blocks[block]);
}

TEST(ConfigEdit, IdentityKeepsEveryPublishedConfig) {
  for (const std::string& name : PublishedNames()) {
    const ModelConfig parent = Published(name);
    const EditedConfig edited = EditConfig(parent, Identity(parent));
    const ModelConfig again = Again(edited);
    EXPECT_EQ(again.blocks, parent.blocks) << name;
    EXPECT_EQ(again.family, parent.family) << name;
    EXPECT_EQ(again.n_layers, parent.n_layers) << name;
    EXPECT_EQ(again.norm_eps, parent.norm_eps) << name;
    EXPECT_EQ(again.rope_theta, parent.rope_theta) << name;
    EXPECT_EQ(again.eos_ids, parent.eos_ids) << name;
    ASSERT_EQ(edited.parent_of.size(), parent.blocks.size()) << name;
    for (size_t i = 0; i < edited.parent_of.size(); ++i) EXPECT_EQ(edited.parent_of[i], i);
  }
}

TEST(ConfigEdit, KeysThatTheEditDoesNotTouchStay) {
  Json json = *PublishedConfig("nano-9b-v2");
  json.Set("initializer_range", 0.05);
  json.Set("expand", int64_t{3});
  json.Set("auto_map", "custom.py");
  const ModelConfig parent = ConfigFromJson(json, "parent");
  const Json edited = ConfigToJson(EditConfig(parent, Identity(parent)).config);
  for (const char* key : {"initializer_range", "expand", "auto_map"})
    EXPECT_EQ(*edited.Find(key), *json.Find(key)) << key;
}

TEST(ConfigEdit, LlamaWithUnequalOrMissingBlocksBecomesDeciLm) {
  const ModelConfig parent = Published("ln-nano-8b");  // 32 layers, hidden 4096
  ConfigEdit edit = Identity(parent);
  edit.hidden_size = 3072;
  Get<AttentionConfig>(edit, 0).n_kv_heads = 2;
  Get<FfnConfig>(edit, 3).intermediate_size =
      1000;  // no multiple of 256: not to be written as ffn_mult
  Get<FfnConfig>(edit, 5).intermediate_size = 7168;
  edit.blocks[6] = std::nullopt;                     // layer 3 keeps its FFN alone
  edit.blocks[9] = LinearConfig{};                   // layer 4
  edit.blocks[12] = edit.blocks[13] = std::nullopt;  // layer 6 goes
  const EditedConfig edited = EditConfig(parent, edit);
  const ModelConfig again = Again(edited);
  EXPECT_EQ(again.family, Family::kDeci);
  EXPECT_EQ(ConfigToJson(again).Find("architectures")->AsArray()[0].AsString(),
            "DeciLMForCausalLM");
  EXPECT_EQ(again.n_layers, 31u);
  EXPECT_EQ(again.hidden_size, 3072u);
  EXPECT_EQ(again.norm_eps, parent.norm_eps) << "the families have different defaults";
  ASSERT_EQ(again.blocks.size(), parent.blocks.size() - 3);
  for (size_t i = 0; i < again.blocks.size(); ++i) {
    const size_t from = edited.parent_of[i];
    EXPECT_EQ(again.blocks[i].mixer, *edit.blocks[from]) << from;
    EXPECT_EQ(again.blocks[i].slot, parent.blocks[from].slot) << from;
    EXPECT_EQ(again.blocks[i].layer, parent.blocks[from].layer - (from > 13 ? 1 : 0)) << from;
  }
  edit.keeps_empty_layers = true;
  const ModelConfig with_empty = Again(EditConfig(parent, edit));
  EXPECT_EQ(with_empty.n_layers, 32u);
  ASSERT_EQ(with_empty.blocks.size(), again.blocks.size());
  for (size_t i = 0; i < with_empty.blocks.size(); ++i)
    EXPECT_EQ(with_empty.blocks[i].layer, parent.blocks[edited.parent_of[i]].layer);
  // A child is a parent again.
  const EditedConfig grandchild = EditConfig(again, Identity(again));
  EXPECT_EQ(grandchild.config.blocks, again.blocks);
}

TEST(ConfigEdit, LlamaOfEqualBlocksStaysLlama) {
  const ModelConfig parent = Published("ln-nano-8b");
  ConfigEdit edit = Identity(parent);
  edit.hidden_size = 3072;
  for (size_t i = 0; i < edit.blocks.size(); i += 2) {
    Get<AttentionConfig>(edit, i).n_heads = 16;
    Get<FfnConfig>(edit, i + 1).intermediate_size = 999;
  }
  for (const size_t i : {20, 21, 40, 41}) edit.blocks[i] = std::nullopt;
  const ModelConfig again = Again(EditConfig(parent, edit));
  EXPECT_EQ(again.family, Family::kLlama);
  EXPECT_EQ(again.n_layers, 30u);
  EXPECT_EQ(std::get<AttentionConfig>(again.blocks[0].mixer).head_dim, 128u)
      << "not the new hidden size over the new heads";
  EXPECT_EQ(std::get<AttentionConfig>(again.blocks[58].mixer).n_heads, 16u);
  EXPECT_EQ(std::get<FfnConfig>(again.blocks[59].mixer).intermediate_size, 999u);
}

TEST(ConfigEdit, DepthEditOfNemotronHDropsLettersAndSlicesLists) {
  Json json = *PublishedConfig("nano-12b-v2");
  Json::Array names;
  for (const char c : json.Find("hybrid_override_pattern")->AsString())
    names.push_back(c == 'M' ? "mamba" : c == '*' ? "attention" : "mlp");
  json.Set("layers_block_type", names);
  const ModelConfig parent = ConfigFromJson(json, "parent");
  ConfigEdit edit = Identity(parent);
  std::string expected;
  for (size_t i = 0; i < parent.blocks.size(); ++i) {
    if (i == 0 || i == 7 || i == 61)
      edit.blocks[i] = std::nullopt;
    else
      expected += "*M-"[parent.blocks[i].mixer.index()];
  }
  const EditedConfig edited = EditConfig(parent, edit);
  const ModelConfig again = Again(edited);
  EXPECT_EQ(again.source.Find("hybrid_override_pattern")->AsString(), expected);
  EXPECT_EQ(again.source.Find("layers_block_type"), nullptr);
  EXPECT_EQ(again.source.Find("planish_block_configs"), nullptr)
      << "all blocks of a kind are equal";
  EXPECT_EQ(again.n_layers, 59u);
  for (size_t i = 0; i < again.blocks.size(); ++i) {
    EXPECT_EQ(again.blocks[i].layer, i);
    EXPECT_EQ(again.blocks[i].mixer, parent.blocks[edited.parent_of[i]].mixer);
  }
}

TEST(ConfigEdit, TwelveBillionToThePublishedNineBillion) {
  const ModelConfig parent = Published("nano-12b-v2"), nine = Published("nano-9b-v2");
  ConfigEdit edit = Identity(parent);
  edit.hidden_size = 4480;
  size_t drop[] = {2, 3,
                   1};  // attention, mamba2 and ffn blocks beyond 4, 27 and 25 (some of each kind)
  drop[0] = parent.CountBlocks(0) - 4;
  drop[1] = parent.CountBlocks(1) - 27;
  drop[2] = parent.CountBlocks(2) - 25;
  for (auto& block : edit.blocks) {
    if (auto* ffn = std::get_if<FfnConfig>(&*block)) ffn->intermediate_size = 15680;
    if (drop[block->index()] > 0) --drop[block->index()], block = std::nullopt;
  }
  EXPECT_EQ(MakePlan(EditConfig(parent, edit).config, {}).parameters,
            MakePlan(nine, {}).parameters);
}

TEST(ConfigEdit, UnequalHybridBlocksAreListedAndReadBack) {
  const ModelConfig parent = Published("nano-9b-v2");
  ConfigEdit edit = Identity(parent);
  size_t mamba = 0, ffn = 0, attention = 0;
  for (size_t i = 0; i < edit.blocks.size(); ++i) {
    if (auto* m = std::get_if<Mamba2Config>(&*edit.blocks[i]); m != nullptr && mamba++ % 3 == 1)
      m->n_heads = 64, m->head_dim = 40;
    else if (auto* f = std::get_if<FfnConfig>(&*edit.blocks[i]); f != nullptr && ffn++ % 2 == 1)
      f->intermediate_size = 1234;
    else if (auto* a = std::get_if<AttentionConfig>(&*edit.blocks[i]);
             a != nullptr && attention++ == 2)
      a->n_kv_heads = 2, a->n_heads = 20;
  }
  edit.blocks[1] = LinearConfig{};
  edit.blocks[5] = std::nullopt;
  const EditedConfig edited = EditConfig(parent, edit);
  const ModelConfig again = Again(edited);
  ASSERT_EQ(again.blocks.size(), parent.blocks.size() - 1);
  for (size_t i = 0; i < again.blocks.size(); ++i)
    EXPECT_EQ(again.blocks[i].mixer, *edit.blocks[edited.parent_of[i]]) << i;
  EXPECT_EQ(EditConfig(again, Identity(again)).config.blocks, again.blocks);
  EXPECT_THROW(ConfigToGguf(again), Error) << "GGUF has one size for Mamba-2";
}

TEST(ConfigEdit, GgufTakesUnequalFfnsAndHeads) {
  const ModelConfig parent = Published("nano-9b-v2");
  ConfigEdit edit = Identity(parent);
  bool is_first = true;
  for (auto& block : edit.blocks) {
    if (auto* f = std::get_if<FfnConfig>(&*block)) f->intermediate_size += is_first ? 32 : 0;
    if (auto* a = std::get_if<AttentionConfig>(&*block)) a->n_heads -= is_first ? 8 : 0;
    if (block->index() != 1) is_first = false;
  }
  EXPECT_NO_THROW(ConfigToGguf(EditConfig(parent, edit).config));
}

TEST(ConfigEdit, RefusesWhatNoConfigCanSay) {
  const ModelConfig llama = Published("ln-nano-8b"), qwen = Published("qwen3-8b"),
                    hybrid = Published("nano-9b-v2");
  ConfigEdit edit = Identity(llama);
  edit.blocks[4] = *Identity(hybrid).blocks[0];
  ExpectRefused(llama, edit, "block 4");
  edit = Identity(llama);
  Get<AttentionConfig>(edit, 2).n_heads = 16;  // DeciLM has one number of query heads
  ExpectRefused(llama, edit, "block 2");
  edit = Identity(llama);
  Get<AttentionConfig>(edit, 2).n_kv_heads = 3;
  ExpectRefused(llama, edit, "block 2");
  edit = Identity(llama);
  for (size_t i = 0; i < edit.blocks.size(); i += 2) edit.blocks[i] = std::nullopt;
  ExpectRefused(llama, edit, "attention");
  for (auto& block : edit.blocks) block = std::nullopt;
  ExpectRefused(llama, edit, "no block");
  edit = Identity(qwen);
  Get<FfnConfig>(edit, 1).intermediate_size = 128;
  ExpectRefused(qwen, edit, "qwen3");
  edit = Identity(hybrid);
  Get<Mamba2Config>(edit, 0).n_heads = 12;  // of 8 groups
  ExpectRefused(hybrid, edit, "groups");
  edit = Identity(hybrid);
  Get<FfnConfig>(edit, 1).kind = FfnKind::kSwiGlu;
  ExpectRefused(hybrid, edit, "activation");
}

TEST(ConfigEdit, ListOfBlocksIsReadWithCare) {
  const auto refused = [](const char* blocks, const std::string& part) {
    Json json = *PublishedConfig("nano-9b-v2");
    json.Set("hybrid_override_pattern", "M-*");
    json.Set("num_hidden_layers", int64_t{3});
    json.Set("planish_block_configs", ParseJson(blocks, "test"));
    try {
      ConfigFromJson(json, "config.json");
      ADD_FAILURE() << "accepted " << blocks;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kBadFile);
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  refused("[{}, {}]", "planish_block_configs");
  refused("[{}, 7, {}]", "planish_block_configs[1]");
  refused(R"([{}, {"intermediate_size": 0}, {}])", "intermediate_size");
  refused(R"([{"mamba_num_heads": 12}, {}, {}])", "n_groups");
  refused(R"([{"intermediate_size": 12}, {}, {}])", "intermediate_size");
  refused(R"([{}, {}, {"num_key_value_heads": 41}])", "num_key_value_heads");
  refused(R"({"0": 1})", "planish_block_configs");
}

}  // namespace
}  // namespace planish
