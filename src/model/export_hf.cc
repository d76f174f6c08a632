// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "base/error.h"
#include "base/file.h"
#include "model/export.h"
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
  return stored == DType::kF32 || stored == DType::kF16 || stored == DType::kBF16 ? stored : DType::kBF16;
}

void Fill(const Param& param, DType type, std::byte* out) {
  const size_t rows = param.weight != nullptr ? param.weight->out() : 1;
  const size_t columns = param.weight != nullptr ? param.weight->in() : param.vector->elements();
  std::vector<float> row(columns);
  for (size_t r = 0; r < rows; ++r) {
    if (param.weight != nullptr) param.weight->DequantizeRow(r, row.data());
    else std::memcpy(row.data(), param.vector->data(), param.vector->bytes());
    QuantizeRow(type, row.data(), out + r * BytesOf(type, columns), columns);
  }
}

Json TokenizerConfig(const Pretrained& opened) {
  Json json = Json::MakeObject();
  if (!opened.bos_token.empty()) json.Set("bos_token", opened.bos_token);
  if (!opened.eos_token.empty()) json.Set("eos_token", opened.eos_token);
  json.Set("model_max_length", static_cast<uint64_t>(opened.config.max_position));
  json.Set("tokenizer_class", "PreTrainedTokenizerFast");
  return json;
}

Json GenerationConfig(const Pretrained& opened) {
  Json json = Json::MakeObject();
  if (opened.config.bos_id) json.Set("bos_token_id", int64_t{*opened.config.bos_id});
  if (opened.eos_ids.size() == 1) {
    json.Set("eos_token_id", int64_t{opened.eos_ids[0]});
  } else if (!opened.eos_ids.empty()) {
    Json ids = Json::MakeArray();
    for (const int32_t id : opened.eos_ids) ids.Append(int64_t{id});
    json.Set("eos_token_id", std::move(ids));
  }
  const GenerationDefaults& defaults = opened.generation;
  if (defaults.do_sample) json.Set("do_sample", *defaults.do_sample);
  if (defaults.temperature) json.Set("temperature", *defaults.temperature);
  if (defaults.top_p) json.Set("top_p", *defaults.top_p);
  if (defaults.top_k) json.Set("top_k", *defaults.top_k);
  if (defaults.min_p) json.Set("min_p", *defaults.min_p);
  return json;
}

}  // namespace

void ExportHf(Pretrained* opened, const std::string& folder, std::optional<DType> type, uint64_t shard_bytes) {
  if (type && *type != DType::kF32 && *type != DType::kF16 && *type != DType::kBF16) {
    throw UsageError("a Hugging Face folder can be written in f32, f16 or bf16, not {}", Name(*type));
  }
  if (FileExists(folder + "/config.json")) throw UsageError("{} already holds a model", Quoted(folder, 300));
  MakeDirectories(folder);
  std::vector<TensorToWrite> tensors;
  opened->model->VisitParams([&](const Param& param) {
    const DType target = TargetType(*opened, param, type);
    tensors.push_back({param.name, target, param.shape, [param, target](std::byte* out) { Fill(param, target, out); }});
  });
  WriteSafetensorsFolder(folder, tensors, shard_bytes);
  if (opened->tokenizer != nullptr) {
    WriteFile(folder + "/tokenizer.json", DumpJson(opened->tokenizer->ToJson(), JsonStyle::kPython, 2) + "\n");
    WriteFile(folder + "/tokenizer_config.json", DumpJson(TokenizerConfig(*opened), JsonStyle::kPython, 2) + "\n");
  }
  if (opened->chat_template != nullptr) WriteFile(folder + "/chat_template.jinja", opened->chat_template->source());
  WriteFile(folder + "/generation_config.json", DumpJson(GenerationConfig(*opened), JsonStyle::kPython, 2) + "\n");
  Json config = ConfigToJson(opened->config);
  if (type) {
    const char* name = *type == DType::kF32 ? "float32" : *type == DType::kF16 ? "float16" : "bfloat16";
    config.Set(config.Find("dtype") != nullptr ? "dtype" : "torch_dtype", name);
  }
  config.Remove("quantization_config");  // what is written is plain
  // Last, because a folder with a config.json is a model: one that was cut off has none.
  WriteFile(folder + "/config.json", DumpJson(config, JsonStyle::kPython, 2) + "\n");
}

}  // namespace planish
