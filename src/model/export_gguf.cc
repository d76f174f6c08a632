// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "model/export.h"
#include "model/export_source.h"
#include "model/gguf_map.h"
#include "model/gguf_text.h"
#include "tensor/blocks.h"

namespace planish {
namespace {

bool HasGgufType(DType dtype) { return Traits(dtype).gguf_id >= 0 && dtype != DType::kF64; }

DType MatrixType(const Param& param, std::optional<DType> wanted) {
  const Weight& weight = *param.weight;
  const DType type =
      wanted.value_or(HasGgufType(weight.dtype()) && weight.scales().block_out == 0 ? weight.dtype()
                                                                                    : DType::kBF16);
  return WritableType(type, param.shape.last());
}

// Row r of the file, from the row of the model that GGUF's order puts there.
TensorToWrite Matrix(const Param& param, const ExportOptions& options, std::optional<DType> wanted,
                     const ModelConfig& config) {
  const DType type = MatrixType(param, wanted);
  const size_t columns = param.shape.last(), heads = PermutedHeads(param.name, config);
  const size_t head_rows = heads == 0 ? 0 : param.shape[0] / heads;
  const bool is_stored =
      !options.rows && type == param.weight->dtype() && param.weight->scales().block_out == 0;
  const auto fill = [=, rows = RowsOf(options)](size_t begin, size_t end, std::byte* out) {
    const size_t row_bytes = BytesOf(type, columns);
    std::vector<float> row(is_stored ? 0 : columns);
    for (size_t r = begin; r < end; ++r, out += row_bytes) {
      const size_t source = heads == 0 ? r : PermutedRow(r, head_rows);
      if (is_stored) {
        std::memcpy(out, param.weight->row(source), row_bytes);
      } else {
        rows(param, source, row.data());
        QuantizeRow(type, row.data(), out, columns);
      }
    }
  };
  return {.dtype = type, .fill = fill, .is_parallel = true};
}

// Written as one row, whatever the shape that GGUF gives it.
TensorToWrite Vector(const Param& param, const ExportOptions& options, const Shape& shape) {
  const auto fill = [param, shape, rows = RowsOf(options)](size_t begin, size_t end,
                                                           std::byte* out) {
    std::vector<float> values(param.shape.elements());
    rows(param, 0, values.data());
    if (param.role == ParamRole::kSsmALog)
      std::transform(values.begin(), values.end(), values.begin(), AFromALog);
    std::memcpy(out, values.data() + begin * shape.last(),
                (end - begin) * shape.last() * sizeof(float));
  };
  return {.dtype = DType::kF32, .fill = fill};
}

// Which Hugging Face type each tensor had, for the way back: one name for all, and the exceptions.
Json StoredTypes(Model* model, const std::vector<std::pair<std::string, DType>>& hf_dtypes,
                 const std::map<std::string, DType>& planned) {
  Json types = Json::MakeObject();
  model->VisitParams([&](const Param& param) {
    if (param.weight == nullptr || param.weight->empty()) return;
    const auto plan = planned.find(param.name);
    const DType type = plan == planned.end() ? param.weight->dtype() : plan->second;
    if (!IsQuantised(type)) types.Set(param.name, std::string(Name(type)));
  });
  for (const auto& [name, type] : hf_dtypes) types.Set(name, std::string(Name(type)));
  return types;
}

struct GgufParts {
  GgufMetadata metadata;
  std::vector<TensorToWrite> tensors;
};

// planned: types of matrices by name that are not those they have yet; tensors then tell sizes alone.
GgufParts PartsOf(Pretrained* opened, std::optional<DType> type,
                  const std::map<std::string, DType>& planned, const ExportOptions& options) {
  const ModelConfig& config = opened->config;
  GgufMetadata metadata = ConfigToGguf(config);
  metadata.insert(metadata.begin() + 1, {{"general.type", GgufValue::String("model")},
                                         {"general.name", GgufValue::String(opened->name)}});
  metadata.emplace_back("general.quantization_version", GgufValue::U32(2));
  if (!config.source.is_null()) {
    metadata.emplace_back("planish.hf.config", GgufValue::String(DumpJson(config.source)));
    metadata.emplace_back(
        "planish.hf.dtypes",
        GgufValue::String(DumpJson(StoredTypes(opened->model.get(), opened->hf_dtypes, planned))));
  }
  metadata.emplace_back("planish.hf.generation_config",
                        GgufValue::String(DumpJson(GenerationConfigToJson(
                            opened->generation, config.bos_id, opened->eos_ids))));
  if (opened->tokenizer == nullptr) {
    // llama.cpp's name for it; ids can then still be evaluated there.
    metadata.emplace_back("tokenizer.ggml.model", GgufValue::String("no_vocab"));
    const auto add_id = [&](const char* key, int32_t id) {
      metadata.emplace_back(key, GgufValue::U32(static_cast<uint32_t>(id)));
    };
    if (config.bos_id) add_id("tokenizer.ggml.bos_token_id", *config.bos_id);
    if (config.pad_id) add_id("tokenizer.ggml.padding_token_id", *config.pad_id);
    if (!opened->eos_ids.empty()) add_id("tokenizer.ggml.eos_token_id", opened->eos_ids[0]);
  } else {
    GgufVocabulary vocabulary = opened->tokenizer->ToGguf();
    if (config.bos_id) vocabulary.bos = config.bos_id;
    if (config.pad_id) vocabulary.pad = config.pad_id;
    if (!opened->eos_ids.empty()) vocabulary.eos = opened->eos_ids[0];
    // llama.cpp takes the vocabulary's size from this list: every row of the embedding needs a token.
    for (size_t id = vocabulary.tokens.size(); id < config.vocab_size; ++id) {
      vocabulary.tokens.push_back(fmt::format("[PAD{}]", id));
      vocabulary.types.push_back(5);
    }
    for (auto& entry : VocabularyToGguf(vocabulary)) metadata.push_back(std::move(entry));
  }
  // GGUF has names for three ids that end a text; llama.cpp stops at any of them.
  constexpr const char* kMoreEnds[] = {"tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
  for (size_t i = 1; i < std::min<size_t>(opened->eos_ids.size(), 3); ++i) {
    metadata.emplace_back(kMoreEnds[i - 1],
                          GgufValue::U32(static_cast<uint32_t>(opened->eos_ids[i])));
  }
  if (opened->chat_template != nullptr)
    metadata.emplace_back("tokenizer.chat_template",
                          GgufValue::String(opened->chat_template->source()));

  metadata.insert(metadata.end(), options.notes.begin(), options.notes.end());

  std::vector<TensorToWrite> tensors;
  for (const BlockConfig& block : config.blocks) {
    const auto* attention = std::get_if<AttentionConfig>(&block.mixer);
    if (attention == nullptr || !attention->has_rope) continue;
    const std::vector<float> divisors = RopeDivisors(config, attention->head_dim);
    if (!divisors.empty()) {
      tensors.push_back({"rope_freqs.weight",
                         DType::kF32,
                         {divisors.size()},
                         [divisors](size_t, size_t, std::byte* out) {
                           std::memcpy(out, divisors.data(), divisors.size() * sizeof(float));
                         }});
    }
    break;
  }
  opened->model->VisitParams([&](const Param& param) {
    const auto name = GgufTensorName(param.name);
    if (!name) throw UsageError("GGUF has no place for {}", param.name);
    const Shape shape = GgufTensorShape(param.name, param.shape, config);
    tensors.push_back(param.vector != nullptr ? Vector(param, options, shape)
                                              : Matrix(param, options, type, config));
    tensors.back().name = *name;
    tensors.back().shape = shape;
    if (const auto plan = planned.find(param.name); plan != planned.end())
      tensors.back().dtype = WritableType(plan->second, param.shape.last());
  });
  return {std::move(metadata), std::move(tensors)};
}

}  // namespace

void ExportGguf(Pretrained* opened, const std::string& path, std::optional<DType> type,
                const ExportOptions& options) {
  PLANISH_CHECK(!options.rows || type);
  if (type && !CanQuantize(*type)) throw UsageError("cannot write GGUF type {} yet", Name(*type));
  GgufParts parts = PartsOf(opened, type, {}, options);
  ReportProgress(options.progress, &parts.tensors);
  WriteGguf(path, parts.metadata, parts.tensors);
}

uint64_t GgufBytes(Pretrained* opened, const std::map<std::string, DType>& types) {
  const GgufParts parts = PartsOf(opened, std::nullopt, types, {});
  return GgufFileBytes(parts.metadata, parts.tensors);
}

}  // namespace planish
