// SPDX-License-Identifier: Apache-2.0
#include "model/config_families.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <map>

#include "base/error.h"

namespace planish {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

int64_t AsSigned(uint64_t limit) { return static_cast<int64_t>(limit); }

// Two names of one key: both may be present, then they must agree.
size_t Alias(const JsonReader& reader, std::string_view name, std::string_view other, int64_t low,
             uint64_t high) {
  if (!reader.Has(other)) return static_cast<size_t>(reader.Int(name, low, AsSigned(high)));
  const int64_t value = reader.Int(other, low, AsSigned(high));
  if (reader.Has(name) && reader.Int(name, low, AsSigned(high)) != value)
    reader.Fail(name, fmt::format("{}, the value of {}", value, other));
  return static_cast<size_t>(value);
}

std::string FirstOf(const JsonReader& reader, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (reader.Has(name)) return name;
  }
  return *names.begin();
}

std::vector<int32_t> TokenIds(const JsonReader& reader, std::string_view key, size_t vocab_size) {
  if (!reader.Has(key)) return {};
  const Json& value = *reader.json().Find(key);
  const Json::Array items = value.is_array() ? value.AsArray() : Json::Array{value};
  std::vector<int32_t> ids;
  for (const Json& item : items) {
    if (!item.is_integer() || item.AsInt() < 0 || item.AsInt() >= AsSigned(vocab_size)) {
      reader.Fail(key, fmt::format("token ids in [0, {})", vocab_size));
    }
    ids.push_back(static_cast<int32_t>(item.AsInt()));
  }
  return ids;
}

// -1 is used by some files for "no such token".
std::optional<int32_t> TokenIdOr(const JsonReader& reader, std::string_view key,
                                 size_t vocab_size) {
  if (!reader.Has(key)) return std::nullopt;
  if (const Json* value = reader.json().Find(key); value->is_integer() && value->AsInt() == -1)
    return std::nullopt;
  return static_cast<int32_t>(reader.Int(key, 0, AsSigned(vocab_size) - 1));
}

void RequireSilu(const JsonReader& reader) {
  if (reader.StringOr("hidden_act", "silu") != "silu") reader.Fail("hidden_act", "\"silu\"");
}

MixerConfig DeciAttention(const JsonReader& layer, const ModelConfig& config, size_t head_dim,
                          bool* is_absent) {
  const JsonReader attention = layer.Object("attention");
  const bool no_op = attention.BoolOr("no_op", false),
             linear = attention.BoolOr("replace_with_linear", false);
  if (no_op && linear) attention.Fail("replace_with_linear", "false, because no_op is true");
  for (const char* key : {"sparsify", "window_length", "num_sink_tokens"})
    RequireOff(attention, key);
  *is_absent = no_op;
  if (no_op) return LinearConfig{};
  if (linear) return LinearConfig{};
  const JsonReader top(config.source, attention.where());
  const auto heads =
      static_cast<size_t>(top.Int("num_attention_heads", 1, AsSigned(limits::kHeads)));
  size_t kv_heads;
  if (attention.Has("n_heads_in_group")) {
    const auto group = static_cast<size_t>(attention.Int("n_heads_in_group", 1, AsSigned(heads)));
    if (heads % group != 0)
      attention.Fail("n_heads_in_group", fmt::format("a divisor of num_attention_heads {}", heads));
    kv_heads = heads / group;
  } else {
    kv_heads = static_cast<size_t>(attention.Int("num_key_value_heads", 1, AsSigned(heads)));
    if (heads % kv_heads != 0)
      attention.Fail("num_key_value_heads",
                     fmt::format("a divisor of num_attention_heads {}", heads));
  }
  return AttentionConfig{.n_heads = heads, .n_kv_heads = kv_heads, .head_dim = head_dim};
}

MixerConfig DeciFfn(const JsonReader& layer, const ModelConfig& config, bool* is_absent) {
  const JsonReader ffn = layer.Object("ffn");
  const bool no_op = ffn.BoolOr("no_op", false), linear = ffn.BoolOr("replace_with_linear", false);
  if (no_op && linear) ffn.Fail("replace_with_linear", "false, because no_op is true");
  RequireOff(ffn, "sparsify");
  *is_absent = no_op;
  if (no_op || linear) return LinearConfig{};
  size_t width;
  if (ffn.Has("ffn_mult")) {
    width = DeciIntermediateSize(ffn.Number("ffn_mult", 1e-6, 1e4), config.hidden_size);
    if (width == 0 || width > limits::kIntermediateSize)
      ffn.Fail("ffn_mult", fmt::format("an FFN width of at most {}", limits::kIntermediateSize));
  } else {
    width =
        static_cast<size_t>(ffn.Int("intermediate_size", 1, AsSigned(limits::kIntermediateSize)));
  }
  return FfnConfig{.intermediate_size = width};
}

