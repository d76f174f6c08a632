// SPDX-License-Identifier: Apache-2.0
#include "train/checkpoint_tensors.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <optional>

#include "base/hash.h"

namespace planish {
namespace {

// Of the flat space: moments of one layout fit no other.
std::string LayoutHash(const FlatParams& params) {
  std::string text;
  for (const FlatParams::Entry& entry : params.entries())
    text += fmt::format("{} {} {}\n", entry.name, entry.offset, entry.shape.ToString());
  return Sha256Hex(text);
}

std::string MetadataText(const Json& metadata, const char* key, const std::string& path) {
  const Json* value = metadata.Find(key);
  if (value == nullptr || !value->is_string())
    throw BadFile("{}: has no metadata {}", Quoted(path, 300), key);
  return value->AsString();
}

uint64_t MetadataCount(const Json& metadata, const char* key, const std::string& path) {
  const std::string text = MetadataText(metadata, key, path);
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    throw BadFile("{}: metadata {} is {}, expected a count", Quoted(path, 300), key, Quoted(text));
  return value;
}

std::vector<std::string> ShardsIn(const std::string& folder) {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("optim") && name.ends_with(".safetensors"))
      paths.push_back(entry.path().string());
  }
  return paths;
}

const StoredTensor& TensorNamed(const SafetensorsFile& file, const char* name, size_t elements,
                                const std::string& path) {
  for (const StoredTensor& tensor : file.tensors) {
    if (tensor.name != name) continue;
    if (tensor.view.shape != Shape{elements})
      throw BadFile("{}: {} is {}, expected [{}]", Quoted(path, 300), name,
                    tensor.view.shape.ToString(), elements);
    return tensor;
  }
  throw BadFile("{}: has no tensor {}", Quoted(path, 300), name);
}

// Copies the overlap of a shard [begin, end) with the range that `to` covers.
void CopyOverlap(const StoredTensor& from, const FlatRange& shard, const FlatRange& range,
                 Tensor* to, const std::string& path) {
  if (from.view.dtype != to->dtype()) {
    throw BadFile("{}: {} is {}, this run keeps it as {}", Quoted(path, 300), from.name,
                  Name(from.view.dtype), Name(to->dtype()));
  }
  const size_t begin = std::max(shard.begin, range.begin), end = std::min(shard.end, range.end);
  if (begin >= end) return;
  const size_t width = BytesOf(to->dtype(), 1);
  std::memcpy(to->data() + (begin - range.begin) * width,
              from.view.data + (begin - shard.begin) * width, (end - begin) * width);
}

}  // namespace

bool IsMaster(const Param& param) {
  return param.vector != nullptr ||
         (param.weight->dtype() == DType::kF32 && !param.weight->is_mapped());
}

const float* MasterValues(const Param& param) {
  return param.vector != nullptr ? param.vector->f32()
                                 : reinterpret_cast<const float*>(param.weight->data());
}

void AddMoments(const Optimizer& optimizer, std::vector<TensorToWrite>* tensors, Json* metadata) {
  tensors->push_back(ToWrite("m", optimizer.first_moment()));
  tensors->push_back(ToWrite("v", optimizer.second_moment()));
  metadata->Set("begin", fmt::format("{}", optimizer.range().begin));
  metadata->Set("end", fmt::format("{}", optimizer.range().end));
  metadata->Set("space", fmt::format("{}", optimizer.params().size()));
  metadata->Set("steps", fmt::format("{}", optimizer.steps()));
  metadata->Set("layout", LayoutHash(optimizer.params()));
}

void CheckpointStore::Tensors::View(const CheckpointParts& parts) {
  const auto add = [&](const Param& param) {
    if (!IsMaster(param)) return;
    values[param.name] = MasterValues(param);
    masters.push_back(
        ToWrite(param.name, TensorView{DType::kF32, param.shape,
                                       reinterpret_cast<const std::byte*>(values[param.name])}));
  };
  parts.model->model->VisitParams(add);
  for (const Param& param : parts.others) add(param);
  if (parts.optimizer != nullptr) AddMoments(*parts.optimizer, &moments, &moments_metadata);
}

void CheckpointStore::Tensors::Copy(const CheckpointParts& parts) {
  Tensors live;
  live.View(parts);
  uses_team = false;
  moments_metadata = live.moments_metadata;
  const auto copy = [this](const TensorToWrite& from) {
    Tensor tensor(from.dtype, from.shape);
    const size_t rows = from.shape.elements() / std::max<size_t>(from.shape.last(), 1);
    from.fill(0, rows, tensor.data());
    copies.push_back(std::move(tensor));
    return ToWrite(from.name, copies.back().view());  // its memory stays when `copies` grows
  };
  for (const TensorToWrite& tensor : live.masters) {
    masters.push_back(copy(tensor));
    values[tensor.name] = copies.back().f32();
  }
  for (const TensorToWrite& tensor : live.moments) moments.push_back(copy(tensor));
}

