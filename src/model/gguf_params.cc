// SPDX-License-Identifier: Apache-2.0
#include <cstring>
#include <map>

#include "base/error.h"
#include "model/gguf_map.h"
#include "model/param_source.h"

namespace planish {
namespace {

class GgufSource : public ParamSource {
 public:
  GgufSource(const GgufFile& file, const ModelConfig& config) : config_(config) {
    for (const StoredTensor& tensor : file.tensors())
      tensors_.emplace(tensor.name, Entry{tensor, false});
  }

  std::string Fill(const Param& param) override {
    const auto name = GgufTensorName(param.name);
    PLANISH_CHECK(name.has_value(), "no GGUF name for {}", param.name);
    const auto found = tensors_.find(*name);
    const Shape expected = GgufTensorShape(param.name, param.shape, config_);
    if (found == tensors_.end())
      return fmt::format("{} is missing, expected {}", *name, expected.ToString());
    found->second.used = true;
    const StoredTensor& tensor = found->second.tensor;
    // Older converters wrote vectors without the trailing 1; only the number of elements and the row length matter.
    const bool fits = param.weight != nullptr ? tensor.view.shape == expected
                                              : tensor.view.elements() == expected.elements();
    if (!fits)
      return fmt::format("{} is {}, expected {}", *name, tensor.view.shape.ToString(),
                         expected.ToString());
    if (!IsDequantisable(tensor.view.dtype))
      return fmt::format("{} has type {}, expected numbers", *name, Name(tensor.view.dtype));
    if (param.vector != nullptr)
      FillVector(param, tensor);
    else
      FillWeight(param, tensor);
    return {};
  }

  std::vector<std::string> Unused() const override {
    std::vector<std::string> names;
    for (const auto& [name, entry] : tensors_) {
      if (!entry.used && name != "rope_freqs.weight") names.push_back(Quoted(name, 120));
    }
    return names;
  }

 private:
  struct Entry {
    StoredTensor tensor;
    bool used;
  };

  void FillVector(const Param& param, const StoredTensor& tensor) const {
    *param.vector = Tensor::F32(param.shape);
    const Tensor values = Tensor::ToF32(tensor.view);
    std::memcpy(param.vector->data(), values.data(), values.bytes());
    if (param.role == ParamRole::kSsmALog) {
      for (size_t h = 0; h < param.vector->elements(); ++h)
        param.vector->f32()[h] = ALogFromA(param.vector->f32()[h]);
    }
  }

  void FillWeight(const Param& param, const StoredTensor& tensor) const {
    const size_t heads = PermutedHeads(param.name, config_);
    if (heads == 0) {
      *param.weight = Weight(param.name, param.shape[0], param.shape[1], tensor.view.dtype,
                             tensor.view.data, tensor.file);
      return;
    }
    // Rows of any block type can be moved whole. These two matrices are small, so the copy costs little memory, and the
    // mapped original is given back.
    *param.weight = Weight(param.name, param.shape[0], param.shape[1], tensor.view.dtype);
    const size_t head_dim = param.shape[0] / heads, row_bytes = param.weight->row_bytes();
    std::byte* out = param.weight->mutable_data();
    for (size_t row = 0; row < param.shape[0]; ++row) {
      std::memcpy(out + PermutedRow(row, head_dim) * row_bytes, tensor.view.data + row * row_bytes,
                  row_bytes);
    }
    if (tensor.file != nullptr)
      tensor.file->Release(static_cast<size_t>(tensor.view.data - tensor.file->bytes().data()),
                           param.weight->bytes());
  }

  ModelConfig config_;
  std::map<std::string, Entry> tensors_;
};

}  // namespace

std::unique_ptr<ParamSource> GgufParamSource(const GgufFile& file, const ModelConfig& config) {
  return std::make_unique<GgufSource>(file, config);
}

}  // namespace planish
