// SPDX-License-Identifier: Apache-2.0
#include "train/train_model.h"

#include <filesystem>

#include "base/error.h"
#include "base/nearest.h"
#include "model/masters.h"
#include "model/random_model.h"

namespace planish {
namespace {

namespace fs = std::filesystem;

// Tokenizer and template of a folder (or file), put into `made`.
void TakeTokenizer(const std::string& path, Pretrained* made) {
  made->tokenizer = OpenTokenizer(path);
  const std::string folder = IsDirectory(path) ? path : fs::path(path).parent_path().string();
  ReadTokenizerConfig(folder, made);
  const auto text = [&](int32_t id) { return std::string(made->tokenizer->TokenBytes(id)); };
  made->bos_token = made->config.bos_id ? text(*made->config.bos_id) : "";
  made->eos_token = made->eos_ids.empty() ? "" : text(made->eos_ids[0]);
}

ModelConfig ConfigOf(const ModelSection& section) {
  if (FileExists(section.config)) {
    if (!section.config.ends_with(".gguf")) return ReadConfig(section.config);
    return OpenPretrained(section.config, {.needs_tokenizer = false, .needs_weights = false})
        .config;
  }
  if (const std::optional<Json> json = PublishedConfig(section.config))
    return ConfigFromJson(*json, section.config);
  throw Error(ExitCode::kUsage,
              fmt::format("model.config: {} is neither a file nor a published name",
                          Quoted(section.config, 300)),
              Nearest(section.config, PublishedNames()));
}

// Shape and tokenizer of a new model; its parameters are empty.
Pretrained NewModel(const ModelSection& section) {
  ModelConfig config = ConfigOf(section);
  if (section.initializer_range > 0) {
    if (config.source.is_null()) config.source = ConfigToJson(config);
    config.source.Set("initializer_range", section.initializer_range);
  }
  Pretrained made = RandomModel(config, fs::path(section.config).stem().string());
  made.format = "safetensors";
  made.path = section.config;
  const std::string beside = IsDirectory(section.config) ? section.config : "";
  if (!section.tokenizer.empty())
    TakeTokenizer(section.tokenizer, &made);
  else if (!beside.empty() && FileExists(beside + "/tokenizer.json"))
    TakeTokenizer(beside, &made);
  if (made.tokenizer != nullptr && made.tokenizer->vocab_size() > config.vocab_size)
    throw BadFile("{}: the tokenizer has {} ids, but vocab_size of {} is {}",
                  Quoted(section.tokenizer.empty() ? beside : section.tokenizer, 300),
                  made.tokenizer->vocab_size(), Quoted(section.config, 300), config.vocab_size);
  return made;
}

}  // namespace

Pretrained OpenForTraining(const ModelSection& section, uint64_t seed, BaseWeights weights) {
  if (section.init.empty()) {
    Pretrained made = NewModel(section);
    FillParams(made.model.get(), RandomRows(made.config, seed));
    return made;
  }
  Pretrained opened =
      OpenPretrained(section.init, {.needs_tokenizer = false, .checks_memory = false});
  if (weights == BaseWeights::kMasters) HoldMasters(opened.model.get());
  return opened;
}

Pretrained DescribeForTraining(const ModelSection& section) {
  if (section.init.empty()) {
    Pretrained made = NewModel(section);
    made.model = nullptr;
    return made;
  }
  return OpenPretrained(section.init, {.needs_tokenizer = false, .needs_weights = false});
}

}  // namespace planish
