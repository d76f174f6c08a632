// SPDX-License-Identifier: Apache-2.0
// Shapes of the published models, from their config.json files (facts; parameter counts are checked to the unit by a test).
#include <limits>
#include <map>
#include <sstream>

#include "base/error.h"
#include "model/config.h"

namespace planish {
namespace {

constexpr const char* kNanoPattern = "M-M-M-MM-M-M-M*-M-M-M*-M-M-M-M*-M-M-M-M*-M-MM-M-M-M-M-M-";
constexpr const char* kNano12bPattern =
    "M-M-M-M*-M-M-M-M*-M-M-M-M*-M-M-M-M*-M-M-M-M*-M-M-M-M*-M-M-M-M-";
constexpr const char* kNemotronHPattern = "M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M-";

ModelConfig Llama3(size_t layers, size_t hidden, size_t width, size_t heads) {
  ModelConfig config;
  config.family = Family::kLlama;
  config.hidden_size = hidden;
  config.vocab_size = 128256;
  config.n_layers = layers;
  config.max_position = 131072;
  config.rope_theta = 500000.0;
  config.rope_scaling = {RopeScaling::Kind::kLlama3, 8.0, 1.0, 4.0, 8192};
  config.bos_id = 128000;
  config.eos_ids = {128001, 128008, 128009};
  for (size_t layer = 0; layer < layers; ++layer) {
    config.blocks.push_back(
        {layer, Slot::kAttention,
         AttentionConfig{.n_heads = heads, .n_kv_heads = 8, .head_dim = hidden / heads}});
    config.blocks.push_back({layer, Slot::kFfn, FfnConfig{width}});
  }
  return config;
}

ModelConfig Qwen3_8B() {
  ModelConfig config = Llama3(36, 4096, 12288, 32);
  config.family = Family::kQwen3;
  config.vocab_size = 151936;
  config.max_position = 40960;
  config.norm_eps = 1e-6;
  config.rope_theta = 1e6;
  config.rope_scaling = {};
  config.bos_id = 151643;
  config.eos_ids = {151645};
  for (BlockConfig& block : config.blocks) {
    if (auto* attention = std::get_if<AttentionConfig>(&block.mixer)) attention->has_qk_norm = true;
  }
  return config;
}

// Runs "GROUP/MULT*COUNT": n_heads_in_group and ffn_mult of a layer, "-" for no_op.
ModelConfig Deci(size_t hidden, size_t heads, double rope_factor, const char* runs) {
  ModelConfig config = Llama3(0, hidden, 0, heads);
  config.family = Family::kDeci;
  config.rope_scaling.factor = rope_factor;
  std::istringstream stream(runs);
  for (std::string run; stream >> run;) {
    const size_t slash = run.find('/'), star = run.find('*');
    const std::string group = run.substr(0, slash), mult = run.substr(slash + 1, star - slash - 1);
    const size_t count = star == std::string::npos ? 1 : std::stoul(run.substr(star + 1));
    for (size_t i = 0; i < count; ++i, ++config.n_layers) {
      const size_t layer = config.n_layers;
      if (group != "-") {
        config.blocks.push_back({layer, Slot::kAttention,
                                 AttentionConfig{.n_heads = heads,
                                                 .n_kv_heads = heads / std::stoul(group),
                                                 .head_dim = hidden / heads}});
      }
      if (mult != "-")
        config.blocks.push_back(
            {layer, Slot::kFfn, FfnConfig{DeciIntermediateSize(std::stod(mult), hidden)}});
    }
  }
  return config;
}

ModelConfig LnSuper() {
  return Deci(8192, 64, 8.0,
              "8/2.625 8/5.25*5 -/2.625*2 8/5.25*3 -/3.28125 8/5.25*30 -/1.3125 -/2.625*2 -/1.3125 "
              "-/5.25 -/1.3125 -/2.625 "
              "-/1.3125*3 8/5.25 -/1.3125 -/1.0*2 -/1.3125 -/1.0*3 -/1.3125*2 -/0.5*2 -/1.0*2 "
              "-/0.5*2 -/1.0 -/0.5*2 8/5.25*9");
}

ModelConfig LnUltra() {
  return Deci(16384, 128, 16.0,
              "16/0.4875 16/0.975 16/1.4625*6 16/1.95 -/-*4 16/1.95*3 16/4.875*2 -/-*6 16/4.875*3 "
              "-/-*5 16/4.875*3 16/2.4375 "
              "-/-*3 16/1.95*3 -/1.95 16/4.875 -/4.875 -/-*5 16/4.875*4 -/-*5 16/4.875*4 -/-*5 "
              "16/4.875*4 -/-*5 16/4.875*4 "
              "-/-*5 16/4.875 16/3.4125*3 -/-*2 16/2.925 16/2.4375*3 -/2.4375*2 16/2.4375 -/- "
              "-/2.4375*7 16/2.4375 -/-*5 "
              "16/2.925 16/4.875 -/4.875 16/4.875 -/-*8 -/36.5625 -/-*8 -/39.0 -/-*8 -/31.40625 "
              "-/-*5 -/27.5625 -/1.95 "
              "16/1.95 16/2.4375 -/- 16/2.4375*2 16/3.4125 16/4.875*4 16/2.4375");
}

ModelConfig Hybrid(const char* pattern, size_t hidden, size_t width, size_t heads,
                   size_t mamba_heads, size_t mamba_head_dim, size_t context) {
  ModelConfig config;
  config.family = Family::kNemotronH;
  config.hidden_size = hidden;
  config.vocab_size = 131072;
  config.max_position = context;
  config.bos_id = 1;
  config.eos_ids = {2};
  config.pad_id = 0;
  for (const char* kind = pattern; *kind != 0; ++kind) {
    MixerConfig mixer;
    if (*kind == 'M') {
      mixer = Mamba2Config{.n_heads = mamba_heads,
                           .head_dim = mamba_head_dim,
                           .state_size = 128,
                           .n_groups = 8,
                           .time_step_high = std::numeric_limits<double>::infinity()};
    } else if (*kind == '*') {
      mixer =
          AttentionConfig{.n_heads = heads, .n_kv_heads = 8, .head_dim = 128, .has_rope = false};
    } else {
      mixer = FfnConfig{width, FfnKind::kReluSquared};
    }
    config.blocks.push_back({config.n_layers++, Slot::kWhole, mixer});
  }
  return config;
}

using Maker = ModelConfig (*)();
const std::map<std::string, Maker>& Makers() {
  static const std::map<std::string, Maker> makers = {
      {"llama-3.1-405b", [] { return Llama3(126, 16384, 53248, 128); }},
      {"llama-3.3-70b", [] { return Llama3(80, 8192, 28672, 64); }},
      {"ln-nano-8b", [] { return Llama3(32, 4096, 14336, 32); }},
      {"ln-super-49b", LnSuper},
      {"ln-ultra-253b", LnUltra},
      {"nano-12b-v2", [] { return Hybrid(kNano12bPattern, 5120, 20480, 40, 128, 80, 131072); }},
      {"nano-9b-candidate-1",
       [] { return Hybrid(kNanoPattern, 4480, 17920, 40, 112, 80, 131072); }},
      {"nano-9b-candidate-2",
       [] { return Hybrid(kNanoPattern, 4480, 15680, 40, 128, 80, 131072); }},
      {"nano-9b-candidate-3",
       [] { return Hybrid(kNanoPattern, 4800, 14400, 40, 120, 80, 131072); }},
      {"nano-9b-v2", [] { return Hybrid(kNanoPattern, 4480, 15680, 40, 128, 80, 131072); }},
      {"nemotron-h-4b", [] { return Hybrid(kNemotronHPattern, 3072, 12288, 32, 112, 64, 8192); }},
      {"nemotron-h-8b", [] { return Hybrid(kNemotronHPattern, 4096, 21504, 32, 128, 64, 8192); }},
      {"qwen3-8b", Qwen3_8B},
  };
  return makers;
}

}  // namespace

std::optional<Json> PublishedConfig(const std::string& name) {
  const auto found = Makers().find(name);
  if (found == Makers().end()) return std::nullopt;
  return ConfigToJson(found->second());
}

std::vector<std::string> PublishedNames() {
  std::vector<std::string> names;
  for (const auto& [name, maker] : Makers()) names.push_back(name);
  return names;
}

}  // namespace planish