// One letter a layer: M, *, -; from hybrid_override_pattern or layers_block_type.
std::string Pattern(const JsonReader& reader) {
  std::string pattern;
  if (reader.Has("layers_block_type")) {
    const Json::Array& names = reader.Array("layers_block_type");
    for (size_t i = 0; i < names.size(); ++i) {
      const std::string name = names[i].is_string() ? names[i].AsString() : "";
      if (name == "mamba" || name == "linear_attention")
        pattern += 'M';
      else if (name == "attention" || name == "full_attention")
        pattern += '*';
      else if (name == "mlp")
        pattern += '-';
      else if (name == "moe")
        pattern += 'E';
      else
        throw BadFile(
            "{}[{}] is {}, expected mamba, attention, mlp (or linear_attention, full_attention)",
            reader.PathOf("layers_block_type"), i, Quoted(name));
    }
    if (reader.Has("hybrid_override_pattern") &&
        reader.String("hybrid_override_pattern") != pattern) {
      reader.Fail("hybrid_override_pattern",
                  fmt::format("{}, which layers_block_type spells", Quoted(pattern)));
    }
    return pattern;
  }
  for (const char c : reader.String("hybrid_override_pattern")) {
    if (c != '|') pattern += c;  // a pipeline border of the training run
  }
  return pattern;
}

Mamba2Config ReadMamba(const JsonReader& reader) {
  Mamba2Config mamba;
  mamba.n_heads = static_cast<size_t>(reader.Int("mamba_num_heads", 1, AsSigned(limits::kHeads)));
  mamba.head_dim = static_cast<size_t>(reader.Int("mamba_head_dim", 1, 4096));
  const std::string groups = reader.Has("mamba_n_groups") ? "mamba_n_groups" : "mamba_num_groups";
  mamba.n_groups = Alias(reader, "n_groups", groups, 1, mamba.n_heads);
  if (mamba.n_heads % mamba.n_groups != 0)
    reader.Fail("n_groups", fmt::format("a divisor of mamba_num_heads {}", mamba.n_heads));
  mamba.state_size = Alias(reader, "ssm_state_size", "mamba_state_dim", 1, 4096);
  mamba.conv_kernel = Alias(reader, "conv_kernel", "mamba_d_conv", 2, 64);
  mamba.chunk_size = Alias(reader, "chunk_size", "mamba_chunk_size", 1, 65536);
  mamba.has_conv_bias = reader.BoolOr("use_conv_bias", reader.BoolOr("mamba_conv_bias", true));
  RequireOff(reader, "mamba_proj_bias");
  RequireOff(reader, "use_bias");
  if (reader.StringOr("mamba_hidden_act", "silu") != "silu")
    reader.Fail("mamba_hidden_act", "\"silu\"");
  mamba.time_step_high = kInfinity;
  const std::string limit = FirstOf(reader, {"time_step_limit", "mamba_dt_limit"});
  if (reader.Has(limit)) {
    const Json::Array& bounds = reader.Array(limit);
    if (bounds.size() != 2) reader.Fail(limit, "a list of two numbers");
    Json pair = Json::MakeObject();  // so that the typed reader checks both ends
    pair.Set("0",
             bounds[0].is_string() && bounds[0].AsString() == "inf" ? Json(kInfinity) : bounds[0]);
    pair.Set("1",
             bounds[1].is_string() && bounds[1].AsString() == "inf" ? Json(kInfinity) : bounds[1]);
    const JsonReader ends(pair, reader.where(), limit);
    mamba.time_step_low = ends.Number("0", 0.0, 1e30);
    mamba.time_step_high = ends.Number("1", mamba.time_step_low, kInfinity);
  }
  return mamba;
}

