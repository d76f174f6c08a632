// SPDX-License-Identifier: Apache-2.0
// What a model is, as plain data: dimensions and a flat list of blocks, each `h += mixer(norm(h))` with exactly one mixer.
// A Llama or DeciLM layer is up to two blocks, a Nemotron-H layer is one; a no-op is an absent block whose index in the
// Hugging Face names is kept. Read from config.json (all families, published and transformers-5 spelling) or from GGUF keys.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/json.h"
#include "kernels/rope.h"
#include "tensor/dtype.h"

namespace planish {

enum class Family { kLlama, kMistral, kQwen3, kDeci, kNemotronH };
const char* ModelType(
    Family family);  // config.json "model_type": "llama", ..., "nemotron-nas", "nemotron_h"

struct AttentionConfig {
  size_t n_heads = 0;     // H
  size_t n_kv_heads = 0;  // K, divides H
  size_t head_dim = 0;    // P; H * P need not be the hidden size
  bool has_rope = true;
  bool has_qk_norm = false;  // RMSNorm over head_dim on q and k before RoPE (Qwen3)
  bool operator==(const AttentionConfig&) const = default;
};

struct Mamba2Config {
  size_t n_heads = 0;       // H, mamba_num_heads
  size_t head_dim = 0;      // P, mamba_head_dim
  size_t state_size = 0;    // N, ssm_state_size
  size_t n_groups = 0;      // G, divides H
  size_t conv_kernel = 4;   // W
  size_t chunk_size = 128;  // of the chunked scan: a choice of the kernel, not of the function
  bool has_conv_bias = true;
  double time_step_low = 0.0;   // time_step_limit: dt is clamped to [low, high] after softplus
  double time_step_high = 0.0;  // infinity in all published models
  size_t inner() const { return n_heads * head_dim; }  // d_in; not expand * hidden_size
  size_t conv_dim() const { return inner() + 2 * n_groups * state_size; }
  size_t in_proj_rows() const { return inner() + conv_dim() + n_heads; }
  bool operator==(const Mamba2Config&) const = default;
};

enum class FfnKind { kReluSquared, kSwiGlu };  // down(relu(up x)^2) | down(silu(gate x) * up x)
struct FfnConfig {
  size_t intermediate_size = 0;  // F
  FfnKind kind = FfnKind::kSwiGlu;
  bool operator==(const FfnConfig&) const = default;
};

struct
    LinearConfig {  // one [D, D] matrix in place of attention or FFN (DeciLM replace_with_linear)
  bool operator==(const LinearConfig&) const = default;
};

using MixerConfig = std::variant<AttentionConfig, Mamba2Config, FfnConfig, LinearConfig>;
inline constexpr const char* kMixerNames[] = {"attention", "mamba2", "ffn",
                                              "linear"};  // by MixerConfig::index()

// Which of a Hugging Face layer's places a block takes; it decides the tensor names.
enum class Slot { kWhole, kAttention, kFfn };

struct BlockConfig {
  size_t layer = 0;  // index in Hugging Face names and in GGUF "blk.N"
  Slot slot = Slot::kWhole;
  MixerConfig mixer;
  bool operator==(const BlockConfig&) const = default;
};

struct ModelConfig {
  Family family = Family::kLlama;
  size_t hidden_size = 0;  // D
  size_t vocab_size = 0;   // V
  size_t n_layers = 0;     // Hugging Face layer count; no_op layers have no block
  size_t max_position = 0;
  double norm_eps = 1e-5;
  bool tie_embeddings = false;
  double rope_theta = 10000.0;
  RopeScaling rope_scaling;
  DType dtype = DType::kBF16;  // declared torch_dtype | dtype
  std::optional<int32_t> bos_id, pad_id;
  std::vector<int32_t> eos_ids;
  std::vector<BlockConfig> blocks;
  Json source;  // the config.json it was read from; null when made from GGUF keys

  size_t CountBlocks(size_t kind) const;  // kind: an index of kMixerNames
  // The same blocks but for chunk_size, which changes no result and which GGUF does not have.
  bool HasBlocksOf(const ModelConfig& other) const;
};

// Block counts by mixer kind, for messages: "27 mamba2, 4 attention, 25 ffn".
std::string DescribeBlocks(const ModelConfig& config);

// `where` names the file. Errors are kBadFile and name the key, what was found and what was expected.
ModelConfig ConfigFromJson(const Json& json, const std::string& where);
// A config.json file, or a model folder that holds one.
ModelConfig ReadConfig(const std::string& path);
// The config.json of a model: `source` if there is one, else one made from the fields, in published spelling.
Json ConfigToJson(const ModelConfig& config);

// DeciLM's FFN width: round_up(trunc(2 * ffn_mult * hidden / 3), 256); models.md section 3.
size_t DeciIntermediateSize(double ffn_mult, size_t hidden_size);

// Published shapes known by name: "nano-9b-v2", "ln-super-49b", ...; null if unknown.
std::optional<Json> PublishedConfig(const std::string& name);
std::vector<std::string> PublishedNames();

}  // namespace planish