ParamRows CheckpointStore::Tensors::Rows() const {
  return [this](const Param& param, size_t r, float* out) {
    const auto found = values.find(param.name);
    if (found == values.end()) {  // frozen, as it is stored
      param.weight->DequantizeRow(r, out);
      return;
    }
    // A vector, and conv1d.weight, is one row.
    const size_t columns = param.weight != nullptr ? param.weight->in() : param.shape.elements();
    std::memcpy(out, found->second + r * columns, columns * sizeof(float));
  };
}

uint64_t CheckpointStore::Tensors::bytes() const {
  uint64_t bytes = uint64_t{1} << 20;  // headers and the like
  for (const TensorToWrite& tensor : masters) bytes += tensor.shape.elements() * 6;  // and bf16
  for (const TensorToWrite& tensor : moments)
    bytes += BytesOf(tensor.dtype, tensor.shape.elements());
  return bytes;
}

void WriteOptimizerShard(const Optimizer& optimizer, size_t rank, size_t ranks,
                         const std::string& folder) {
  std::vector<TensorToWrite> tensors;
  Json metadata = Json::MakeObject();
  AddMoments(optimizer, &tensors, &metadata);
  const std::string name = ranks == 1
                               ? "optim.safetensors"
                               : fmt::format("optim-{:05}-of-{:05}.safetensors", rank + 1, ranks);
  WriteSafetensors((std::filesystem::path(folder) / name).string(), tensors, metadata);
}

uint64_t StepsOfShards(const std::string& folder) {
  std::optional<uint64_t> steps;
  for (const std::string& path : ShardsIn(folder)) {
    const uint64_t found =
        MetadataCount(ReadSafetensors(path, FileBytes::Access::kMap).metadata, "steps", path);
    PLANISH_CHECK(steps.value_or(found) == found, "{}: shards of steps {} and {}", folder, *steps,
                  found);
    steps = found;
  }
  PLANISH_CHECK(steps, "{}: no shard was written", folder);
  return *steps;
}

void LoadMasters(const std::string& folder, Model* model, const std::vector<Param>& others) {
  const std::string path = (std::filesystem::path(folder) / kMasterName).string();
  const SafetensorsFile file = ReadSafetensors(path, FileBytes::Access::kMap);
  std::map<std::string, const StoredTensor*> tensors;
  for (const StoredTensor& tensor : file.tensors) tensors[tensor.name] = &tensor;
  const auto load = [&](const Param& param) {
    if (!IsMaster(param)) return;
    const auto found = tensors.find(param.name);
    if (found == tensors.end()) throw BadFile("{}: has no {}", Quoted(path, 300), param.name);
    const TensorView& view = found->second->view;
    if (view.dtype != DType::kF32 || view.shape != param.shape) {
      throw BadFile("{}: {} is {} {}, expected f32 {}", Quoted(path, 300), param.name,
                    Name(view.dtype), view.shape.ToString(), param.shape.ToString());
    }
    std::memcpy(const_cast<float*>(MasterValues(param)), view.data, view.bytes());
    tensors.erase(found);
  };
  model->VisitParams(load);
  for (const Param& param : others) load(param);
  if (!tensors.empty()) {
    throw BadFile("{}: the model has no float parameter {}", Quoted(path, 300),
                  Quoted(tensors.begin()->first, 200));
  }
}

void LoadOptimizer(const std::string& folder, const TrainState& state, Optimizer* optimizer) {
  const FlatRange& range = optimizer->range();
  const std::string layout = LayoutHash(optimizer->params());
  std::vector<FlatRange> found;
  for (const std::string& path : ShardsIn(folder)) {
    const SafetensorsFile file = ReadSafetensors(path, FileBytes::Access::kMap);
    const FlatRange shard{MetadataCount(file.metadata, "begin", path),
                          MetadataCount(file.metadata, "end", path)};
    if (shard.begin > shard.end || shard.end > optimizer->params().size() ||
        MetadataText(file.metadata, "layout", path) != layout) {
      throw BadFile("{}: holds the optimizer's state of other parameters than this run trains",
                    Quoted(path, 300));
    }
    CopyOverlap(TensorNamed(file, "m", shard.size(), path), shard, range,
                optimizer->mutable_first_moment(), path);
    CopyOverlap(TensorNamed(file, "v", shard.size(), path), shard, range,
                optimizer->mutable_second_moment(), path);
    found.push_back(shard);
  }
  // Every place of the range must have been written: the shards follow each other without a gap.
  std::sort(found.begin(), found.end(),
            [](const FlatRange& a, const FlatRange& b) { return a.begin < b.begin; });
  size_t covered = range.begin;
  for (const FlatRange& shard : found) {
    if (shard.begin <= covered) covered = std::max(covered, shard.end);
  }
  if (covered < range.end) {
    throw BadFile("{}: the optimizer's state is there up to {}, expected {}", Quoted(folder, 300),
                  covered, range.end);
  }
  optimizer->SetSteps(state.optimizer_steps);
}

}  // namespace planish
