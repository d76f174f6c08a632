// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "model/gguf_map.h"

namespace planish {
namespace {

int64_t AsSigned(uint64_t value) { return static_cast<int64_t>(value); }

// GGUF keeps llama3 scaling only as divisors of the frequencies. Its parameters are found again by trying the values in
// use: the factor is the largest divisor, the original length a power of two, low and high factor 1 and 4.
RopeScaling ScalingFromDivisors(const ModelConfig& config, size_t head_dim, const Tensor& divisors,
                                const std::string& where) {
  const float* d = divisors.f32();
  RopeScaling scaling{
      .kind = RopeScaling::Kind::kLlama3, .low_freq_factor = 1.0, .high_freq_factor = 4.0};
  for (size_t i = 0; i < divisors.elements(); ++i) {
    if (!(d[i] >= 1.0f && std::isfinite(d[i])))
      throw BadFile("{}: rope_freqs.weight[{}] is {}, expected a number of at least 1", where, i,
                    d[i]);
    scaling.factor = std::max(scaling.factor, static_cast<double>(d[i]));
  }
  scaling.factor = std::stod(fmt::format("{:.6g}", scaling.factor));  // 3.0000002 was 3
  if (scaling.factor == 1.0) return {};
  const std::vector<float> plain = RopeInverseFrequencies(head_dim, config.rope_theta, {});
  for (size_t length = 16; length <= (size_t{1} << 24); length *= 2) {
    scaling.original_max_position = length;
    const std::vector<float> scaled = RopeInverseFrequencies(head_dim, config.rope_theta, scaling);
    bool is_equal = true;
    for (size_t i = 0; i < plain.size() && is_equal; ++i)
      is_equal = std::abs(plain[i] / scaled[i] / d[i] - 1.0f) < 1e-5f;
    if (is_equal) return scaling;
  }
  throw BadFile(
      "{}: rope_freqs.weight is not a llama3 scaling (factors 1 and 4), the only one planish knows",
      where);
}

struct KeyReader {
  const GgufFile& file;
  std::string arch;
  std::string Key(const char* name) const { return arch + "." + name; }
  size_t Int(const char* name, uint64_t high) const {
    return static_cast<size_t>(file.Int(Key(name), 1, AsSigned(high)));
  }
  std::vector<int64_t> PerLayer(const char* name, size_t layers, uint64_t high) const {
    return file.IntPerLayer(Key(name), layers, 0, AsSigned(high));
  }
};

// Keys that change the result and that this program does not implement must be absent or neutral.
void RefuseUnknownMath(const KeyReader& keys, const ModelConfig& config) {
  const auto require = [&](const char* name, double neutral, double other) {
    const std::string key = keys.Key(name);
    if (!keys.file.Has(key)) return;
    const double value = keys.file.Number(key);
    if (value != neutral && value != other) {
      throw BadFile("{}: {} is {}, expected {}: planish does not implement it", keys.file.where(),
                    key, value, neutral);
    }
  };
  for (const char* name : {"attention.scale", "attention.clamp_kqv", "attn_logit_softcapping",
                           "final_logit_softcapping", "attention.max_alibi_bias"}) {
    require(name, 0.0, 0.0);
  }
  for (const char* name : {"logit_scale", "residual_scale", "embedding_scale"})
    require(name, 1.0, 0.0);
  if (keys.file.Has(keys.Key("attention.sliding_window"))) {
    // A window that no position can leave is the same as none.
    const int64_t window = keys.file.Int(keys.Key("attention.sliding_window"), 0, INT64_MAX);
    if (window != 0 && window < AsSigned(config.max_position)) {
      throw BadFile("{}: {} is {}, expected 0 or at least {}: planish does not implement windows",
                    keys.file.where(), keys.Key("attention.sliding_window"), window,
                    config.max_position);
    }
  }
  if (!keys.file.BoolOr(keys.Key("attention.causal"), true)) {
    throw BadFile("{}: {} is false: planish implements causal attention only", keys.file.where(),
                  keys.Key("attention.causal"));
  }
}

size_t HeadDim(const KeyReader& keys, const ModelConfig& config, size_t heads) {
  const std::string key = keys.Key("attention.key_length");
  if (!keys.file.Has(key)) {
    if (heads == 0 || config.hidden_size % heads != 0) {
      throw BadFile("{}: {} is missing and embedding_length {} is not a multiple of head_count {}",
                    keys.file.where(), key, config.hidden_size, heads);
    }
    return config.hidden_size / heads;
  }
  const int64_t value = keys.file.Int(key, 1, 4096);
  keys.file.IntOr(keys.Key("attention.value_length"), value, value, value);
  return static_cast<size_t>(value);
}

AttentionConfig CheckedAttention(const KeyReader& keys, size_t layer, size_t heads, size_t kv_heads,
                                 size_t head_dim) {
  if (heads == 0 || kv_heads == 0 || heads % kv_heads != 0) {
    throw BadFile("{}: layer {} has {} heads and {} key-value heads, expected a multiple",
                  keys.file.where(), layer, heads, kv_heads);
  }
  return {.n_heads = heads, .n_kv_heads = kv_heads, .head_dim = head_dim};
}

void TransformerBlocks(const KeyReader& keys, ModelConfig* config) {
  const size_t L = config->n_layers;
  const auto heads = keys.PerLayer("attention.head_count", L, limits::kHeads);
  const auto kv_heads = keys.file.Has(keys.Key("attention.head_count_kv"))
                            ? keys.PerLayer("attention.head_count_kv", L, limits::kHeads)
                            : heads;
  const auto widths = keys.PerLayer("feed_forward_length", L, limits::kIntermediateSize);
  const bool may_skip = config->family == Family::kDeci;
  const size_t most_heads = static_cast<size_t>(*std::max_element(heads.begin(), heads.end()));
  const size_t head_dim = may_skip && most_heads == 0
                              ? 2
                              : HeadDim(keys, *config, most_heads);  // 2: there is none to read
  if (head_dim % 2 != 0)
    throw BadFile("{}: head size {} is odd, expected an even one for RoPE", keys.file.where(),
                  head_dim);
  if (keys.file.IntOr(keys.Key("rope.dimension_count"), 1, 65536, AsSigned(head_dim)) !=
      AsSigned(head_dim)) {
    throw BadFile("{}: {} differs from the head size {}: partial rotation is not supported",
                  keys.file.where(), keys.Key("rope.dimension_count"), head_dim);
  }
  for (size_t layer = 0; layer < L; ++layer) {
    const auto [h, k, f] =
        std::tuple(static_cast<size_t>(heads[layer]), static_cast<size_t>(kv_heads[layer]),
                   static_cast<size_t>(widths[layer]));
    if (may_skip && h > 0 && k == 0) {
      config->blocks.push_back({layer, Slot::kAttention, LinearConfig{}});
    } else if (!(may_skip && h == 0)) {
      AttentionConfig attention = CheckedAttention(keys, layer, h, k, head_dim);
      attention.has_qk_norm = config->family == Family::kQwen3;
      config->blocks.push_back({layer, Slot::kAttention, attention});
    }
    if (f > 0)
      config->blocks.push_back({layer, Slot::kFfn, FfnConfig{f}});
    else if (!may_skip)
      throw BadFile("{}: layer {} has feed_forward_length 0", keys.file.where(), layer);
  }
}

void HybridBlocks(const KeyReader& keys, ModelConfig* config) {
  const size_t L = config->n_layers;
  const auto heads = keys.PerLayer("attention.head_count", L, limits::kHeads);
  const auto kv_heads = keys.PerLayer("attention.head_count_kv", L, limits::kHeads);
  const auto widths = keys.PerLayer("feed_forward_length", L, limits::kIntermediateSize);
  for (size_t layer = 0; layer < L; ++layer) {
    BlockConfig block{layer, Slot::kWhole, {}};
    if (widths[layer] > 0) {
      block.mixer = FfnConfig{static_cast<size_t>(widths[layer]), FfnKind::kReluSquared};
    } else if (kv_heads[layer] > 0) {
      const auto h = static_cast<size_t>(heads[layer]);
      AttentionConfig attention = CheckedAttention(
          keys, layer, h, static_cast<size_t>(kv_heads[layer]), HeadDim(keys, *config, h));
      attention.has_rope = false;
      block.mixer = attention;
    } else {
      Mamba2Config mamba;
      const size_t inner = keys.Int("ssm.inner_size", limits::kHiddenSize);
      mamba.n_heads = keys.Int("ssm.time_step_rank", limits::kHeads);
      mamba.n_groups = keys.Int("ssm.group_count", limits::kHeads);
      if (inner % mamba.n_heads != 0 || mamba.n_heads % mamba.n_groups != 0) {
        throw BadFile("{}: ssm.inner_size {}, time_step_rank {} and group_count {} do not divide",
                      keys.file.where(), inner, mamba.n_heads, mamba.n_groups);
      }
      mamba.head_dim = inner / mamba.n_heads;
      mamba.state_size = keys.Int("ssm.state_size", 4096);
      mamba.conv_kernel = keys.Int("ssm.conv_kernel", 64);
      if (mamba.conv_kernel < 2)
        throw BadFile("{}: ssm.conv_kernel is 1, expected 2 to 64", keys.file.where());
      mamba.time_step_high = std::numeric_limits<double>::infinity();
      mamba.has_conv_bias =
          keys.file.FindTensor(fmt::format("blk.{}.ssm_conv1d.bias", layer)) != nullptr;
      block.mixer = mamba;
    }
    config->blocks.push_back(block);
  }
}

GgufValue PerLayerValue(const std::vector<uint64_t>& values) {
  const bool is_uniform =
      std::all_of(values.begin(), values.end(), [&](uint64_t v) { return v == values[0]; });
  return is_uniform ? GgufValue::U32(static_cast<uint32_t>(values[0])) : GgufValue::U32s(values);
}

}  // namespace

ModelConfig ConfigFromGguf(const GgufFile& file) {
  const std::string arch = file.String("general.architecture");
  ModelConfig config;
  if (arch == "llama")
    config.family = Family::kLlama;
  else if (arch == "deci")
    config.family = Family::kDeci;
  else if (arch == "qwen3")
    config.family = Family::kQwen3;
  else if (arch == "nemotron_h")
    config.family = Family::kNemotronH;
  else
    throw BadFile("{}: general.architecture is {}, expected llama, deci, qwen3 or nemotron_h",
                  file.where(), Quoted(arch));
  const KeyReader keys{file, arch};
  if (file.IntOr(keys.Key("expert_count"), 0, 65536, 0) > 0) {
    throw BadFile("{}: {} is not 0: mixtures of experts are not supported", file.where(),
                  keys.Key("expert_count"));
  }
  config.hidden_size = keys.Int("embedding_length", limits::kHiddenSize);
  config.n_layers = keys.Int("block_count", limits::kLayers);
  config.max_position = static_cast<size_t>(
      file.IntOr(keys.Key("context_length"), 1, AsSigned(limits::kContext), 2048));
  config.norm_eps = file.Number(keys.Key("attention.layer_norm_rms_epsilon"));
  if (!(config.norm_eps > 0 && config.norm_eps < 1))
    throw BadFile("{}: layer_norm_rms_epsilon is {}, expected a number in (0, 1)", file.where(),
                  config.norm_eps);
  // Stored as float: 9.9999997e-06 was 1e-05.
  config.norm_eps = std::stod(fmt::format("{:.6g}", config.norm_eps));
  config.rope_theta = file.NumberOr(keys.Key("rope.freq_base"), 10000.0);
  if (!(config.rope_theta >= 1.0 && config.rope_theta <= 1e12))
    throw BadFile("{}: rope.freq_base is {}, expected 1 to 1e12", file.where(), config.rope_theta);
  const StoredTensor* embedding = nullptr;
  const StoredTensor* divisors = nullptr;
  config.tie_embeddings = true;
  for (const StoredTensor& tensor : file.tensors()) {
    if (tensor.name == "token_embd.weight") embedding = &tensor;
    if (tensor.name == "output.weight") config.tie_embeddings = false;
    if (tensor.name == "rope_freqs.weight") divisors = &tensor;
  }
  if (embedding == nullptr || embedding->view.shape.rank() != 2)
    throw BadFile("{}: token_embd.weight is missing or has no two dimensions", file.where());
  config.vocab_size = embedding->view.shape[0];
  if (config.vocab_size > limits::kVocabSize)
    throw BadFile("{}: token_embd.weight has {} rows, expected at most {}", file.where(),
                  config.vocab_size, limits::kVocabSize);
  if (config.family == Family::kNemotronH)
    HybridBlocks(keys, &config);
  else
    TransformerBlocks(keys, &config);

  RefuseUnknownMath(keys, config);
  const std::string scaling_key = keys.Key("rope.scaling.type");
  const double old_factor =
      file.NumberOr(keys.Key("rope.scale_linear"), 1.0);  // the key of early files
  const double factor = file.NumberOr(keys.Key("rope.scaling.factor"), old_factor);
  // A factor without a type is linear, as in llama.cpp.
  if (const std::string type = file.StringOr(scaling_key, factor == 1.0 ? "none" : "linear");
      type == "linear") {
    if (!(factor >= 1e-3 && factor <= 1e6))
      throw BadFile("{}: {} is {}, expected 0.001 to 1e6", file.where(),
                    keys.Key("rope.scaling.factor"), factor);
    config.rope_scaling = {.kind = RopeScaling::Kind::kLinear, .factor = factor};
  } else if (type != "none") {
    throw BadFile("{}: {} is {}, expected none or linear", file.where(), scaling_key, Quoted(type));
  }
  if (divisors != nullptr) {
    const AttentionConfig* attention = nullptr;
    for (const BlockConfig& block : config.blocks) {
      if (attention == nullptr) attention = std::get_if<AttentionConfig>(&block.mixer);
    }
    if (attention != nullptr) {
      if (divisors->view.elements() != attention->head_dim / 2 ||
          !IsDequantisable(divisors->view.dtype)) {
        throw BadFile("{}: rope_freqs.weight is {}, expected [{}]", file.where(),
                      divisors->view.shape.ToString(), attention->head_dim / 2);
      }
      config.rope_scaling = ScalingFromDivisors(config, attention->head_dim,
                                                Tensor::ToF32(divisors->view), file.where());
    }
  }
  const auto token = [&](const char* name) -> std::optional<int32_t> {
    const std::string key = std::string("tokenizer.ggml.") + name;
    if (!file.Has(key)) return std::nullopt;
    return static_cast<int32_t>(file.Int(key, 0, AsSigned(config.vocab_size) - 1));
  };
  config.bos_id = token("bos_token_id");
  config.pad_id = token("padding_token_id");
  for (const char* name : {"eos_token_id", "eot_token_id", "eom_token_id"}) {
    const auto id = token(name);
    if (id && std::find(config.eos_ids.begin(), config.eos_ids.end(), *id) == config.eos_ids.end())
      config.eos_ids.push_back(*id);
  }
  config.dtype = embedding->view.dtype == DType::kF32 || embedding->view.dtype == DType::kF16
                     ? embedding->view.dtype
                     : DType::kBF16;
  return config;
}

GgufMetadata ConfigToGguf(const ModelConfig& config) {
  const std::string arch = config.family == Family::kDeci        ? "deci"
                           : config.family == Family::kQwen3     ? "qwen3"
                           : config.family == Family::kNemotronH ? "nemotron_h"
                                                                 : "llama";
  const size_t L = config.n_layers;
  std::vector<uint64_t> heads(L, 0), kv_heads(L, 0), widths(L, 0);
  const AttentionConfig* attention = nullptr;
  const Mamba2Config* mamba = nullptr;
  for (const BlockConfig& block : config.blocks) {
    if (const auto* a = std::get_if<AttentionConfig>(&block.mixer)) {
      if (attention != nullptr && attention->head_dim != a->head_dim)
        throw UsageError("GGUF has one head size for all layers; layer {} has {}, others {}",
                         block.layer, a->head_dim, attention->head_dim);
      attention = a;
      heads[block.layer] = a->n_heads;
      kv_heads[block.layer] = a->n_kv_heads;
    } else if (const auto* f = std::get_if<FfnConfig>(&block.mixer)) {
      widths[block.layer] = f->intermediate_size;
    } else if (const auto* m = std::get_if<Mamba2Config>(&block.mixer)) {
      if (mamba != nullptr && *mamba != *m)
        throw UsageError(
            "GGUF has one size for all Mamba-2 layers; layer {} has {} heads of {}, others {} of "
            "{}",
            block.layer, m->n_heads, m->head_dim, mamba->n_heads, mamba->head_dim);
      mamba = m;
      if (m->time_step_low != 0.0 || std::isfinite(m->time_step_high)) {
        throw UsageError("GGUF cannot express time_step_limit [{}, {}]", m->time_step_low,
                         m->time_step_high);
      }
    } else if (block.slot != Slot::kAttention) {
      throw UsageError("GGUF cannot express layer {}: a linear matrix in place of {}", block.layer,
                       block.slot == Slot::kFfn ? "the FFN" : "a mixer");
    } else {
      heads[block.layer] =
          1;  // any number above zero beside zero key-value heads; the real head count is set below
    }
  }
  for (size_t layer = 0; layer < L && config.family == Family::kDeci; ++layer) {
    if (heads[layer] > 0 && kv_heads[layer] == 0 && attention != nullptr)
      heads[layer] = attention->n_heads;
    if (heads[layer] > 0 && widths[layer] == 0) {
      throw UsageError(
          "GGUF cannot carry layer {}: attention without FFN, whose output llama.cpp drops", layer);
    }
  }
  GgufMetadata keys = {{"general.architecture", GgufValue::String(arch)}};
  const auto add = [&](const char* name, GgufValue value) {
    keys.emplace_back(arch + "." + name, std::move(value));
  };
  const auto u32 = [](size_t value) { return GgufValue::U32(static_cast<uint32_t>(value)); };
  add("block_count", u32(L));
  add("context_length", u32(config.max_position));
  add("embedding_length", u32(config.hidden_size));
  add("feed_forward_length", PerLayerValue(widths));
  if (config.family == Family::kNemotronH) {
    // Of layers without attention any number above zero will do; one number stands for all where it can.
    for (uint64_t& count : heads) {
      if (count == 0) count = attention != nullptr ? attention->n_heads : 1;
    }
    add("attention.head_count", PerLayerValue(heads));
    add("attention.head_count_kv", GgufValue::U32s(kv_heads));
  } else {
    add("attention.head_count", PerLayerValue(heads));
    add("attention.head_count_kv", PerLayerValue(kv_heads));
  }
  add("attention.layer_norm_rms_epsilon", GgufValue::F32(static_cast<float>(config.norm_eps)));
  add("vocab_size", u32(config.vocab_size));
  if (attention != nullptr) {
    add("attention.key_length", u32(attention->head_dim));
    add("attention.value_length", u32(attention->head_dim));
    add("rope.dimension_count", u32(attention->head_dim));
  }
  if (config.family != Family::kNemotronH) {
    add("rope.freq_base", GgufValue::F32(static_cast<float>(config.rope_theta)));
    if (config.rope_scaling.kind == RopeScaling::Kind::kLinear) {
      add("rope.scaling.type", GgufValue::String("linear"));
      add("rope.scaling.factor", GgufValue::F32(static_cast<float>(config.rope_scaling.factor)));
    }
  }
  if (mamba != nullptr) {
    add("attention.layer_norm_epsilon", GgufValue::F32(static_cast<float>(config.norm_eps)));
    add("ssm.conv_kernel", u32(mamba->conv_kernel));
    add("ssm.state_size", u32(mamba->state_size));
    add("ssm.group_count", u32(mamba->n_groups));
    add("ssm.inner_size", u32(mamba->inner()));
    add("ssm.time_step_rank", u32(mamba->n_heads));
  }
  return keys;
}

}  // namespace planish
