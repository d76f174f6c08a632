// SPDX-License-Identifier: Apache-2.0
#include "model/adapter.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "model/masters.h"
#include "model/projection.h"
#include "tensor/safetensors.h"

namespace planish {
namespace {

constexpr std::string_view kPrefix = "base_model.model.";
constexpr size_t kMaxRank = 4096;

// "model.layers.3.self_attn.q_proj" of a parameter "model.layers.3.self_attn.q_proj.weight".
std::string ModuleOf(const std::string& param) { return param.substr(0, param.rfind(".weight")); }
std::string LastPart(const std::string& module) { return module.substr(module.rfind('.') + 1); }

// Projections by module name.
std::vector<std::pair<std::string, Projection*>> Projections(Model* model) {
  std::vector<std::pair<std::string, Projection*>> found;
  model->VisitParams([&](const Param& param) {
    if (param.projection != nullptr) found.emplace_back(ModuleOf(param.name), param.projection);
  });
  return found;
}

// The names that checkpoints of a family use for the same module: Nemotron-H is published as backbone.*, saved by transformers
// as model.*.
std::string OtherSpelling(const std::string& module) {
  for (const auto& [from, to] :
       {std::pair<std::string, std::string>{"backbone.", "model."}, {"model.", "backbone."}})
    if (module.starts_with(from)) return to + module.substr(from.size());
  return module;
}

AdapterConfig ParseConfig(const std::string& path) {
  const Json json = ParseJson(ReadFile(path, 1 << 20), path);
  const JsonReader reader(json, path);
  const std::string type = reader.StringOr("peft_type", "LORA");
  if (type != "LORA") throw BadFile("{}: peft_type is {}, expected LORA", path, Quoted(type));
  for (const char* key : {"use_dora", "fan_in_fan_out", "lora_bias"})
    if (reader.BoolOr(key, false)) throw BadFile("{}: {} is not supported", path, key);
  for (const char* key : {"modules_to_save", "alpha_pattern", "layers_to_transform"}) {
    const Json* value = json.Find(key);
    if (value == nullptr || value->is_null() || (value->is_array() && value->AsArray().empty()) ||
        (value->is_object() && value->AsObject().empty()))
      continue;
    throw BadFile("{}: {} is not supported", path, key);
  }
  AdapterConfig config;
  config.rank = static_cast<size_t>(reader.Int("r", 1, kMaxRank));
  config.alpha = reader.NumberOr("lora_alpha", 1e-6, 1e6, static_cast<double>(config.rank));
  config.rank_stabilised = reader.BoolOr("use_rslora", false);
  config.base_model = reader.StringOr("base_model_name_or_path", "");
  const Json* targets = json.Find("target_modules");
  if (targets != nullptr && targets->is_array())
    for (const Json& target : targets->AsArray())
      if (target.is_string()) config.target_modules.push_back(target.AsString());
  return config;
}

void CopyInto(const TensorView& view, const std::string& where, Weight* weight) {
  if (view.shape != Shape{weight->out(), weight->in()})
    throw BadFile("{} is {}, expected [{}, {}]", where, view.shape.ToString(), weight->out(),
                  weight->in());
  const Tensor values = Tensor::ToF32(view);
  std::memcpy(weight->mutable_data(), values.data(), values.bytes());
}

}  // namespace

bool IsTarget(const AdapterConfig& config, const std::string& param) {
  const std::vector<std::string>& targets = config.target_modules;
  return targets.empty() ||
         std::find(targets.begin(), targets.end(), LastPart(ModuleOf(param))) != targets.end();
}

void AddAdapters(Model* model, const AdapterConfig& config, uint64_t seed) {
  std::set<std::string> unused(config.target_modules.begin(), config.target_modules.end());
  std::set<std::string> known;
  for (const auto& [module, projection] : Projections(model)) {
    const std::string name = LastPart(module);
    known.insert(name);
    if (!IsTarget(config, module)) continue;
    unused.erase(name);
    projection->adapter =
        std::make_unique<LowRank>(projection->weight.out(), projection->weight.in(), config.rank,
                                  config.alpha, config.rank_stabilised);
    projection->adapter->Initialise(seed, module);
  }
  if (unused.empty()) return;
  std::string names;
  for (const std::string& name : known) names += (names.empty() ? "" : ", ") + name;
  throw UsageError("lora.target_modules: the model has no projection called {}, but {}",
                   Quoted(*unused.begin()), names);
}

bool HasAdapters(Model* model) {
  for (const auto& [module, projection] : Projections(model))
    if (projection->adapter != nullptr) return true;
  return false;
}

AdapterConfig LoadAdapter(const std::string& folder, Model* model) {
  const AdapterConfig config = ParseConfig(folder + "/adapter_config.json");
  const std::string path = folder + "/adapter_model.safetensors";
  const SafetensorsFile file = ReadSafetensors(path, FileBytes::Access::kRead);
  std::map<std::string, TensorView> tensors;
  for (const StoredTensor& tensor : file.tensors) tensors[tensor.name] = tensor.view;
  size_t used = 0;
  for (const auto& [module, projection] : Projections(model)) {
    const auto find = [&](const char* matrix) {
      for (const std::string& name : {module, OtherSpelling(module)}) {
        const auto at = tensors.find(std::string(kPrefix) + name + matrix);
        if (at != tensors.end()) return at;
      }
      return tensors.end();
    };
    const auto a = find(".lora_A.weight"), b = find(".lora_B.weight");
    if (a == tensors.end() && b == tensors.end()) continue;
    if (a == tensors.end() || b == tensors.end())
      throw BadFile("{}: {} has only one of lora_A and lora_B", path, module);
    const size_t rank = a->second.shape.rank() == 2 ? a->second.shape[0] : 0;
    if (rank == 0 || rank > kMaxRank)
      throw BadFile("{}: {} is {}, expected [rank, {}]", path, a->first, a->second.shape.ToString(),
                    projection->weight.in());
    projection->adapter =
        std::make_unique<LowRank>(projection->weight.out(), projection->weight.in(), rank,
                                  config.alpha, config.rank_stabilised);
    CopyInto(a->second, path + ": " + a->first, &projection->adapter->a);
    CopyInto(b->second, path + ": " + b->first, &projection->adapter->b);
    used += 2;
  }
  if (used == tensors.size()) return config;
  for (const auto& [name, view] : tensors) {
    bool fits = false;
    for (const auto& [module, projection] : Projections(model))
      for (const std::string& spelling : {module, OtherSpelling(module)})
        fits |= name.starts_with(std::string(kPrefix) + spelling + ".lora_");
    if (!fits) throw BadFile("{}: {} fits no projection of the model", path, Quoted(name));
  }
  throw BadFile("{}: tensors that are neither lora_A.weight nor lora_B.weight", path);
}

void SaveAdapter(const std::string& folder, Model* model, const AdapterConfig& config) {
  MakeDirectories(folder);
  std::vector<TensorToWrite> tensors;
  std::set<std::string> targets;
  for (const auto& [module, projection] : Projections(model)) {
    if (projection->adapter == nullptr) continue;
    targets.insert(LastPart(module));
    const LowRank* adapter = projection->adapter.get();
    for (const auto& [matrix, weight] :
         {std::pair<std::string, const Weight*>{".lora_A.weight", &adapter->a},
          {".lora_B.weight", &adapter->b}})
      tensors.push_back(
          ToWrite(std::string(kPrefix) + module + matrix,
                  TensorView{DType::kF32, {weight->out(), weight->in()}, weight->data()}));
  }
  WriteSafetensors(folder + "/adapter_model.safetensors", tensors);
  Json json = Json::MakeObject();
  json.Set("peft_type", "LORA");
  json.Set("task_type", "CAUSAL_LM");
  json.Set("base_model_name_or_path", config.base_model);
  json.Set("r", static_cast<int64_t>(config.rank));
  json.Set("lora_alpha", config.alpha);
  json.Set("lora_dropout", 0.0);
  json.Set("use_rslora", config.rank_stabilised);
  json.Set("bias", "none");
  json.Set("fan_in_fan_out", false);
  json.Set("inference_mode", true);
  Json names = Json::MakeArray();
  for (const std::string& name : targets) names.Append(name);
  json.Set("target_modules", std::move(names));
  WriteFile(folder + "/adapter_config.json", DumpJson(json, JsonStyle::kPython, 2) + "\n");
}

void MergeAdapters(Model* model) {
  std::set<const Weight*> adapted;
  for (const auto& [module, projection] : Projections(model))
    if (projection->adapter != nullptr) adapted.insert(&projection->weight);
  HoldMasters(model, [&](const Param& param) { return adapted.contains(param.weight); });
  for (const auto& [module, projection] : Projections(model)) {
    if (projection->adapter == nullptr) continue;
    projection->adapter->AddTo(reinterpret_cast<float*>(projection->weight.mutable_data()));
    projection->weight.Touch();
    projection->adapter.reset();
  }
  model->ParamsChanged();
}

}  // namespace planish
