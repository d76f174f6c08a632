// SPDX-License-Identifier: Apache-2.0
#include "model/gguf_map.h"

#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace planish {
namespace {

struct NamePair {
  std::string_view hf, gguf;
};

constexpr NamePair kGlobalNames[] = {
    {"model.embed_tokens.weight", "token_embd.weight"},
    {"backbone.embeddings.weight", "token_embd.weight"},
    {"model.norm.weight", "output_norm.weight"},
    {"backbone.norm_f.weight", "output_norm.weight"},
    {"lm_head.weight", "output.weight"},
};

constexpr NamePair kLayerNames[] = {
    {"input_layernorm.weight", "attn_norm.weight"},
    {"post_attention_layernorm.weight", "ffn_norm.weight"},
    {"self_attn.q_proj.weight", "attn_q.weight"},
    {"self_attn.k_proj.weight", "attn_k.weight"},
    {"self_attn.v_proj.weight", "attn_v.weight"},
    {"self_attn.o_proj.weight", "attn_output.weight"},
    {"self_attn.q_norm.weight", "attn_q_norm.weight"},
    {"self_attn.k_norm.weight", "attn_k_norm.weight"},
    {"self_attn.linear_attn.weight", "attn_output.weight"},
    {"mlp.gate_proj.weight", "ffn_gate.weight"},
    {"mlp.up_proj.weight", "ffn_up.weight"},
    {"mlp.down_proj.weight", "ffn_down.weight"},
    // Nemotron-H: one norm and one mixer a layer.
    {"norm.weight", "attn_norm.weight"},
    {"mixer.q_proj.weight", "attn_q.weight"},
    {"mixer.k_proj.weight", "attn_k.weight"},
    {"mixer.v_proj.weight", "attn_v.weight"},
    {"mixer.o_proj.weight", "attn_output.weight"},
    {"mixer.up_proj.weight", "ffn_up.weight"},
    {"mixer.down_proj.weight", "ffn_down.weight"},
    {"mixer.A_log", "ssm_a"},
    {"mixer.D", "ssm_d"},
    {"mixer.dt_bias", "ssm_dt.bias"},
    {"mixer.conv1d.weight", "ssm_conv1d.weight"},
    {"mixer.conv1d.bias", "ssm_conv1d.bias"},
    {"mixer.in_proj.weight", "ssm_in.weight"},
    {"mixer.norm.weight", "ssm_norm.weight"},
    {"mixer.out_proj.weight", "ssm_out.weight"},
};

// "model.layers.12.self_attn.q_proj.weight" -> ("12", "self_attn.q_proj.weight").
std::optional<std::pair<std::string_view, std::string_view>> SplitLayer(std::string_view name) {
  for (const std::string_view prefix : {"model.layers.", "backbone.layers."}) {
    if (!name.starts_with(prefix)) continue;
    const std::string_view rest = name.substr(prefix.size());
    const size_t dot = rest.find('.');
    if (dot == std::string_view::npos) return std::nullopt;
    return std::pair(rest.substr(0, dot), rest.substr(dot + 1));
  }
  return std::nullopt;
}

const AttentionConfig* AttentionOfLayer(const ModelConfig& config, std::string_view layer) {
  size_t index = 0;
  std::from_chars(layer.data(), layer.data() + layer.size(), index);
  for (const BlockConfig& block : config.blocks) {
    if (block.layer == index && std::holds_alternative<AttentionConfig>(block.mixer))
      return &std::get<AttentionConfig>(block.mixer);
  }
  return nullptr;
}

}  // namespace

std::optional<std::string> GgufTensorName(const std::string& hf_name) {
  for (const auto& [hf, gguf] : kGlobalNames) {
    if (hf_name == hf) return std::string(gguf);
  }
  const auto split = SplitLayer(hf_name);
  if (!split) return std::nullopt;
  for (const auto& [hf, gguf] : kLayerNames) {
    if (split->second == hf) return fmt::format("blk.{}.{}", split->first, gguf);
  }
  return std::nullopt;
}

Shape GgufTensorShape(const std::string& hf_name, const Shape& shape, const ModelConfig& config) {
  if (hf_name.ends_with(".mixer.A_log") || hf_name.ends_with(".mixer.D")) return {shape[0], 1};
  if (hf_name.ends_with(".mixer.conv1d.weight")) return {shape[0], shape[2]};
  if (hf_name.ends_with(".mixer.norm.weight")) {
    for (const BlockConfig& block : config.blocks) {
      if (const auto* mamba = std::get_if<Mamba2Config>(&block.mixer))
        return {mamba->n_groups, shape[0] / mamba->n_groups};
    }
  }
  return shape;
}

size_t PermutedHeads(const std::string& hf_name, const ModelConfig& config) {
  if (config.family != Family::kLlama && config.family != Family::kMistral &&
      config.family != Family::kDeci)
    return 0;
  const auto split = SplitLayer(hf_name);
  if (!split) return 0;
  const AttentionConfig* attention = AttentionOfLayer(config, split->first);
  if (attention == nullptr) return 0;
  if (split->second == "self_attn.q_proj.weight") return attention->n_heads;
  if (split->second == "self_attn.k_proj.weight") return attention->n_kv_heads;
  return 0;
}

size_t PermutedRow(size_t row, size_t head_dim) {
  const size_t head = row / head_dim, i = row % head_dim;
  return head * head_dim + (i % 2) * (head_dim / 2) + i / 2;
}

float AFromALog(float a_log) { return static_cast<float>(-std::exp(static_cast<double>(a_log))); }

float ALogFromA(float a) {
  const auto nearest = static_cast<float>(std::log(-static_cast<double>(a)));
  if (AFromALog(nearest) == a) return nearest;
  float up = nearest, down = nearest;
  for (int step = 0; step < 4; ++step) {
    up = std::nextafter(up, std::numeric_limits<float>::infinity());
    down = std::nextafter(down, -std::numeric_limits<float>::infinity());
    if (AFromALog(up) == a) return up;
    if (AFromALog(down) == a) return down;
  }
  return nearest;
}

std::vector<float> RopeDivisors(const ModelConfig& config, size_t head_dim) {
  if (config.rope_scaling.kind != RopeScaling::Kind::kLlama3) return {};
  const std::vector<float> plain = RopeInverseFrequencies(head_dim, config.rope_theta, {});
  std::vector<float> divisors =
      RopeInverseFrequencies(head_dim, config.rope_theta, config.rope_scaling);
  for (size_t i = 0; i < divisors.size(); ++i) divisors[i] = plain[i] / divisors[i];
  return divisors;
}

}  // namespace planish