MixerConfig HybridMixer(const JsonReader& reader, const ModelConfig& config, char letter) {
  if (letter == 'M') return ReadMamba(reader);
  if (letter == '-') {
    if (reader.StringOr("mlp_hidden_act", "relu2") != "relu2")
      reader.Fail("mlp_hidden_act", "\"relu2\"");
    return FfnConfig{static_cast<size_t>(
                         reader.Int("intermediate_size", 1, AsSigned(limits::kIntermediateSize))),
                     FfnKind::kReluSquared};
  }
  const auto kv_heads =
      static_cast<size_t>(reader.Int("num_key_value_heads", 1, AsSigned(limits::kHeads)));
  const std::string head_key = FirstOf(reader, {"head_dim", "attention_head_dim"});
  AttentionConfig attention = ReadAttention(
      reader, config, kv_heads, static_cast<size_t>(reader.IntOr(head_key, 1, 4096, 0)));
  attention.has_rope = false;
  return attention;
}

// What planish_block_configs says of a layer: keys of the config with other values for this block alone, or a linear matrix in
// place of the mixer; none if the entry is empty.
std::optional<MixerConfig> OwnHybridMixer(const JsonReader& reader, const ModelConfig& config,
                                          size_t layer, char letter) {
  const std::string list = "planish_block_configs";
  const JsonReader block = reader.Element(list, layer);
  if (block.json().AsObject().empty()) return std::nullopt;
  static const std::map<char, std::vector<std::string>> kKeys = {
      {'M', {"mamba_head_dim", "mamba_num_heads", "n_groups", "ssm_state_size"}},
      {'*', {"head_dim", "num_attention_heads", "num_key_value_heads"}},
      {'-', {"intermediate_size", "replace_with_linear"}}};
  const std::vector<std::string>& keys = kKeys.at(letter);
  for (const auto& [key, value] : block.json().AsObject()) {
    if (std::find(keys.begin(), keys.end(), key) == keys.end())
      block.Fail(key, fmt::format("only {} in a block of type {}", fmt::join(keys, ", "), letter));
  }
  if (block.BoolOr("replace_with_linear", false)) return LinearConfig{};
  Json merged = reader.json();
  for (const auto& [key, value] : block.json().AsObject()) merged.Set(key, value);
  return HybridMixer(JsonReader(merged, reader.where(), fmt::format("{}[{}]", list, layer)), config,
                     letter);
}

}  // namespace

void RequireOne(const JsonReader& reader, std::string_view key) {
  if (reader.Has(key) && reader.Number(key, -1e30, 1e30) != 1.0)
    reader.Fail(key, "1 or absent: planish does not implement it");
}

void RequireOff(const JsonReader& reader, std::string_view key) {
  if (!reader.Has(key)) return;
  const Json& value = *reader.json().Find(key);
  if (value.is_bool() && !value.AsBool()) return;
  reader.Fail(key, "null or false: planish does not implement it");
}

ModelConfig CommonConfig(const JsonReader& reader, Family family) {
  ModelConfig config;
  config.family = family;
  config.source = reader.json();
  for (const char* key :
       {"attention_multiplier", "residual_multiplier", "embedding_multiplier", "logits_scaling"})
    RequireOne(reader, key);
  config.hidden_size =
      static_cast<size_t>(reader.Int("hidden_size", 1, AsSigned(limits::kHiddenSize)));
  config.vocab_size =
      static_cast<size_t>(reader.Int("vocab_size", 1, AsSigned(limits::kVocabSize)));
  config.max_position = static_cast<size_t>(
      reader.IntOr("max_position_embeddings", 1, AsSigned(limits::kContext), 2048));
  config.tie_embeddings = reader.BoolOr("tie_word_embeddings", false);
  config.bos_id = TokenIdOr(reader, "bos_token_id", config.vocab_size);
  config.pad_id = TokenIdOr(reader, "pad_token_id", config.vocab_size);
  config.eos_ids = TokenIds(reader, "eos_token_id", config.vocab_size);
  if (const std::string key = FirstOf(reader, {"dtype", "torch_dtype"}); reader.Has(key)) {
    const std::string name = reader.String(key);
    if (name == "float32")
      config.dtype = DType::kF32;
    else if (name == "float16")
      config.dtype = DType::kF16;
    else if (name == "bfloat16")
      config.dtype = DType::kBF16;
    else
      reader.Fail(key, "float32, float16 or bfloat16");
  }
  return config;
}

