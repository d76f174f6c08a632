// SPDX-License-Identifier: Apache-2.0
#include "model/random_model.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/hash.h"
#include "base/random.h"
#include "text/byte_level.h"

namespace planish {
namespace {

struct InitScales {
  float matrix = 0;    // standard deviation
  float residual = 0;  // of matrices that write into the residual stream
  double dt_min = 0, dt_max = 0, dt_floor = 0;
};

InitScales ScalesOf(const ModelConfig& config) {
  const Json nothing = Json::MakeObject();
  const JsonReader reader(config.source.is_null() ? nothing : config.source, "config.json");
  const auto first = [&](const char* name, const char* other, double low, double high,
                         double fallback) {
    return reader.NumberOr(name, low, high, reader.NumberOr(other, low, high, fallback));
  };
  const double range = reader.NumberOr("initializer_range", 0.0, 100.0, 0.02);
  const double layers = static_cast<double>(std::max<size_t>(config.n_layers, 1));
  InitScales scales;
  scales.matrix = static_cast<float>(range);
  scales.residual = static_cast<float>(range / std::sqrt(2.0 * layers));
  // 0 is what trained models say for readers that clamp dt by this key at run time (transformers): then it is no range to
  // draw from.
  constexpr double kDefaultMin = 0.001;
  scales.dt_min = first("time_step_min", "mamba_dt_min", 0.0, 1e6, kDefaultMin);
  if (scales.dt_min == 0) scales.dt_min = kDefaultMin;
  scales.dt_max =
      first("time_step_max", "mamba_dt_max", scales.dt_min, 1e6, std::max(0.1, scales.dt_min));
  scales.dt_floor = first("time_step_floor", "mamba_dt_init_floor", 0.0, 1e6, 1e-4);
  return scales;
}

float DtBias(double u, const InitScales& scales) {
  const double span = std::log(scales.dt_max) - std::log(scales.dt_min);
  const double dt = std::max(std::exp(std::log(scales.dt_min) + u * span), scales.dt_floor);
  return static_cast<float>(dt + std::log(-std::expm1(-dt)));
}

void RandomVector(const Param& param, const InitScales& scales, size_t conv_kernel, uint64_t seed,
                  uint64_t stream, float* out) {
  const double reach = 1.0 / std::sqrt(static_cast<double>(conv_kernel));
  for (size_t i = 0; i < param.shape.elements(); ++i) {
    const double u = UniformAt(seed, stream, i);
    switch (param.role) {
      case ParamRole::kConvWeight:
      case ParamRole::kConvBias:
        out[i] = static_cast<float>((2.0 * u - 1.0) * reach);
        break;
      case ParamRole::kSsmDtBias:
        out[i] = DtBias(u, scales);
        break;
      case ParamRole::kSsmALog:
        out[i] = static_cast<float>(std::log(1.0 + 15.0 * u));
        break;
      default:
        out[i] = 1.0f;
    }
  }
}

// The control token of each special id, by id.
std::vector<std::pair<size_t, std::string>> SpecialTokens(const ModelConfig& config) {
  std::vector<std::pair<size_t, std::string>> tokens;
  const auto add = [&](std::optional<int32_t> id, const std::string& text) {
    if (!id || *id < 0) return;
    const auto place = static_cast<size_t>(*id);
    const bool is_taken = std::any_of(tokens.begin(), tokens.end(),
                                      [&](const auto& token) { return token.first == place; });
    if (!is_taken) tokens.emplace_back(place, text);
  };
  add(config.bos_id, "<|bos|>");
  for (size_t i = 0; i < config.eos_ids.size(); ++i)
    add(config.eos_ids[i], i == 0 ? "<|eos|>" : fmt::format("<|eos{}|>", i + 1));
  add(config.pad_id, "<|pad|>");
  std::sort(tokens.begin(), tokens.end());
  return tokens;
}

std::shared_ptr<const Tokenizer> SyntheticTokenizer(const ModelConfig& config) {
  constexpr int64_t kNormal = 1, kControl = 3, kUnused = 5;
  const auto specials = SpecialTokens(config);
  if (config.vocab_size < 256 + specials.size()) return nullptr;
  GgufVocabulary vocabulary;
  vocabulary.pre = "gpt-2";
  int next_byte = 0;
  auto special = specials.begin();
  for (size_t id = 0; id < config.vocab_size; ++id) {
    std::string token;
    int64_t type = kNormal;
    if (special != specials.end() && special->first == id) {
      token = special++->second;
      type = kControl;
    } else if (next_byte < 256) {
      const char byte = static_cast<char>(next_byte++);
      AppendByteLevel({&byte, 1}, &token);
    } else {
      token = fmt::format("[unused{}]", id);
      type = kUnused;
    }
    vocabulary.tokens.push_back(std::move(token));
    vocabulary.types.push_back(type);
  }
  vocabulary.bos = config.bos_id;
  vocabulary.pad = config.pad_id;
  if (!config.eos_ids.empty()) vocabulary.eos = config.eos_ids[0];
  return Tokenizer::FromGguf(vocabulary, "synthetic vocabulary");
}

size_t ConvKernel(const ModelConfig& config) {
  for (const BlockConfig& block : config.blocks) {
    if (const auto* mamba = std::get_if<Mamba2Config>(&block.mixer)) return mamba->conv_kernel;
  }
  return 1;
}

}  // namespace

ParamRows RandomRows(const ModelConfig& config, uint64_t seed) {
  return [seed, scales = ScalesOf(config), conv_kernel = ConvKernel(config)](const Param& param,
                                                                             size_t r, float* out) {
    const uint64_t stream = Fnv1a(param.name);
    if (param.weight == nullptr) return RandomVector(param, scales, conv_kernel, seed, stream, out);
    const size_t columns = param.shape.last();
    FillNormal(seed, stream, r, {out, columns});
    const float deviation = param.role == ParamRole::kOutput ? scales.residual : scales.matrix;
    for (size_t i = 0; i < columns; ++i) out[i] *= deviation;
  };
}

Pretrained RandomModel(const ModelConfig& config, const std::string& name) {
  Pretrained made;
  made.name = name;
  made.config = config;
  made.model = std::make_unique<Model>(config);
  made.eos_ids = config.eos_ids;
  made.tokenizer = SyntheticTokenizer(config);
  if (made.tokenizer != nullptr) {
    if (config.bos_id) made.bos_token = made.tokenizer->TokenBytes(*config.bos_id);
    if (!config.eos_ids.empty()) made.eos_token = made.tokenizer->TokenBytes(config.eos_ids[0]);
  }
  return made;
}

GgufMetadata RandomModelNotes(uint64_t seed, DType type) {
  // llama.cpp's numbers for the type that most matrices have; it prints a guess without one.
  static const std::map<DType, uint32_t> kFileTypes = {
      {DType::kF32, 0},  {DType::kF16, 1},  {DType::kQ4_0, 2}, {DType::kQ4_1, 3},
      {DType::kQ8_0, 7}, {DType::kQ5_0, 8}, {DType::kQ5_1, 9}, {DType::kBF16, 32}};
  GgufMetadata notes = {
      {"general.description",
       GgufValue::String(fmt::format("random weights of seed {}, never trained; the vocabulary "
                                     "is synthetic: bytes and unused tokens",
                                     seed))},
      {"planish.synthetic", GgufValue::Bool(true)}};
  if (const auto found = kFileTypes.find(type); found != kFileTypes.end())
    notes.emplace_back("general.file_type", GgufValue::U32(found->second));
  return notes;
}

}  // namespace planish
