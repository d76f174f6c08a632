// SPDX-License-Identifier: Apache-2.0
#include "compress/storage_plan.h"

#include "base/error.h"
#include "tensor/blocks.h"

namespace planish {
namespace {

double BitsOf(DType type) {
  const DTypeTraits& traits = Traits(type);
  return 8.0 * static_cast<double>(traits.block_bytes) / static_cast<double>(traits.block_elems);
}

StorageType Fitting(StorageType storage, const Shape& shape) {
  const DType type = WritableType(storage.type, shape.last());
  if (type != storage.type) return {type};
  return storage;
}

StorageType Default(const Param& param, const StorageType& base, bool ties_head) {
  const bool is_embedding = param.role == ParamRole::kEmbedding;
  const bool is_head = param.role == ParamRole::kHead || (is_embedding && ties_head);
  if (!is_embedding && !is_head) return base;
  // FP8 folders keep both in bf16, as published ones do.
  if (base.type == DType::kF8E4M3) return {DType::kBF16};
  if (BitsOf(base.type) >= 8) return {base.type};
  if (is_embedding) return {DType::kQ8_0};
  return {DType::kQ6_K};
}

bool IsMeant(const std::string& pattern, const Param& param) {
  if (pattern == "embedding") return param.role == ParamRole::kEmbedding;
  if (pattern == "head") return param.role == ParamRole::kHead;
  if (pattern == "dt") return param.name.ends_with(".mixer.in_proj.weight");
  return MatchesPattern(pattern, param.name);
}

}  // namespace

bool MatchesPattern(std::string_view pattern, std::string_view name) {
  // Where the last star stood, and the first character of the name that it has not taken yet.
  size_t p = 0, n = 0, star = std::string_view::npos, taken = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      taken = n;
    } else if (p < pattern.size() && pattern[p] == name[n]) {
      ++p;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++taken;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

uint64_t BytesOf(const StorageType& storage, const Shape& shape) {
  const uint64_t bytes = BytesOf(storage.type, shape.elements());
  if (storage.type != DType::kF8E4M3) return bytes;
  const size_t out = shape[0], in = shape[1];
  if (storage.shared == StorageType::kRow) return bytes + out * sizeof(float);
  const size_t tile = storage.shared == 0 ? 128 : storage.shared;
  return bytes + (out + tile - 1) / tile * ((in + tile - 1) / tile) * sizeof(float);
}

std::map<std::string, StorageType> KeptTypes(Model* model, const std::vector<std::string>& keeps) {
  std::map<std::string, StorageType> kept;
  for (const std::string& keep : keeps) {
    const size_t equals = keep.rfind('=');
    if (equals == std::string::npos || equals == 0)
      throw UsageError("--keep {}: expected PATTERN=TYPE", Quoted(keep));
    const std::string pattern = keep.substr(0, equals), name = keep.substr(equals + 1);
    const std::optional<DType> type = DTypeFromName(name);
    if (!type || !CanQuantize(*type) || *type == DType::kF8E4M3 || *type == DType::kF8E5M2)
      throw UsageError("--keep {}: {} is no type that can be kept", Quoted(keep), Quoted(name));
    bool is_meant = false;
    model->VisitParams([&](const Param& param) {
      if (param.weight == nullptr || param.role == ParamRole::kAdapter || !IsMeant(pattern, param))
        return;
      is_meant = true;
      kept[param.name] = Fitting({*type}, param.shape);
    });
    if (!is_meant) {
      throw Error(ExitCode::kUsage,
                  fmt::format("--keep {}: no matrix of the model has such a name", Quoted(keep)),
                  "names as `planish info --tensors` shows them, * for any characters; or "
                  "embedding, head, dt");
    }
  }
  return kept;
}

std::map<std::string, StorageType> PlanStorage(Model* model, const StoragePlanOptions& options) {
  std::map<std::string, StorageType> plan;
  const bool ties_head = model->config().tie_embeddings;
  model->VisitParams([&](const Param& param) {
    if (param.weight == nullptr || param.role == ParamRole::kAdapter) return;
    plan[param.name] = Fitting(Default(param, options.base, ties_head), param.shape);
  });
  for (const auto& [name, storage] : KeptTypes(model, options.keeps)) plan[name] = storage;
  return plan;
}

}  // namespace planish
