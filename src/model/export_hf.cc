// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "model/export.h"
#include "model/export_source.h"
#include "tensor/blocks.h"
#include "tensor/safetensors.h"

namespace planish {
namespace {

// The type a tensor is written in: asked for, remembered from before, or close to what is stored.
DType TargetType(const Pretrained& opened, const Param& param, std::optional<DType> wanted) {
  if (wanted) return *wanted;
  for (const auto& [name, type] : opened.hf_dtypes) {
    if (name == param.name) return type;
  }
  if (param.vector != nullptr) return DType::kF32;
  const DType stored = param.weight->dtype();
  return stored == DType::kF32 || stored == DType::kF16 || stored == DType::kBF16 ? stored
                                                                                  : DType::kBF16;
}

TensorToWrite ToWrite(const Param& param, DType type, const ExportOptions& options) {
  const auto fill_matrix = [param, type, rows = RowsOf(options)](size_t begin, size_t end,
                                                                 std::byte* out) {
    const size_t columns = param.shape.last();
    std::vector<float> row(columns);
    for (size_t r = begin; r < end; ++r, out += BytesOf(type, columns)) {
      rows(param, r, row.data());
      QuantizeRow(type, row.data(), out, columns);
    }
  };
  const auto fill_vector = [param, type, rows = RowsOf(options)](size_t begin, size_t end,
                                                                 std::byte* out) {
    std::vector<float> values(param.shape.elements());
    rows(param, 0, values.data());
    const size_t columns = param.shape.last();
    QuantizeRow(type, values.data() + begin * columns, out, (end - begin) * columns);
  };
  TensorToWrite tensor{.name = param.name, .dtype = type, .shape = param.shape};
  tensor.is_parallel = param.weight != nullptr && options.uses_team;
  if (param.weight != nullptr)
    tensor.fill = fill_matrix;
  else
    tensor.fill = fill_vector;
  return tensor;
}

bool IsScaledFp8(const Param& param) {
  return param.weight != nullptr && param.weight->dtype() == DType::kF8E4M3 &&
         param.weight->scales().block_out != 0;
}

// Codes as they are, and their scales beside them.
void AppendFp8(const Param& param, std::vector<TensorToWrite>* tensors) {
  const Weight& weight = *param.weight;
  const Weight::Scales& scales = weight.scales();
  tensors->push_back(ToWrite(param.name, TensorView{weight.dtype(), param.shape, weight.data()}));
  const char* suffix = scales.block_out == 1 ? "_scale" : "_scale_inv";
  tensors->push_back(ToWrite(param.name + suffix, scales.values));
}

// config.json's quantization_config of such matrices; null if there are none.
Json Fp8Config(Model* model) {
  const Weight::Scales* first = nullptr;
  Json plain = Json::MakeArray();  // modules that stay in floats
  model->VisitParams([&](const Param& param) {
    if (param.weight == nullptr) return;
    if (!IsScaledFp8(param)) {
      plain.Append(param.name.substr(0, param.name.rfind(".weight")));
      return;
    }
    const Weight::Scales& scales = param.weight->scales();
    if (first == nullptr) first = &scales;
    const bool is_row = scales.block_out == 1, was_row = first->block_out == 1;
    if (is_row != was_row ||
        (!is_row && (scales.block_out != first->block_out || scales.block_in != first->block_in)))
      throw UsageError("{}: one folder has one kind of FP8 scales", param.name);
  });
  if (first == nullptr) return {};
  Json config = Json::MakeObject();
  if (first->block_out != 1) {
    config.Set("quant_method", "fp8");
    config.Set("activation_scheme", "dynamic");
    config.Set("weight_block_size",
               Json::Array{Json(uint64_t{first->block_out}), Json(uint64_t{first->block_in})});
    config.Set("modules_to_not_convert", std::move(plain));
    return config;
  }
  const auto arguments = [](const char* strategy, bool is_dynamic) {
    Json json = Json::MakeObject();
    json.Set("num_bits", 8);
    json.Set("type", "float");
    json.Set("strategy", strategy);
    json.Set("symmetric", true);
    json.Set("dynamic", is_dynamic);
    return json;
  };
  Json group = Json::MakeObject(), groups = Json::MakeObject();
  group.Set("targets", Json::Array{Json("Linear")});
  group.Set("weights", arguments("channel", false));
  group.Set("input_activations", arguments("token", true));
  groups.Set("group_0", std::move(group));
  config.Set("quant_method", "compressed-tensors");
  config.Set("format", "float-quantized");
  config.Set("quantization_status", "compressed");
  config.Set("config_groups", std::move(groups));
  config.Set("ignore", std::move(plain));
  return config;
}

Json TokenizerConfig(const Pretrained& opened) {
  Json json = Json::MakeObject();
  if (!opened.bos_token.empty()) json.Set("bos_token", opened.bos_token);
  if (!opened.eos_token.empty()) json.Set("eos_token", opened.eos_token);
  json.Set("model_max_length", static_cast<uint64_t>(opened.config.max_position));
  json.Set("tokenizer_class", "PreTrainedTokenizerFast");
  return json;
}

// The config.json to write. What it cannot say (layers of one model with different head counts, say, which GGUF can) is
// found by reading it back.
Json ConfigToWrite(const Pretrained& opened, std::optional<DType> type) {
  const ModelConfig& config = opened.config;
  const bool has_attention =
      std::any_of(config.blocks.begin(), config.blocks.end(), [](const BlockConfig& block) {
        return std::holds_alternative<AttentionConfig>(block.mixer);
      });
  if (config.source.is_null() && config.family != Family::kNemotronH && !has_attention) {
    throw UsageError("{}: config.json cannot express a model without attention", opened.name);
  }
  Json json = ConfigToJson(config);
  if (type) {
    const char* name = *type == DType::kF32   ? "float32"
                       : *type == DType::kF16 ? "float16"
                                              : "bfloat16";
    json.Set(json.Find("dtype") != nullptr ? "dtype" : "torch_dtype", name);
  }
  json.Remove("quantization_config");  // what is written is plain
  ModelConfig again;
  try {
    again = ConfigFromJson(json, "config.json");
  } catch (const Error& error) {
    throw UsageError("{}: cannot be written as a Hugging Face folder: {}", opened.name,
                     error.what());
  }
  if (!again.HasBlocksOf(config)) {
    throw UsageError("{}: config.json of {} cannot express layers of one kind that differ in size",
                     opened.name, ModelType(config.family));
  }
  return json;
}

}  // namespace

void ExportHf(Pretrained* opened, const std::string& folder, std::optional<DType> type,
              uint64_t shard_bytes, const ExportOptions& options) {
  PLANISH_CHECK(!options.rows || type);
  if (type && *type != DType::kF32 && *type != DType::kF16 && *type != DType::kBF16) {
    throw UsageError("a Hugging Face folder can be written in f32, f16 or bf16, not {}",
                     Name(*type));
  }
  if (FileExists(folder + "/config.json"))
    throw UsageError("{} already holds a model", Quoted(folder, 300));
  Json config = ConfigToWrite(*opened, type);  // before anything is written
  const bool keeps_fp8 = options.keeps_fp8 && !type;
  if (keeps_fp8) {
    if (Json quantization = Fp8Config(opened->model.get()); !quantization.is_null())
      config.Set("quantization_config", std::move(quantization));
  }
  MakeDirectories(folder);
  std::vector<TensorToWrite> tensors;
  opened->model->VisitParams([&](const Param& param) {
    if (keeps_fp8 && IsScaledFp8(param)) return AppendFp8(param, &tensors);
    tensors.push_back(ToWrite(param, TargetType(*opened, param, type), options));
  });
  ReportProgress(options.progress, &tensors);
  WriteSafetensorsFolder(folder, tensors, shard_bytes);
  if (opened->tokenizer != nullptr) {
    WriteFile(folder + "/tokenizer.json",
              DumpJson(opened->tokenizer->ToJson(), JsonStyle::kPython, 2) + "\n");
    WriteFile(folder + "/tokenizer_config.json",
              DumpJson(TokenizerConfig(*opened), JsonStyle::kPython, 2) + "\n");
  }
  if (opened->chat_template != nullptr)
    WriteFile(folder + "/chat_template.jinja", opened->chat_template->source());
  WriteFile(
      folder + "/generation_config.json",
      DumpJson(GenerationConfigToJson(opened->generation, opened->config.bos_id, opened->eos_ids),
               JsonStyle::kPython, 2) +
          "\n");
  // Last, because a folder with a config.json is a model: one that was cut off has none.
  WriteFile(folder + "/config.json", DumpJson(config, JsonStyle::kPython, 2) + "\n");
}

}  // namespace planish
