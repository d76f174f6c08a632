// SPDX-License-Identifier: Apache-2.0
#include "model/pretrained.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>

#include "base/error.h"
#include "base/log.h"
#include "model/gguf_map.h"
#include "model/gguf_text.h"
#include "model/param_source.h"
#include "model/planner.h"
#include "tensor/gguf.h"
#include "tensor/safetensors.h"

namespace planish {
namespace {

Json ReadJsonFile(const std::string& path, uint64_t max_bytes) {
  return ParseJson(ReadFile(path, max_bytes), path,
                   {.allow_non_finite = true, .reject_duplicate_keys = false});
}

void ReadGenerationConfig(const std::string& folder, Pretrained* opened) {
  const std::string path = folder + "/generation_config.json";
  if (!FileExists(path)) return;
  const GenerationConfig config = ParseGenerationConfig(ReadJsonFile(path, limits::kConfigBytes),
                                                        path, opened->config.vocab_size);
  opened->generation = config.defaults;
  if (config.eos_ids) opened->eos_ids = *config.eos_ids;
}

// A token in tokenizer_config.json: "<s>" or {"content": "<s>", ...}.
std::string TokenText(const JsonReader& reader, std::string_view key) {
  if (!reader.Has(key)) return {};
  const Json* value = reader.json().Find(key);
  if (value->is_object()) return reader.Object(key).StringOr("content", "");
  return reader.String(key);
}

}  // namespace

void ReadTokenizerConfig(const std::string& folder, Pretrained* opened) {
  std::string source, where = folder + "/chat_template.jinja";
  if (FileExists(where)) source = ReadFile(where, limits::kTemplateBytes);
  const std::string path = folder + "/tokenizer_config.json";
  if (FileExists(path)) {
    const Json json = ReadJsonFile(path, limits::kConfigBytes);
    const JsonReader reader(json, path);
    opened->bos_token = TokenText(reader, "bos_token");
    opened->eos_token = TokenText(reader, "eos_token");
    if (source.empty() && reader.Has("chat_template")) {
      where = path;
      const Json& value = *json.Find("chat_template");
      if (value.is_array()) {  // several named templates: "default" is the one for chat
        for (size_t i = 0; i < value.AsArray().size(); ++i) {
          const JsonReader item = reader.Element("chat_template", i);
          if (item.String("name") == "default") source = item.String("template");
        }
      } else {
        source = reader.String("chat_template");
      }
    }
  }
  if (!source.empty()) opened->chat_template = ChatTemplate::Parse(std::move(source), where);
}

namespace {

std::shared_ptr<const Tokenizer> TokenizerFromFile(const std::string& path) {
  return Tokenizer::FromJson(ReadFileMaybeZstd(path, limits::kTokenizerBytes), path);
}

// Sum of the files that ReadSafetensorsFolder would open; other files beside them (consolidated.safetensors) do not count.
uint64_t WeightFileBytes(const std::string& folder) {
  const auto size_of = [&](const std::string& name) -> uint64_t {
    std::error_code error;
    const uint64_t size = std::filesystem::file_size(folder + "/" + name, error);
    return error ? 0 : size;  // a missing file is reported when it is opened
  };
  if (FileExists(folder + "/model.safetensors")) return size_of("model.safetensors");
  const std::string index = folder + "/model.safetensors.index.json";
  if (!FileExists(index)) return 0;
  const Json json = ReadJsonFile(index, limits::kTokenizerBytes);
  std::set<std::string> shards;
  if (const Json* map = json.Find("weight_map"); map != nullptr && map->is_object()) {
    for (const auto& [name, shard] : map->AsObject()) {
      if (shard.is_string()) shards.insert(shard.AsString());
    }
  }
  uint64_t total = 0;
  for (const std::string& shard : shards) total += size_of(shard);
  return total;
}

// A name from a file goes to terminals: escape sequences and line breaks are spelled out.
std::string Printable(const std::string& name) {
  const std::string quoted = Quoted(name, 120);
  return quoted.substr(1, quoted.size() - 2);
}

std::string LastPathPart(const std::string& path) {
  std::filesystem::path p(path);
  if (!p.has_filename()) p = p.parent_path();
  return p.filename().string();
}

size_t ContextToCheck(const OpenOptions& options, const ModelConfig& config) {
  return options.context != 0 ? options.context : std::min(config.max_position, kDefaultContext);
}

void CheckTokenizerFits(const Pretrained& opened) {
  if (opened.tokenizer == nullptr || opened.tokenizer->vocab_size() <= opened.config.vocab_size)
    return;
  throw BadFile("{}: the tokenizer has {} tokens, expected at most vocab_size {}", opened.path,
                opened.tokenizer->vocab_size(), opened.config.vocab_size);
}

void RememberVectorTypes(const std::vector<StoredTensor>& tensors, Pretrained* opened) {
  std::map<std::string, DType> types;
  for (const StoredTensor& tensor : tensors)
    types[CanonicalTensorName(tensor.name)] = tensor.view.dtype;
  opened->model->VisitParams([&](const Param& param) {
    if (const auto found = types.find(param.name); found != types.end() && param.vector != nullptr)
      opened->hf_dtypes.push_back(*found);
  });
}

// Frequencies decide, not the parameters they were made from: GGUF keeps only divisors.
bool HaveSameRotation(const ModelConfig& a, const ModelConfig& b) {
  for (const BlockConfig& block : b.blocks) {
    const auto* attention = std::get_if<AttentionConfig>(&block.mixer);
    if (attention == nullptr || !attention->has_rope) continue;
    const std::vector<float> left =
        RopeInverseFrequencies(attention->head_dim, a.rope_theta, a.rope_scaling);
    const std::vector<float> right =
        RopeInverseFrequencies(attention->head_dim, b.rope_theta, b.rope_scaling);
    for (size_t i = 0; i < left.size(); ++i) {
      if (!(std::abs(left[i] / right[i] - 1.0f) < 1e-5f)) return false;
    }
  }
  return true;
}

// A GGUF file that planish made from a Hugging Face folder carries its config.json and stored types. They are used for the
// way back only if they describe the very model that the GGUF keys describe.
void RestoreOrigin(const GgufFile& file, Pretrained* opened) {
  const std::string text = file.StringOr("planish.hf.config", "");
  if (text.empty()) return;
  const std::string where = file.where() + ": planish.hf.config";
  const ModelConfig origin =
      ConfigFromJson(ParseJson(text, where, {.allow_non_finite = true}), where);
  const ModelConfig& found = opened->config;
  const bool is_same =
      origin.HasBlocksOf(found) && origin.hidden_size == found.hidden_size &&
      origin.vocab_size == found.vocab_size && origin.tie_embeddings == found.tie_embeddings &&
      std::abs(origin.norm_eps / found.norm_eps - 1.0) < 1e-5 && HaveSameRotation(origin, found);
  if (!is_same) {
    LogWarning("{}: describes another model than the GGUF keys; ignored", where);
    return;
  }
  opened->config.source = origin.source;
  const Json types =
      ParseJson(file.StringOr("planish.hf.dtypes", "{}"), file.where() + ": planish.hf.dtypes");
  if (!types.is_object()) return;
  for (const auto& [name, type] : types.AsObject()) {
    const auto dtype = type.is_string() ? DTypeFromName(type.AsString()) : std::nullopt;
    if (dtype && (*dtype == DType::kF32 || *dtype == DType::kF16 || *dtype == DType::kBF16))
      opened->hf_dtypes.emplace_back(name, *dtype);
  }
}

// Sampling defaults ride along in a GGUF file that planish wrote. Its end-of-sequence ids count only while they agree with
// the GGUF key, which other tools may have changed.
void RestoreGenerationConfig(const GgufFile& file, Pretrained* opened) {
  const std::string text = file.StringOr("planish.hf.generation_config", "");
  if (text.empty()) return;
  const std::string where = file.where() + ": planish.hf.generation_config";
  const GenerationConfig config = ParseGenerationConfig(
      ParseJson(text, where, {.allow_non_finite = true}), where, opened->config.vocab_size);
  opened->generation = config.defaults;
  const bool agrees = config.eos_ids && !config.eos_ids->empty() && !opened->eos_ids.empty() &&
                      config.eos_ids->front() == opened->eos_ids.front();
  if (agrees) opened->eos_ids = *config.eos_ids;
}

// Mapped pages are given back once a weight is packed; what was read stays beside the packed copy.
uint64_t WeightBytesToCheck(const OpenOptions& options, uint64_t file_bytes) {
  const bool has_copy = options.access == FileBytes::Access::kRead && !options.run.is_exact();
  return has_copy ? 2 * file_bytes : file_bytes;
}

Pretrained OpenHf(const std::string& path, const OpenOptions& options) {
  Pretrained opened;
  opened.path = path;
  opened.name = LastPathPart(path);
  opened.format = "safetensors";
  opened.config = ReadConfig(path);
  // Model code that comes with a model is never run.
  if (opened.config.source.Find("auto_map") != nullptr)
    LogWarning("{}/config.json: auto_map is ignored: no code of a model is run", path);
  opened.eos_ids = opened.config.eos_ids;
  ReadGenerationConfig(path, &opened);
  ReadTokenizerConfig(path, &opened);
  for (const char* name : {"/tokenizer.json", "/tokenizer.json.zst"}) {
    if (opened.tokenizer == nullptr && FileExists(path + name))
      opened.tokenizer = TokenizerFromFile(path + name);
  }
  if (opened.tokenizer == nullptr && options.needs_tokenizer)
    throw BadFile("{}: tokenizer.json is missing", path);
  CheckTokenizerFits(opened);
  opened.file_bytes = WeightFileBytes(path);
  if (!options.needs_weights) return opened;
  if (options.checks_memory)
    CheckMemory(opened.config, opened.name, WeightBytesToCheck(options, opened.file_bytes),
                ContextToCheck(options, opened.config), options.run.state_types(),
                options.memory_limit);
  Json quantization;
  if (const Json* found = opened.config.source.Find("quantization_config");
      found != nullptr && found->is_object()) {
    const JsonReader reader(*found, path + "/config.json", "quantization_config");
    const std::string method = reader.StringOr("quant_method", "fp8");
    if (method != "fp8" && method != "modelopt" && method != "compressed-tensors")
      reader.Fail("quant_method", "fp8, modelopt or compressed-tensors (with FP8 weights)");
    quantization = *found;
  }
  opened.model = std::make_unique<Model>(opened.config);
  std::vector<StoredTensor> tensors = ReadSafetensorsFolder(path, options.access);
  RememberVectorTypes(tensors, &opened);
  FillParams(path, HfParamSource(std::move(tensors), quantization).get(), opened.model.get());
  return opened;
}

Pretrained OpenGguf(const std::string& path, const OpenOptions& options) {
  const GgufFile file = GgufFile::Open(path, options.access);
  Pretrained opened;
  opened.path = path;
  opened.name = Printable(file.StringOr("general.name", LastPathPart(path)));
  opened.format = "gguf";
  opened.config = ConfigFromGguf(file);
  opened.eos_ids = opened.config.eos_ids;
  RestoreGenerationConfig(file, &opened);
  const std::string vocabulary = file.StringOr("tokenizer.ggml.model", "no_vocab");
  if (vocabulary != "no_vocab" && vocabulary != "none") {
    opened.tokenizer = Tokenizer::FromGguf(VocabularyFromGguf(file), path);
    if (opened.config.bos_id)
      opened.bos_token = opened.tokenizer->TokenBytes(*opened.config.bos_id);
    if (!opened.eos_ids.empty()) opened.eos_token = opened.tokenizer->TokenBytes(opened.eos_ids[0]);
  } else if (options.needs_tokenizer) {
    throw BadFile("{}: has no tokenizer (tokenizer.ggml.model is {})", path,
                  file.Has("tokenizer.ggml.model") ? vocabulary : "missing");
  }
  CheckTokenizerFits(opened);
  if (std::string source = file.StringOr("tokenizer.chat_template", ""); !source.empty()) {
    opened.chat_template =
        ChatTemplate::Parse(std::move(source), path + ": tokenizer.chat_template");
  }
  std::map<const FileBytes*, uint64_t> files;
  for (const StoredTensor& tensor : file.tensors()) files[tensor.file.get()] = tensor.file->size();
  for (const auto& [ignored, size] : files) opened.file_bytes += size;
  if (!options.needs_weights) return opened;
  if (options.checks_memory)
    CheckMemory(opened.config, opened.name, WeightBytesToCheck(options, opened.file_bytes),
                ContextToCheck(options, opened.config), options.run.state_types(),
                options.memory_limit);
  opened.model = std::make_unique<Model>(opened.config);
  FillParams(path, GgufParamSource(file, opened.config).get(), opened.model.get());
  RestoreOrigin(file, &opened);
  return opened;
}

bool IsGguf(const std::string& path) {
  return path.ends_with(".gguf") || ReadFilePrefix(path, 4) == "GGUF";
}

Pretrained Ready(Pretrained opened, const OpenOptions& options) {
  if (opened.model != nullptr) ApplyRunMode(options.run, opened.model.get());
  if (opened.chat_template == nullptr) return opened;
  opened.thinking = opened.chat_template->DetectThinking();
  // Llama-Nemotron Super and Ultra obey a system line that some of their templates only pass on, which no probe can see.
  if (!opened.thinking.supported && opened.config.family == Family::kDeci) {
    opened.thinking.supported = true;
    opened.thinking.toggle = ThinkingSupport::Toggle::kDetailedThinking;
  }
  return opened;
}

}  // namespace

Pretrained OpenPretrained(const std::string& path, const OpenOptions& options) {
  if (IsDirectory(path)) return Ready(OpenHf(path, options), options);
  if (!FileExists(path)) {
    throw Error(ExitCode::kBadFile, fmt::format("{}: no such model", Quoted(path, 300)),
                "a Hugging Face folder or a .gguf file");
  }
  if (IsGguf(path)) return Ready(OpenGguf(path, options), options);
  throw Error(ExitCode::kBadFile,
              fmt::format("{}: is neither a folder nor a GGUF file", Quoted(path, 300)),
              "a Hugging Face folder or a .gguf file");
}

std::shared_ptr<const Tokenizer> OpenTokenizer(const std::string& path) {
  return OpenTokenizerWithEos(path).tokenizer;
}

TokenizerWithEos OpenTokenizerWithEos(const std::string& path) {
  const bool is_folder = IsDirectory(path);
  const bool is_model =
      is_folder ? FileExists(path + "/config.json") || !FileExists(path + "/tokenizer.json")
                : FileExists(path) && IsGguf(path);
  TokenizerWithEos found;
  Pretrained opened;
  if (is_model) {
    opened = OpenPretrained(path, {.needs_weights = false});
    found.tokenizer = opened.tokenizer;
  } else {
    const std::string parent = std::filesystem::path(path).parent_path().string();
    const std::string folder = is_folder ? path : parent.empty() ? "." : parent;
    found.tokenizer = TokenizerFromFile(is_folder ? path + "/tokenizer.json" : path);
    if (FileExists(folder + "/tokenizer_config.json")) ReadTokenizerConfig(folder, &opened);
  }
  if (!opened.eos_token.empty()) found.eos = found.tokenizer->Find(opened.eos_token);
  if (!found.eos && !opened.eos_ids.empty()) found.eos = opened.eos_ids.front();
  return found;
}

std::shared_ptr<const ChatTemplate> OpenTemplate(const std::string& path) {
  if (IsDirectory(path) || (FileExists(path) && IsGguf(path))) {
    auto found =
        OpenPretrained(path, {.needs_tokenizer = false, .needs_weights = false}).chat_template;
    if (found == nullptr) throw BadFile("{}: has no chat template", path);
    return found;
  }
  return ChatTemplate::Parse(ReadFile(path, limits::kTemplateBytes), path);
}

std::vector<std::pair<std::string, uint64_t>> BytesByType(Model* model) {
  std::map<std::string, uint64_t> bytes;
  model->VisitParams([&](const Param& param) {
    if (param.weight != nullptr)
      bytes[std::string(Name(param.weight->dtype()))] += param.weight->bytes();
    else
      bytes["f32"] += param.vector->bytes();
  });
  std::vector<std::pair<std::string, uint64_t>> sorted(bytes.begin(), bytes.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  return sorted;
}

}  // namespace planish
