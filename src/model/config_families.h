// SPDX-License-Identifier: Apache-2.0
// config.json of each family to ModelConfig. Internal to model/config.
#pragma once

#include "model/config.h"

namespace planish {

ModelConfig LlamaConfig(const JsonReader& reader, Family family);  // Llama, Mistral, Qwen3
ModelConfig DeciConfig(const JsonReader& reader);
ModelConfig NemotronHConfig(const JsonReader& reader);

// Keys that all families share: sizes, vocabulary, token ids, dtype, epsilon.
ModelConfig CommonConfig(const JsonReader& reader, Family family);
// rope_theta + rope_scaling (published) or rope_parameters (transformers 5).
void ReadRope(const JsonReader& reader, ModelConfig* config);
// Heads, key-value heads and head size of a transformer; `n_kv_heads` is checked to divide `n_heads`.
AttentionConfig ReadAttention(const JsonReader& reader, const ModelConfig& config,
                              size_t n_kv_heads, size_t head_dim);
// Refuses an option that is set although this program does not implement it.
void RequireOff(const JsonReader& reader, std::string_view key);
// The same for a factor: absent or 1.
void RequireOne(const JsonReader& reader, std::string_view key);

}  // namespace planish
