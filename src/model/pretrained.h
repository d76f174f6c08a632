// SPDX-License-Identifier: Apache-2.0
// A model with all that comes with it, opened from a Hugging Face folder or a GGUF file. Every verb opens models here.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/file.h"
#include "model/generation_config.h"
#include "model/model.h"
#include "model/run_mode.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace planish {

inline constexpr size_t kDefaultContext =
    4096;  // of verbs, when neither the user nor the model asks for less

struct OpenOptions {
  FileBytes::Access access = FileBytes::Access::kMap;
  bool needs_tokenizer = true;  // else a missing tokenizer is no error
  bool needs_weights = true;    // false: config, tokenizer and template only; `model` stays null
  bool checks_memory =
      true;  // refuse what does not fit; off for verbs that only walk over mapped weights
  uint64_t memory_limit = 0;  // bytes that may be used, 0: what the machine has free
  size_t context =
      0;  // positions to reserve for in the memory check, 0: the smaller of the model's and kDefaultContext
  RunMode run;  // exact unless asked otherwise
};

struct Pretrained {
  std::string path;
  std::string name;         // for messages: folder or file name, or general.name of a GGUF
  std::string format;       // "safetensors" or "gguf"
  uint64_t file_bytes = 0;  // of all weight files
  ModelConfig config;
  std::unique_ptr<Model> model;
  std::shared_ptr<const Tokenizer> tokenizer;         // null if the model has none
  std::shared_ptr<const ChatTemplate> chat_template;  // null if the model has none
  ThinkingSupport thinking;                           // of that template, probed once
  std::string bos_token, eos_token;                   // as text, for templates
  std::vector<int32_t> eos_ids;                       // generation_config.json, else config.json
  GenerationDefaults generation;
  // Stored types of Hugging Face tensors that differ from what is in memory: vectors (always float here), and everything
  // when a GGUF file that planish wrote tells where it came from.
  std::vector<std::pair<std::string, DType>> hf_dtypes;
};

// Error(kBadFile) for anything wrong in the files, Error(kNoMemory) with what would fit when it does not.
Pretrained OpenPretrained(const std::string& path, const OpenOptions& options = {});

// Only tokenizer and template: `path` may also be a folder without a model, a tokenizer.json or a .jinja file.
std::shared_ptr<const Tokenizer> OpenTokenizer(const std::string& path);
struct TokenizerWithEos {
  std::shared_ptr<const Tokenizer> tokenizer;
  std::optional<TokenId>
      eos;  // as the model's files or a tokenizer_config.json beside a tokenizer.json say
};
// `path`: a model, a folder with a tokenizer.json, or that file.
TokenizerWithEos OpenTokenizerWithEos(const std::string& path);
std::shared_ptr<const ChatTemplate> OpenTemplate(const std::string& path);
// Template and special tokens, as far as files of `folder` tell them, into `opened`: a tokenizer's folder needs no model.
void ReadTokenizerConfig(const std::string& folder, Pretrained* opened);

// Bytes by stored type of the parameters of an opened model: {"q4_1": 58982400, ...}.
std::vector<std::pair<std::string, uint64_t>> BytesByType(Model* model);

}  // namespace planish
