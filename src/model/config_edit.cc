// SPDX-License-Identifier: Apache-2.0
#include "model/config_edit.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "model/config_families.h"

namespace planish {
namespace {

std::string Describe(const MixerConfig& mixer) {
  if (const auto* a = std::get_if<AttentionConfig>(&mixer))
    return fmt::format("attention of {} heads and {} key-value heads of {}", a->n_heads,
                       a->n_kv_heads, a->head_dim);
  if (const auto* m = std::get_if<Mamba2Config>(&mixer))
    return fmt::format("mamba2 of {} heads of {} in {} groups", m->n_heads, m->head_dim,
                       m->n_groups);
  if (const auto* f = std::get_if<FfnConfig>(&mixer))
    return fmt::format("an FFN of {}", f->intermediate_size);
  return "a linear block";
}

void CheckMixer(Family family, size_t block, const MixerConfig& mixer) {
  const auto refuse = [&](const std::string& reason) {
    throw UsageError("block {}: {}: {}", block, Describe(mixer), reason);
  };
  if (const auto* a = std::get_if<AttentionConfig>(&mixer)) {
    if (a->n_heads == 0 || a->n_kv_heads == 0 || a->head_dim == 0 ||
        a->n_heads % a->n_kv_heads != 0)
      refuse("heads must be a multiple of key-value heads, at least one");
  } else if (const auto* m = std::get_if<Mamba2Config>(&mixer)) {
    if (family != Family::kNemotronH)
      refuse(fmt::format("a {} model has no Mamba-2 blocks", ModelType(family)));
    if (m->n_heads == 0 || m->head_dim == 0 || m->n_groups == 0 || m->n_heads % m->n_groups != 0)
      refuse("heads must be a multiple of groups, at least one");
  } else if (const auto* f = std::get_if<FfnConfig>(&mixer)) {
    if (f->intermediate_size == 0) refuse("the width must be at least 1");
    const FfnKind kind = family == Family::kNemotronH ? FfnKind::kReluSquared : FfnKind::kSwiGlu;
    if (f->kind != kind) refuse(fmt::format("has not the activation of {}", ModelType(family)));
  }
}

// Both places of every layer taken, by blocks like the first of their kind: what llama, mistral and qwen3 can say.
bool IsUniform(const ModelConfig& config) {
  if (config.blocks.size() != 2 * config.n_layers) return false;
  for (size_t i = 0; i < config.blocks.size(); ++i) {
    const BlockConfig& block = config.blocks[i];
    if (block.slot != (i % 2 == 0 ? Slot::kAttention : Slot::kFfn)) return false;
    if (block.mixer != config.blocks[i % 2].mixer) return false;
  }
  return std::holds_alternative<AttentionConfig>(config.blocks[0].mixer) &&
         std::holds_alternative<FfnConfig>(config.blocks[1].mixer);
}

// The parent's layers by their new numbers: those that had a block and lost it are gone.
std::vector<std::optional<size_t>> NewLayers(const ModelConfig& parent, const ConfigEdit& edit) {
  std::vector<bool> had(parent.n_layers), has(parent.n_layers);
  for (size_t i = 0; i < parent.blocks.size(); ++i) {
    had[parent.blocks[i].layer] = true;
    if (edit.blocks[i]) has[parent.blocks[i].layer] = true;
  }
  std::vector<std::optional<size_t>> layers(parent.n_layers);
  const bool keeps_empty = edit.keeps_empty_layers && parent.family != Family::kNemotronH;
  size_t next = 0;
  for (size_t layer = 0; layer < parent.n_layers; ++layer) {
    if (has[layer] || !had[layer] || keeps_empty) layers[layer] = next++;
  }
  return layers;
}

// Everything that blocks and widths decide is written anew in one spelling; the parent's other names of it would contradict.
constexpr const char* kStaleKeys[] = {
    "layers_block_type",     "layer_types",    "block_configs",
    "planish_block_configs", "mamba_n_groups", "mamba_num_groups",
    "mamba_state_dim",       "mamba_d_conv",   "mamba_chunk_size",
    "mamba_conv_bias",       "mamba_dt_limit", "attention_head_dim",
    "rope_parameters",       "dtype",          "quantization_config"};
// Choices of a family's other readers, which this program has no opinion of.
constexpr const char* kParentsKeys[] = {"use_cache", "expand", "residual_in_fp32",
                                        "mamba_ssm_cache_dtype"};

Json EditedJson(const ModelConfig& parent, const ModelConfig& child) {
  const Json fresh = ConfigToJson(child);
  if (parent.source.is_null()) return fresh;
  Json json = parent.source;
  for (const char* key : kStaleKeys) json.Remove(key);
  if (child.family != parent.family) json.Remove("auto_map");
  const std::set<std::string> parents(std::begin(kParentsKeys), std::end(kParentsKeys));
  for (const auto& [key, value] : fresh.AsObject()) {
    if (key == "architectures" && child.family == parent.family && json.Find(key) != nullptr)
      continue;
    if (parents.contains(key) && json.Find(key) != nullptr) continue;
    json.Set(key, value);
  }
  // ConfigToJson leaves the head size out where it is the quotient of hidden size and heads; the parent's may be another.
  for (const BlockConfig& block : child.blocks) {
    const auto* attention = std::get_if<AttentionConfig>(&block.mixer);
    if (attention == nullptr) continue;
    if (json.Find("head_dim") != nullptr)
      json.Set("head_dim", static_cast<int64_t>(attention->head_dim));
    break;
  }
  return json;
}

ModelConfig ReadBack(const Json& json, const ModelConfig& child, const EditedConfig& edited) {
  ModelConfig again;
  try {
    again = ConfigFromJson(json, "edited config");
  } catch (const Error& error) {
    throw UsageError("{}", error.what());
  }
  for (size_t i = 0; i < child.blocks.size(); ++i) {
    if (i < again.blocks.size() && again.blocks[i] == child.blocks[i]) continue;
    throw UsageError("block {}: {}: the config of a {} model cannot say it beside {}",
                     edited.parent_of[i], Describe(child.blocks[i].mixer), ModelType(child.family),
                     DescribeBlocks(child));
  }
  return again;
}

}  // namespace

EditedConfig EditConfig(const ModelConfig& parent, const ConfigEdit& edit) {
  PLANISH_CHECK(edit.blocks.size() == parent.blocks.size());
  EditedConfig edited;
  ModelConfig child = parent;
  child.source = Json();
  child.blocks.clear();
  if (edit.hidden_size != 0) child.hidden_size = edit.hidden_size;
  const auto layers = NewLayers(parent, edit);
  child.n_layers = static_cast<size_t>(std::count_if(
      layers.begin(), layers.end(), [](const auto& layer) { return layer.has_value(); }));
  for (size_t i = 0; i < parent.blocks.size(); ++i) {
    if (!edit.blocks[i]) continue;
    CheckMixer(parent.family, i, *edit.blocks[i]);
    child.blocks.push_back(
        {*layers[parent.blocks[i].layer], parent.blocks[i].slot, *edit.blocks[i]});
    edited.parent_of.push_back(i);
  }
  if (child.blocks.empty()) throw UsageError("no block is left of {}", parent.blocks.size());
  if (parent.family != Family::kNemotronH) {
    if (child.CountBlocks(MixerConfig(AttentionConfig()).index()) == 0)
      throw UsageError("no attention block is left: a {} model needs one",
                       ModelType(parent.family));
    if (parent.family != Family::kDeci && !IsUniform(child)) {
      if (parent.family == Family::kQwen3) {
        throw UsageError(
            "the blocks of a qwen3 model must stay alike in all layers: DeciLM, which could say "
            "more, "
            "has no norm on queries and keys");
      }
      child.family = Family::kDeci;
    }
  }
  edited.config = ReadBack(EditedJson(parent, child), child, edited);
  return edited;
}

}  // namespace planish
