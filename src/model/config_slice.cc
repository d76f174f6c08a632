// SPDX-License-Identifier: Apache-2.0
#include "model/config_slice.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace planish {
namespace {

constexpr size_t kKinds = std::size(kMixerNames);
using Counts = std::array<double, kKinds>;

Counts CountKinds(const ModelConfig& config, size_t first, size_t n_layers) {
  Counts counts{};
  for (const BlockConfig& block : config.blocks) {
    if (block.layer >= first && block.layer < first + n_layers) ++counts[block.mixer.index()];
  }
  return counts;
}

size_t BestWindow(const ModelConfig& config, size_t n_layers) {
  const Counts whole = CountKinds(config, 0, config.n_layers);
  const double share = static_cast<double>(n_layers) / static_cast<double>(config.n_layers);
  size_t best = 0;
  double smallest = std::numeric_limits<double>::infinity();
  for (size_t first = 0; first + n_layers <= config.n_layers; ++first) {
    const Counts counts = CountKinds(config, first, n_layers);
    double distance = 0;
    for (size_t kind = 0; kind < kKinds; ++kind)
      distance += std::abs(counts[kind] - share * whole[kind]);
    if (distance < smallest) {
      smallest = distance;
      best = first;
    }
  }
  return best;
}

Json::Array Window(const Json& list, size_t first, size_t count) {
  const auto begin = list.AsArray().begin() + static_cast<std::ptrdiff_t>(first);
  return Json::Array(begin, begin + static_cast<std::ptrdiff_t>(count));
}

}  // namespace

ModelConfig SliceLayers(const ModelConfig& config, size_t n_layers) {
  if (n_layers == 0 || n_layers > config.n_layers)
    throw UsageError("a slice of {} layers, the model has {}", n_layers, config.n_layers);
  const size_t first = BestWindow(config, n_layers);
  Json json = ConfigToJson(config);
  json.Set("num_hidden_layers", static_cast<int64_t>(n_layers));
  for (const char* key :
       {"layers_block_type", "layer_types", "block_configs", "planish_block_configs"}) {
    const Json* list = json.Find(key);
    if (list == nullptr || !list->is_array() || list->AsArray().size() != config.n_layers) continue;
    json.Set(key, Window(*list, first, n_layers));
  }
  if (const Json* pattern = json.Find("hybrid_override_pattern");
      pattern != nullptr && pattern->is_string()) {
    std::string letters = pattern->AsString();
    std::erase(letters, '|');  // borders of a pipeline
    json.Set("hybrid_override_pattern", letters.substr(first, n_layers));
  }
  return ConfigFromJson(json, "slice");
}

ModelConfig CutVocabulary(const ModelConfig& config, size_t vocab_size) {
  if (vocab_size < 8 || vocab_size > config.vocab_size)
    throw UsageError("a vocabulary of {} tokens, expected 8 to the model's {}", vocab_size,
                     config.vocab_size);
  Json json = ConfigToJson(config);
  const auto size = static_cast<int64_t>(vocab_size);
  int64_t free = size;  // ids are given out from the end, but for those that stay
  const auto moved = [&](const Json& id) {
    return id.is_integer() && id.AsInt() >= size ? Json(std::max<int64_t>(--free, 0)) : id;
  };
  json.Set("vocab_size", size);
  for (const char* key : {"bos_token_id", "eos_token_id", "pad_token_id"}) {
    const Json* ids = json.Find(key);
    if (ids == nullptr) continue;
    if (!ids->is_array()) {
      json.Set(key, moved(*ids));
      continue;
    }
    Json::Array list;
    for (const Json& id : ids->AsArray()) list.push_back(moved(id));
    json.Set(key, std::move(list));
  }
  return ConfigFromJson(json, "slice");
}

}  // namespace planish