void ReadRope(const JsonReader& reader, ModelConfig* config) {
  const bool is_new = reader.Has("rope_parameters");
  const std::string key = is_new ? "rope_parameters" : "rope_scaling";
  config->rope_theta = reader.NumberOr("rope_theta", 1.0, 1e12, 10000.0);
  RequireOne(reader, "partial_rotary_factor");
  if (!reader.Has(key)) return;
  const JsonReader rope = reader.Object(key);
  RequireOne(rope, "partial_rotary_factor");
  if (is_new && reader.Has("rope_scaling") && reader.Object("rope_scaling").json() != rope.json()) {
    reader.Fail("rope_scaling", "the same as rope_parameters, or absent");
  }
  config->rope_theta = rope.NumberOr("rope_theta", 1.0, 1e12, config->rope_theta);
  const std::string type_key = rope.Has("rope_type") ? "rope_type" : "type";
  const std::string type = rope.StringOr(type_key, "default");
  RopeScaling& scaling = config->rope_scaling;
  if (type == "default") return;
  if (type == "linear") {
    scaling.kind = RopeScaling::Kind::kLinear;
    scaling.factor = rope.Number("factor", 1e-3, 1e6);
  } else if (type == "llama3") {
    scaling.kind = RopeScaling::Kind::kLlama3;
    scaling.factor = rope.Number("factor", 1e-3, 1e6);
    scaling.low_freq_factor = rope.Number("low_freq_factor", 1e-3, 1e6);
    scaling.high_freq_factor = rope.Number("high_freq_factor", 1e-3, 1e6);
    if (scaling.high_freq_factor <= scaling.low_freq_factor)
      rope.Fail("high_freq_factor", "a number above low_freq_factor");
    scaling.original_max_position = static_cast<size_t>(
        rope.Int("original_max_position_embeddings", 1, AsSigned(limits::kContext)));
  } else {
    rope.Fail(type_key, "default, linear or llama3");
  }
}

AttentionConfig ReadAttention(const JsonReader& reader, const ModelConfig& config,
                              size_t n_kv_heads, size_t head_dim) {
  AttentionConfig attention;
  attention.n_heads =
      static_cast<size_t>(reader.Int("num_attention_heads", 1, AsSigned(limits::kHeads)));
  attention.n_kv_heads = n_kv_heads == 0 ? attention.n_heads : n_kv_heads;
  if (attention.n_heads % attention.n_kv_heads != 0) {
    reader.Fail("num_key_value_heads",
                fmt::format("a divisor of num_attention_heads {}", attention.n_heads));
  }
  attention.head_dim = head_dim;
  if (head_dim == 0) {
    if (config.hidden_size % attention.n_heads != 0) {
      reader.Fail("hidden_size", fmt::format("a multiple of num_attention_heads {}, or head_dim",
                                             attention.n_heads));
    }
    attention.head_dim = config.hidden_size / attention.n_heads;
  }
  return attention;
}

ModelConfig LlamaConfig(const JsonReader& reader, Family family) {
  ModelConfig config = CommonConfig(reader, family);
  config.norm_eps = reader.NumberOr("rms_norm_eps", 1e-12, 1.0, 1e-6);
  config.n_layers =
      static_cast<size_t>(reader.Int("num_hidden_layers", 1, AsSigned(limits::kLayers)));
  ReadRope(reader, &config);
  RequireSilu(reader);
  for (const char* key : {"attention_bias", "mlp_bias", "use_sliding_window"})
    RequireOff(reader, key);
  if (family == Family::kMistral && reader.Has("sliding_window")) {
    // A window that no position can leave is the same as none.
    reader.Int("sliding_window", AsSigned(config.max_position), AsSigned(limits::kContext));
  }
  if (reader.Has("layer_types")) {
    for (const Json& type : reader.Array("layer_types")) {
      if (!type.is_string() || type.AsString() != "full_attention")
        reader.Fail("layer_types", "only \"full_attention\"");
    }
  }
  const auto kv_heads =
      static_cast<size_t>(reader.IntOr("num_key_value_heads", 1, AsSigned(limits::kHeads), 0));
  const auto head_dim =
      static_cast<size_t>(reader.IntOr("head_dim", 1, 4096, family == Family::kQwen3 ? 128 : 0));
  AttentionConfig attention = ReadAttention(reader, config, kv_heads, head_dim);
  if (attention.head_dim % 2 != 0) reader.Fail("head_dim", "an even number, for RoPE");
  attention.has_qk_norm = family == Family::kQwen3;
  const FfnConfig ffn{.intermediate_size = static_cast<size_t>(
                          reader.Int("intermediate_size", 1, AsSigned(limits::kIntermediateSize)))};
  for (size_t layer = 0; layer < config.n_layers; ++layer) {
    config.blocks.push_back({layer, Slot::kAttention, attention});
    config.blocks.push_back({layer, Slot::kFfn, ffn});
  }
  return config;
}

