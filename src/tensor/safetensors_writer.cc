// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "base/limits.h"
#include "tensor/safetensors.h"

namespace planish {
namespace {

constexpr size_t kDataAlignment = 64;  // of the data part in the file: a cache line when mapped

uint64_t BytesOf(const TensorToWrite& tensor) {
  return planish::BytesOf(tensor.dtype, tensor.shape.elements());
}

void CheckTensors(const std::vector<TensorToWrite>& tensors, const std::string& path) {
  if (tensors.size() > limits::kTensorsPerFile) {
    throw UsageError("{}: {} tensors, a file may hold {}", path, tensors.size(),
                     limits::kTensorsPerFile);
  }
  std::vector<std::string_view> names;
  for (const TensorToWrite& tensor : tensors) {
    if (Traits(tensor.dtype).safetensors.empty()) {
      throw UsageError("{}: tensor {} is {}, which safetensors cannot hold", path,
                       Quoted(tensor.name), Name(tensor.dtype));
    }
    if (tensor.name == "__metadata__" || tensor.name.size() > limits::kSafetensorsNameBytes) {
      throw UsageError("{}: {} cannot name a tensor", path, Quoted(tensor.name));
    }
    names.push_back(tensor.name);
  }
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  PLANISH_CHECK(twice == names.end(), "{}: tensor {} given twice", path, *twice);
}

// Length, header and padding, up to where data begins.
std::string HeaderBytes(const std::vector<TensorToWrite>& tensors, const Json& metadata,
                        const std::string& path) {
  Json::Object root;
  Json notes = metadata;
  if (notes.Find("format") == nullptr) notes.Set("format", "pt");  // transformers asks for it
  for (const auto& [key, value] : notes.AsObject()) {
    PLANISH_CHECK(value.is_string(), "metadata {} is {}", key, value.type_name());
  }
  root.emplace_back("__metadata__", std::move(notes));
  uint64_t offset = 0;
  for (const TensorToWrite& tensor : tensors) {
    Json::Array shape;
    for (size_t i = 0; i < tensor.shape.rank(); ++i) shape.emplace_back(uint64_t{tensor.shape[i]});
    const uint64_t end = offset + BytesOf(tensor);
    Json::Object entry;
    entry.emplace_back("dtype", Traits(tensor.dtype).safetensors);
    entry.emplace_back("shape", std::move(shape));
    entry.emplace_back("data_offsets", Json::Array{Json(offset), Json(end)});
    root.emplace_back(tensor.name, std::move(entry));
    offset = end;
  }
  std::string header = DumpJson(Json(std::move(root)));
  ParseJson(header, path);  // a name that is not UTF-8 would make a file that nobody can open
  header.append(
      (kDataAlignment - (sizeof(uint64_t) + header.size()) % kDataAlignment) % kDataAlignment, ' ');
  if (header.size() > limits::kSafetensorsHeaderBytes) {
    throw UsageError("{}: header of {} bytes, a file may have {}", path, header.size(),
                     limits::kSafetensorsHeaderBytes);
  }
  const uint64_t length = header.size();
  std::string bytes(sizeof(length), '\0');
  std::memcpy(bytes.data(), &length, sizeof(length));
  return bytes + header;
}

void RemoveStale(const std::string& path) {
  std::error_code error;
  std::filesystem::remove(path, error);
  if (error) throw RuntimeError("{}: cannot be removed: {}", Quoted(path, 300), error.message());
}

// Consecutive tensors of at most `shard_bytes` together; a larger one has a shard to itself.
std::vector<std::vector<TensorToWrite>> CutShards(const std::vector<TensorToWrite>& tensors,
                                                  uint64_t shard_bytes) {
  std::vector<std::vector<TensorToWrite>> shards(1);
  uint64_t bytes = 0;
  for (const TensorToWrite& tensor : tensors) {
    if (!shards.back().empty() && bytes + BytesOf(tensor) > shard_bytes) {
      shards.emplace_back();
      bytes = 0;
    }
    bytes += BytesOf(tensor);
    shards.back().push_back(tensor);
  }
  return shards;
}

}  // namespace

void WriteSafetensors(const std::string& path, const std::vector<TensorToWrite>& tensors,
                      const Json& metadata) {
  CheckTensors(tensors, path);
  FileWriter writer(path);
  writer.Write(HeaderBytes(tensors, metadata, path));
  for (const TensorToWrite& tensor : tensors) WriteRows(tensor, &writer);
  writer.Commit();
}

void WriteSafetensorsFolder(const std::string& folder, const std::vector<TensorToWrite>& tensors,
                            uint64_t shard_bytes) {
  MakeDirectories(folder);
  const std::filesystem::path root = folder;
  const std::string single = (root / "model.safetensors").string();
  const std::string index = (root / "model.safetensors.index.json").string();
  const std::vector<std::vector<TensorToWrite>> shards = CutShards(tensors, shard_bytes);
  if (shards.size() == 1) {
    WriteSafetensors(single, tensors);
    RemoveStale(index);
    return;
  }
  if (shards.size() > limits::kShards) {
    throw UsageError("{}: {} shards, expected at most {}; choose larger shards", folder,
                     shards.size(), limits::kShards);
  }
  Json::Object map;
  uint64_t total = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    WriteSafetensors((root / name).string(), shards[i]);
    for (const TensorToWrite& tensor : shards[i]) {
      map.emplace_back(tensor.name, name);
      total += BytesOf(tensor);
    }
  }
  Json json = Json::MakeObject();
  json.Set("metadata", Json::MakeObject()).Set("total_size", total);
  json.Set("weight_map", std::move(map));
  WriteFile(index, DumpJson(json, JsonStyle::kPython, 2) + "\n");
  RemoveStale(single);  // readers would prefer it
}

}  // namespace planish
