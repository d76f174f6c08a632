// SPDX-License-Identifier: Apache-2.0
#include "model/tensor_names.h"

#include "base/error.h"

namespace planish {

std::string EmbeddingName(Family family) {
  return family == Family::kNemotronH ? "backbone.embeddings.weight" : "model.embed_tokens.weight";
}

std::string FinalNormName(Family family) {
  return family == Family::kNemotronH ? "backbone.norm_f.weight" : "model.norm.weight";
}

std::string HeadName() { return "lm_head.weight"; }

std::string BlockNormName(Family family, const BlockConfig& block) {
  if (family == Family::kNemotronH)
    return fmt::format("backbone.layers.{}.norm.weight", block.layer);
  return fmt::format(
      "model.layers.{}.{}.weight", block.layer,
      block.slot == Slot::kAttention ? "input_layernorm" : "post_attention_layernorm");
}

std::string MixerPrefix(Family family, const BlockConfig& block) {
  if (family == Family::kNemotronH) return fmt::format("backbone.layers.{}.mixer.", block.layer);
  const bool is_attention = block.slot == Slot::kAttention;
  const std::string place = is_attention ? "self_attn" : "mlp";
  if (std::holds_alternative<LinearConfig>(block.mixer)) {
    return fmt::format("model.layers.{}.{}.{}.", block.layer, place,
                       is_attention ? "linear_attn" : "linear_mlp");
  }
  return fmt::format("model.layers.{}.{}.", block.layer, place);
}

}  // namespace planish
