// SPDX-License-Identifier: Apache-2.0
// ModelConfig to config.json in the published (transformers 4) spelling, which all readers know.
#include <cmath>
#include <limits>

#include "base/error.h"
#include "model/config.h"

namespace planish {
namespace {

const char* TorchDtype(DType dtype) {
  return dtype == DType::kF32 ? "float32" : dtype == DType::kF16 ? "float16" : "bfloat16";
}

int64_t Int(size_t value) { return static_cast<int64_t>(value); }

Json RopeScalingJson(const RopeScaling& scaling) {
  if (scaling.kind == RopeScaling::Kind::kNone) return Json();
  Json json = Json::MakeObject();
  json.Set("factor", scaling.factor);
  if (scaling.kind == RopeScaling::Kind::kLlama3) {
    json.Set("high_freq_factor", scaling.high_freq_factor);
    json.Set("low_freq_factor", scaling.low_freq_factor);
    json.Set("original_max_position_embeddings", Int(scaling.original_max_position));
    json.Set("rope_type", "llama3");
  } else {
    json.Set("rope_type", "linear");
  }
  return json;
}

template <typename Kind>
const Kind* First(const ModelConfig& config) {
  for (const BlockConfig& block : config.blocks) {
    if (const Kind* found = std::get_if<Kind>(&block.mixer)) return found;
  }
  return nullptr;
}

Json DeciBlock(const ModelConfig& config, size_t layer, size_t n_heads) {
  Json attention = Json::MakeObject(), ffn = Json::MakeObject();
  attention.Set("n_heads_in_group", Json());
  attention.Set("no_op", true);
  for (const char* key : {"num_sink_tokens", "sparsify", "window_length"})
    attention.Set(key, Json());
  attention.Set("replace_with_linear", false);
  ffn.Set("ffn_mult", Json());
  ffn.Set("no_op", true);
  ffn.Set("replace_with_linear", false);
  ffn.Set("sparsify", Json());
  for (const BlockConfig& block : config.blocks) {
    if (block.layer != layer) continue;
    Json& side = block.slot == Slot::kAttention ? attention : ffn;
    side.Set("no_op", false);
    if (const auto* a = std::get_if<AttentionConfig>(&block.mixer)) {
      side.Set("n_heads_in_group", Int(n_heads / a->n_kv_heads));
    } else if (const auto* f = std::get_if<FfnConfig>(&block.mixer)) {
      // The rounding to 256 hides the exact multiplier; a width that is no multiple of 256 cannot be written as one.
      const double mult =
          1.5 * static_cast<double>(f->intermediate_size) / static_cast<double>(config.hidden_size);
      if (DeciIntermediateSize(mult, config.hidden_size) == f->intermediate_size)
        side.Set("ffn_mult", mult);
      else
        side.Set("intermediate_size", Int(f->intermediate_size));
    } else {
      side.Set("replace_with_linear", true);
    }
  }
  Json block = Json::MakeObject();
  block.Set("attention", std::move(attention));
  block.Set("ffn", std::move(ffn));
  return block;
}

void AddTransformer(const ModelConfig& config, Json* json) {
  const auto* attention = First<AttentionConfig>(config);
  const auto* ffn = First<FfnConfig>(config);
  const bool is_deci = config.family == Family::kDeci;
  PLANISH_CHECK(attention != nullptr && (ffn != nullptr || is_deci));
  json->Set("attention_bias", false);
  json->Set("hidden_act", "silu");
  json->Set("intermediate_size", is_deci ? Json() : Json(Int(ffn->intermediate_size)));
  json->Set("mlp_bias", false);
  json->Set("num_attention_heads", Int(attention->n_heads));
  json->Set("num_key_value_heads", is_deci ? Json() : Json(Int(attention->n_kv_heads)));
  if (attention->head_dim * attention->n_heads != config.hidden_size ||
      config.family == Family::kQwen3) {
    json->Set("head_dim", Int(attention->head_dim));
  }
  json->Set("rms_norm_eps", config.norm_eps);
  json->Set("rope_scaling", RopeScalingJson(config.rope_scaling));
  json->Set("rope_theta", config.rope_theta);
  if (config.family == Family::kMistral) json->Set("sliding_window", Json());
  if (is_deci) {
    Json blocks = Json::MakeArray();
    for (size_t layer = 0; layer < config.n_layers; ++layer)
      blocks.Append(DeciBlock(config, layer, attention->n_heads));
    json->Set("block_configs", std::move(blocks));
  }
}

// What a block of Nemotron-H has that differs from the config's own keys, which say what the first block of its kind is.
Json HybridBlock(const MixerConfig& mixer) {
  Json json = Json::MakeObject();
  if (const auto* attention = std::get_if<AttentionConfig>(&mixer)) {
    json.Set("head_dim", Int(attention->head_dim));
    json.Set("num_attention_heads", Int(attention->n_heads));
    json.Set("num_key_value_heads", Int(attention->n_kv_heads));
  } else if (const auto* mamba = std::get_if<Mamba2Config>(&mixer)) {
    json.Set("mamba_head_dim", Int(mamba->head_dim));
    json.Set("mamba_num_heads", Int(mamba->n_heads));
    json.Set("n_groups", Int(mamba->n_groups));
    json.Set("ssm_state_size", Int(mamba->state_size));
  } else if (const auto* ffn = std::get_if<FfnConfig>(&mixer)) {
    json.Set("intermediate_size", Int(ffn->intermediate_size));
  } else {
    json.Set("replace_with_linear", true);
  }
  return json;
}

bool IsFirstOfItsKind(const ModelConfig& config, const MixerConfig& mixer) {
  for (const BlockConfig& block : config.blocks) {
    if (block.mixer.index() == mixer.index()) return block.mixer == mixer;
  }
  return false;
}

void AddHybrid(const ModelConfig& config, Json* json) {
  std::string pattern;
  Json::Array blocks;
  bool has_differences = false;
  for (const BlockConfig& block : config.blocks) {
    pattern += "*M--"[block.mixer.index()];
    const bool differs =
        std::holds_alternative<LinearConfig>(block.mixer) || !IsFirstOfItsKind(config, block.mixer);
    blocks.push_back(differs ? HybridBlock(block.mixer) : Json::MakeObject());
    has_differences |= differs;
  }
  json->Set("hybrid_override_pattern", pattern);
  if (has_differences) json->Set("planish_block_configs", std::move(blocks));
  json->Set("layer_norm_epsilon", config.norm_eps);
  json->Set("rms_norm_eps", config.norm_eps);
  for (const char* key :
       {"attention_bias", "mlp_bias", "mamba_proj_bias", "use_bias", "residual_in_fp32"})
    json->Set(key, false);
  json->Set("mlp_hidden_act", "relu2");
  json->Set("mamba_hidden_act", "silu");
  if (const auto* attention = First<AttentionConfig>(config)) {
    json->Set("head_dim", Int(attention->head_dim));
    json->Set("num_attention_heads", Int(attention->n_heads));
    json->Set("num_key_value_heads", Int(attention->n_kv_heads));
  }
  if (const auto* ffn = First<FfnConfig>(config))
    json->Set("intermediate_size", Int(ffn->intermediate_size));
  if (const auto* mamba = First<Mamba2Config>(config)) {
    json->Set("chunk_size", Int(mamba->chunk_size));
    json->Set("conv_kernel", Int(mamba->conv_kernel));
    json->Set("expand", 2);
    json->Set("mamba_head_dim", Int(mamba->head_dim));
    json->Set("mamba_num_heads", Int(mamba->n_heads));
    json->Set("mamba_ssm_cache_dtype", "float32");
    json->Set("n_groups", Int(mamba->n_groups));
    json->Set("ssm_state_size", Int(mamba->state_size));
    Json limit = Json::MakeArray();
    limit.Append(mamba->time_step_low);
    limit.Append(mamba->time_step_high);
    json->Set("time_step_limit", std::move(limit));
    json->Set("use_conv_bias", mamba->has_conv_bias);
  }
}

}  // namespace

Json ConfigToJson(const ModelConfig& config) {
  if (!config.source.is_null()) return config.source;
  static constexpr const char* kArchitectures[] = {"LlamaForCausalLM", "MistralForCausalLM",
                                                   "Qwen3ForCausalLM", "DeciLMForCausalLM",
                                                   "NemotronHForCausalLM"};
  Json json = Json::MakeObject();
  Json architectures = Json::MakeArray();
  architectures.Append(kArchitectures[static_cast<size_t>(config.family)]);
  json.Set("architectures", std::move(architectures));
  if (config.bos_id) json.Set("bos_token_id", int64_t{*config.bos_id});
  if (config.eos_ids.size() == 1) {
    json.Set("eos_token_id", int64_t{config.eos_ids[0]});
  } else if (!config.eos_ids.empty()) {
    Json ids = Json::MakeArray();
    for (const int32_t id : config.eos_ids) ids.Append(int64_t{id});
    json.Set("eos_token_id", std::move(ids));
  }
  if (config.pad_id) json.Set("pad_token_id", int64_t{*config.pad_id});
  json.Set("hidden_size", Int(config.hidden_size));
  json.Set("max_position_embeddings", Int(config.max_position));
  json.Set("model_type", ModelType(config.family));
  json.Set("num_hidden_layers", Int(config.n_layers));
  if (config.family == Family::kNemotronH)
    AddHybrid(config, &json);
  else
    AddTransformer(config, &json);
  json.Set("tie_word_embeddings", config.tie_embeddings);
  json.Set("torch_dtype", TorchDtype(config.dtype));
  json.Set("use_cache", true);
  json.Set("vocab_size", Int(config.vocab_size));
  return json;
}

}  // namespace planish
