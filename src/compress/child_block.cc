// SPDX-License-Identifier: Apache-2.0
#include "compress/child_block.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "base/error.h"
#include "base/parallel.h"
#include "model/registry.h"
#include "tensor/safetensors.h"

namespace planish {
namespace {

constexpr size_t kTaskRows = 16;
constexpr const char* kNoteKey = "planish.child";

size_t RowCount(const Param& param) { return param.weight != nullptr ? param.shape[0] : 1; }

}  // namespace

std::vector<Param> ParamsOf(Mixer* mixer) {
  std::vector<Param> params;
  mixer->VisitParams([&](const Param& param) { params.push_back(param); });
  return params;
}

float* ValuesOf(const Param& param) {
  return param.weight != nullptr ? reinterpret_cast<float*>(param.weight->mutable_data())
                                 : param.vector->f32();
}

std::unique_ptr<Mixer> NewChild(const ModelConfig& parent, const MixerConfig& config) {
  std::unique_ptr<Mixer> mixer = MakeMixer(parent, config);
  mixer->VisitParams([](const Param& param) {
    if (param.weight != nullptr) {
      *param.weight = Weight(param.name, param.shape[0], param.shape[1]);
      std::memset(param.weight->mutable_data(), 0, param.weight->bytes());
    } else {
      *param.vector = Tensor::ZerosF32(param.shape);
    }
  });
  mixer->ParamsChanged();
  return mixer;
}

void FillChild(Mixer* mixer,
               const std::function<void(const Param& param, size_t r, float* out)>& rows) {
  for (const Param& param : ParamsOf(mixer)) {
    float* values = ValuesOf(param);
    const size_t columns = param.shape.elements() / RowCount(param);
    ParallelFor(RowCount(param), [&](size_t r, int) { rows(param, r, values + r * columns); });
    if (param.weight != nullptr) param.weight->Touch();
  }
  mixer->ParamsChanged();
}

ErrorSums ErrorOf(const float* y, const float* child, size_t T, size_t D) {
  std::vector<ErrorSums> parts((T + kTaskRows - 1) / kTaskRows);
  ParallelFor(parts.size(), [&](size_t task, int) {
    ErrorSums& sums = parts[task];
    const size_t end = std::min(T, (task + 1) * kTaskRows) * D;
    for (size_t i = task * kTaskRows * D; i < end; ++i) {
      const double difference = double{child[i]} - y[i];
      sums.error += difference * difference;
      sums.power += double{y[i]} * y[i];
    }
  });
  ErrorSums sums;
  for (const ErrorSums& part : parts) sums.Add(part);
  return sums;
}

ErrorSums ErrorOf(const Mixer* child, const BlockRows& rows, size_t D, Precision precision,
                  Workspace* workspace) {
  const Workspace::Scope scope(*workspace);
  const size_t T = rows.tokens();
  float* y = workspace->Take(T * D);
  if (child == nullptr) {
    std::fill_n(y, T * D, 0.0f);
  } else {
    const Pass pass{.layout = *rows.layout, .workspace = workspace, .precision = precision};
    child->Forward(pass, rows.x, y, nullptr);
  }
  return ErrorOf(rows.y, y, T, D);
}

void SaveChild(const std::string& path, Mixer* mixer, const Json& note) {
  std::vector<TensorToWrite> tensors;
  const std::vector<Param> params = ParamsOf(mixer);
  for (const Param& param : params) {
    tensors.push_back(ToWrite(
        param.name,
        TensorView{DType::kF32, param.shape, reinterpret_cast<const std::byte*>(ValuesOf(param))}));
  }
  Json metadata = Json::MakeObject();
  metadata.Set(kNoteKey, DumpJson(note));
  WriteSafetensors(path, tensors, metadata);
}

Json ReadChildNote(const std::string& path) {
  const SafetensorsFile file = ReadSafetensors(path, FileBytes::Access::kMap);
  const Json* note = file.metadata.Find(kNoteKey);
  if (note == nullptr || !note->is_string())
    throw BadFile("{}: has no {} in its metadata, expected a child of a block library", path,
                  kNoteKey);
  return ParseJson(note->AsString(), path);
}

std::unique_ptr<Mixer> LoadChild(const std::string& path, const ModelConfig& parent,
                                 const MixerConfig& config) {
  const SafetensorsFile file = ReadSafetensors(path, FileBytes::Access::kMap);
  std::map<std::string, const StoredTensor*> stored;
  for (const StoredTensor& tensor : file.tensors) stored[tensor.name] = &tensor;
  std::unique_ptr<Mixer> mixer = NewChild(parent, config);
  std::string faults;
  const auto add = [&](const std::string& fault) {
    faults += (faults.empty() ? "" : "; ") + fault;
  };
  for (const Param& param : ParamsOf(mixer.get())) {
    const auto found = stored.find(param.name);
    if (found == stored.end()) {
      add(fmt::format("{} is missing", param.name));
      continue;
    }
    const TensorView& view = found->second->view;
    if (view.dtype != DType::kF32 || !(view.shape == param.shape))
      add(fmt::format("{} is {} {}, expected f32 {}", param.name, Name(view.dtype),
                      view.shape.ToString(), param.shape.ToString()));
    else
      std::memcpy(ValuesOf(param), view.data, view.bytes());
    stored.erase(found);
  }
  for (const auto& entry : stored) add(fmt::format("{} is extra", Quoted(entry.first)));
  if (!faults.empty()) throw BadFile("{}: {}", path, faults);
  mixer->ParamsChanged();
  return mixer;
}

}  // namespace planish
