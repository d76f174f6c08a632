// SPDX-License-Identifier: Apache-2.0
// For tests only: tiny parents of each family with random weights in memory, and rows of ids for them.
#pragma once

#include <vector>

#include "base/json.h"
#include "base/parallel.h"
#include "base/random.h"
#include "model/random_model.h"

namespace planish::testing {

inline constexpr const char* kTinyHybrid = R"({"model_type": "nemotron_h", "hidden_size": 32,
 "hybrid_override_pattern": "M-*-", "num_hidden_layers": 4, "vocab_size": 300,
 "max_position_embeddings": 4096, "intermediate_size": 48, "mlp_hidden_act": "relu2",
 "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "mamba_num_heads": 4,
 "mamba_head_dim": 8, "n_groups": 2, "ssm_state_size": 8, "conv_kernel": 4, "chunk_size": 16,
 "use_conv_bias": true, "layer_norm_epsilon": 1e-5, "initializer_range": 0.3,
 "bos_token_id": 256, "eos_token_id": 257, "pad_token_id": 258, "torch_dtype": "float32"})";

inline constexpr const char* kTinyLlama = R"({"model_type": "llama", "hidden_size": 32,
 "num_hidden_layers": 3, "vocab_size": 300, "max_position_embeddings": 4096,
 "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 4,
 "rms_norm_eps": 1e-5, "tie_word_embeddings": true, "initializer_range": 0.3,
 "bos_token_id": 256, "eos_token_id": 257, "torch_dtype": "float32"})";

inline constexpr const char* kTinyQwen = R"({"model_type": "qwen3", "hidden_size": 24,
 "num_hidden_layers": 2, "vocab_size": 300, "max_position_embeddings": 4096,
 "intermediate_size": 40, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
 "rms_norm_eps": 1e-5, "tie_word_embeddings": false, "initializer_range": 0.3,
 "eos_token_id": 257, "torch_dtype": "float32"})";

// With tokenizer; all parameters are owned floats.
inline Pretrained TinyModel(const char* config, uint64_t seed) {
  Pretrained made =
      RandomModel(ConfigFromJson(ParseJson(config, "tiny"), "tiny"), fmt::format("tiny {}", seed));
  const ParamRows rows = RandomRows(made.config, seed);
  made.model->VisitParams([&](const Param& param) {
    if (param.vector != nullptr) {
      *param.vector = Tensor::F32(param.shape);
      rows(param, 0, param.vector->f32());
      return;
    }
    Weight weight(param.name, param.shape[0], param.shape[1]);
    for (size_t r = 0; r < param.shape[0]; ++r)
      rows(param, r, reinterpret_cast<float*>(weight.mutable_data()) + r * param.shape[1]);
    *param.weight = std::move(weight);
  });
  made.model->ParamsChanged();
  return made;
}

// Random ids [count][length].
inline std::vector<std::vector<int32_t>> RandomIds(const Pretrained& model, size_t count,
                                                   size_t length, uint64_t seed) {
  Random random(seed);
  std::vector<std::vector<int32_t>> rows(count, std::vector<int32_t>(length));
  for (auto& row : rows)
    for (int32_t& id : row) id = static_cast<int32_t>(random.Below(model.config.vocab_size));
  return rows;
}

// Sets the number of threads for a scope.
class Threads {
 public:
  explicit Threads(int count) : before_(ThreadCount()) { SetThreadCount(count); }
  ~Threads() { SetThreadCount(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_;
};

}  // namespace planish::testing
