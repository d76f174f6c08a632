// SPDX-License-Identifier: Apache-2.0
// For tests only: small models with random weights that stand in memory as floats.
#pragma once

#include <string>
#include <vector>

#include "base/random.h"
#include "base/testing.h"
#include "compress/calibration.h"
#include "model/random_model.h"

namespace planish::testing {

// All three kinds of block; rows fill blocks of 32, those of the FFN of the second model 256, too.
inline constexpr const char* kSmallHybrid = R"({"model_type": "nemotron_h", "hidden_size": 64,
  "vocab_size": 264, "num_hidden_layers": 4, "hybrid_override_pattern": "M-*-",
  "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
  "mamba_num_heads": 4, "mamba_head_dim": 16, "n_groups": 2, "ssm_state_size": 16,
  "conv_kernel": 4, "chunk_size": 16, "use_conv_bias": true, "layer_norm_epsilon": 1e-5,
  "initializer_range": 0.2, "bos_token_id": 256, "eos_token_id": 257, "pad_token_id": 258})";
inline constexpr const char* kSmallLlama = R"({"model_type": "llama", "hidden_size": 64,
  "vocab_size": 264, "num_hidden_layers": 2, "intermediate_size": 256, "num_attention_heads": 4,
  "num_key_value_heads": 2, "head_dim": 32, "hidden_act": "silu", "rms_norm_eps": 1e-5,
  "rope_theta": 10000.0, "max_position_embeddings": 512, "initializer_range": 0.2,
  "tie_word_embeddings": true, "bos_token_id": 256, "eos_token_id": 257})";

inline Pretrained SmallModel(const TemporaryDir& dir, const char* config_json) {
  const ModelConfig config = ConfigFromJson(ParseJson(config_json, "config"), "config");
  Pretrained made = RandomModel(config, "small");
  ExportGguf(&made, dir / "small.gguf", DType::kF32, {.rows = RandomRows(config, 11)});
  return OpenPretrained(dir / "small.gguf");
}

inline CalibrationRows SmallRows(size_t count, size_t length, uint64_t seed) {
  Random random(seed);
  CalibrationRows rows;
  rows.rows.assign(count, std::vector<int32_t>(length));
  for (auto& row : rows.rows)
    for (int32_t& id : row) id = static_cast<int32_t>(random.Below(32));
  rows.description = "random ids";
  return rows;
}

inline std::vector<float> HiddenOf(const Model& model, const std::vector<int32_t>& ids) {
  Workspace workspace;
  std::vector<float> hidden(ids.size() * model.config().hidden_size);
  model.Forward(ids, SeqLayout(ids.size()), hidden.data(), &workspace);
  return hidden;
}

}  // namespace planish::testing