ModelConfig DeciConfig(const JsonReader& reader) {
  ModelConfig config = CommonConfig(reader, Family::kDeci);
  config.norm_eps = reader.NumberOr("rms_norm_eps", 1e-12, 1.0, 1e-5);
  const Json::Array& layers = reader.Array("block_configs");
  config.n_layers = static_cast<size_t>(
      reader.IntOr("num_hidden_layers", 1, AsSigned(limits::kLayers), AsSigned(layers.size())));
  if (layers.size() != config.n_layers || layers.size() > limits::kLayers) {
    throw BadFile("{} has {} entries, expected num_hidden_layers = {} (at most {})",
                  reader.PathOf("block_configs"), layers.size(), config.n_layers, limits::kLayers);
  }
  ReadRope(reader, &config);
  RequireSilu(reader);
  for (const char* key : {"attention_bias", "mlp_bias"}) RequireOff(reader, key);
  const auto head_dim = static_cast<size_t>(reader.IntOr("head_dim", 1, 4096, 0));
  const AttentionConfig shape = ReadAttention(reader, config, 0, head_dim);
  if (shape.head_dim % 2 != 0) reader.Fail("head_dim", "an even number, for RoPE");
  for (size_t layer = 0; layer < config.n_layers; ++layer) {
    const JsonReader block = reader.Element("block_configs", layer);
    RequireOff(block, "parallel_blocks");
    bool is_absent = false;
    const MixerConfig attention = DeciAttention(block, config, shape.head_dim, &is_absent);
    if (!is_absent) config.blocks.push_back({layer, Slot::kAttention, attention});
    const MixerConfig ffn = DeciFfn(block, config, &is_absent);
    if (!is_absent) config.blocks.push_back({layer, Slot::kFfn, ffn});
  }
  return config;
}

ModelConfig NemotronHConfig(const JsonReader& reader) {
  ModelConfig config = CommonConfig(reader, Family::kNemotronH);
  config.norm_eps = reader.Has("layer_norm_epsilon")
                        ? reader.Number("layer_norm_epsilon", 1e-12, 1.0)
                        : reader.NumberOr("rms_norm_eps", 1e-12, 1.0, 1e-5);
  const std::string pattern = Pattern(reader);
  const std::string key = FirstOf(reader, {"layers_block_type", "hybrid_override_pattern"});
  config.n_layers = pattern.size();
  if (pattern.empty() || pattern.size() > limits::kLayers) {
    throw BadFile("{} names {} layers, expected 1 to {}", reader.PathOf(key), pattern.size(),
                  limits::kLayers);
  }
  if (key == "hybrid_override_pattern") {
    const int64_t declared =
        reader.IntOr("num_hidden_layers", 1, AsSigned(limits::kLayers), AsSigned(pattern.size()));
    if (declared != AsSigned(pattern.size())) {
      throw BadFile("{} has {} letters, expected num_hidden_layers = {}", reader.PathOf(key),
                    pattern.size(), declared);
    }
  }
  for (const char* off : {"attention_bias", "mlp_bias"}) RequireOff(reader, off);
  std::map<char, MixerConfig> uniform;  // what the config's own keys say
  const bool has_own = reader.Has("planish_block_configs");
  if (has_own && reader.Array("planish_block_configs").size() != pattern.size()) {
    throw BadFile("{} has {} entries, expected one for each of the {} layers",
                  reader.PathOf("planish_block_configs"),
                  reader.Array("planish_block_configs").size(), pattern.size());
  }
  for (size_t layer = 0; layer < pattern.size(); ++layer) {
    const char letter = pattern[layer];
    if (letter == 'E') {
      throw BadFile("{}: layer {} is a mixture of experts (E), which planish does not support",
                    reader.PathOf(key), layer);
    }
    if (letter != 'M' && letter != '*' && letter != '-') {
      throw BadFile("{}: layer {} is {}, expected M, * or -", reader.PathOf(key), layer,
                    Quoted(std::string(1, letter)));
    }
    std::optional<MixerConfig> own;
    if (has_own) own = OwnHybridMixer(reader, config, layer, letter);
    if (!own) {
      if (!uniform.contains(letter)) uniform[letter] = HybridMixer(reader, config, letter);
      own = uniform[letter];
    }
    config.blocks.push_back({layer, Slot::kWhole, *own});
  }
  return config;
}

}  // namespace planish
