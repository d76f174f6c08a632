// SPDX-License-Identifier: Apache-2.0
#include "model/config.h"

#include "base/error.h"
#include "base/file.h"
#include "model/config_families.h"

namespace planish {

const char* ModelType(Family family) {
  switch (family) {
    case Family::kLlama:
      return "llama";
    case Family::kMistral:
      return "mistral";
    case Family::kQwen3:
      return "qwen3";
    case Family::kDeci:
      return "nemotron-nas";
    case Family::kNemotronH:
      return "nemotron_h";
  }
  return "";
}

size_t ModelConfig::CountBlocks(size_t kind) const {
  size_t count = 0;
  for (const BlockConfig& block : blocks) count += block.mixer.index() == kind;
  return count;
}

bool ModelConfig::HasBlocksOf(const ModelConfig& other) const {
  if (blocks.size() != other.blocks.size()) return false;
  for (size_t i = 0; i < blocks.size(); ++i) {
    BlockConfig block = blocks[i];
    const auto* theirs = std::get_if<Mamba2Config>(&other.blocks[i].mixer);
    if (auto* mamba = std::get_if<Mamba2Config>(&block.mixer);
        mamba != nullptr && theirs != nullptr)
      mamba->chunk_size = theirs->chunk_size;
    if (block != other.blocks[i]) return false;
  }
  return true;
}

std::string DescribeBlocks(const ModelConfig& config) {
  std::string text;
  for (size_t kind = 0; kind < std::size(kMixerNames); ++kind) {
    if (const size_t count = config.CountBlocks(kind); count > 0)
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, kMixerNames[kind]);
  }
  return text.empty() ? "no blocks" : text;
}

size_t DeciIntermediateSize(double ffn_mult, size_t hidden_size) {
  const auto width = static_cast<size_t>(2.0 * ffn_mult * static_cast<double>(hidden_size) / 3.0);
  return (width + 255) / 256 * 256;
}

ModelConfig ConfigFromJson(const Json& json, const std::string& where) {
  const JsonReader reader(json, where);
  const std::string type = reader.String("model_type");
  ModelConfig config;
  if (type == "nemotron_h")
    config = NemotronHConfig(reader);
  else if (type == "llama")
    config = LlamaConfig(reader, Family::kLlama);
  else if (type == "mistral")
    config = LlamaConfig(reader, Family::kMistral);
  else if (type == "qwen3")
    config = LlamaConfig(reader, Family::kQwen3);
  else if (type == "nemotron-nas")
    config = DeciConfig(reader);
  else
    reader.Fail("model_type", "one of llama, mistral, qwen3, nemotron-nas, nemotron_h");
  config.source = json;
  return config;
}

ModelConfig ReadConfig(const std::string& path) {
  const std::string file = IsDirectory(path) ? path + "/config.json" : path;
  return ConfigFromJson(
      ParseJson(ReadFile(file, limits::kConfigBytes), file, {.allow_non_finite = true}), file);
}

}  // namespace planish
