// SPDX-License-Identifier: Apache-2.0
#include <cstring>
#include <map>

#include "base/error.h"
#include "model/param_source.h"

namespace planish {
namespace {

bool IsIgnored(const std::string& name) {
  // Multi-token-prediction heads, rotary tables and activation scales are not part of the forward pass.
  for (const char* part :
       {"mtp.", ".rotary_emb.inv_freq", ".input_scale", ".k_scale", ".v_scale"}) {
    if (name.find(part) != std::string::npos) return true;
  }
  return false;
}

size_t CeilDiv(size_t a, size_t b) { return (a + b - 1) / b; }

class HfSource : public ParamSource {
 public:
  HfSource(std::vector<StoredTensor> tensors, const Json& quantization) {
    for (StoredTensor& tensor : tensors) {
      std::string name = CanonicalTensorName(tensor.name);
      if (tensors_.contains(name))
        duplicates_.push_back(
            fmt::format("{} (also there under its other name)", Quoted(tensor.name, 120)));
      tensors_.emplace(std::move(name), Entry{std::move(tensor), false});
    }
    if (const Json* size = quantization.Find("weight_block_size");
        size != nullptr && size->is_array() && size->AsArray().size() == 2) {
      const Json::Array& sides = size->AsArray();
      if (sides[0].is_integer() && sides[1].is_integer() && sides[0].AsInt() > 0 &&
          sides[1].AsInt() > 0) {
        block_out_ = static_cast<size_t>(sides[0].AsInt());
        block_in_ = static_cast<size_t>(sides[1].AsInt());
      }
    }
  }

  std::string Fill(const Param& param) override {
    Entry* entry = Take(param.name);
    if (entry == nullptr)
      return fmt::format("{} is missing, expected {}", param.name, param.shape.ToString());
    const TensorView& view = entry->tensor.view;
    if (!(view.shape == param.shape)) {
      return fmt::format("{} is {}, expected {}", param.name, view.shape.ToString(),
                         param.shape.ToString());
    }
    if (!IsDequantisable(view.dtype))
      return fmt::format("{} has dtype {}, expected a floating point type", param.name,
                         Name(view.dtype));
    if (param.vector != nullptr) {
      if (view.dtype == DType::kF8E4M3 || view.dtype == DType::kF8E5M2)
        return fmt::format("{} has dtype {}, expected f32, f16 or bf16", param.name,
                           Name(view.dtype));
      *param.vector = Tensor::ToF32(view);
      return {};
    }
    *param.weight = Weight(param.name, param.shape[0], param.shape[1], view.dtype, view.data,
                           entry->tensor.file);
    if (view.dtype == DType::kF8E4M3 || view.dtype == DType::kF8E5M2) return FillScales(param);
    return {};
  }

  std::vector<std::string> Unused() const override {
    std::vector<std::string> names = duplicates_;
    for (const auto& [name, entry] : tensors_) {
      // A tied checkpoint may carry its head twice; the embedding is the one that counts.
      if (!entry.used && !IsIgnored(name) && name != "lm_head.weight")
        names.push_back(Quoted(name, 120));
    }
    return names;
  }

 private:
  struct Entry {
    StoredTensor tensor;
    bool used;
  };

  Entry* Take(const std::string& name) {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) return nullptr;
    found->second.used = true;
    return &found->second;
  }

  // An FP8 tensor is a code; without its scale it is meaningless, so a missing one is an error.
  std::string FillScales(const Param& param) {
    Entry* entry = Take(param.name + "_scale");
    if (entry == nullptr) entry = Take(param.name + "_scale_inv");
    if (entry == nullptr)
      return fmt::format("{} is FP8, but {}_scale (or _scale_inv) is missing", param.name,
                         param.name);
    const TensorView& view = entry->tensor.view;
    if (view.dtype != DType::kF32 && view.dtype != DType::kBF16 && view.dtype != DType::kF16) {
      return fmt::format("{} has dtype {}, expected f32, f16 or bf16", entry->tensor.name,
                         Name(view.dtype));
    }
    const size_t out = param.shape[0], in = param.shape[1], count = view.elements();
    Weight::Scales scales;
    if (count == 1) {
      scales.block_out = out;
      scales.block_in = in;
    } else if (count == out && view.shape[0] == out) {
      scales.block_out = 1;
      scales.block_in = in;
    } else if (view.shape == Shape{CeilDiv(out, block_out_), CeilDiv(in, block_in_)}) {
      scales.block_out = block_out_;
      scales.block_in = block_in_;
    } else {
      return fmt::format("{} is {}, expected one scale, one a row [{}] or one a block {}",
                         entry->tensor.name, view.shape.ToString(), out,
                         Shape{CeilDiv(out, block_out_), CeilDiv(in, block_in_)}.ToString());
    }
    const Tensor flat = Tensor::ToF32(view);
    scales.values = Tensor::F32({CeilDiv(out, scales.block_out), CeilDiv(in, scales.block_in)});
    std::memcpy(scales.values.data(), flat.data(), flat.bytes());
    param.weight->SetScales(std::move(scales));
    return {};
  }

  std::map<std::string, Entry> tensors_;
  std::vector<std::string> duplicates_;
  size_t block_out_ = 128, block_in_ = 128;
};

}  // namespace

std::string CanonicalTensorName(const std::string& name) {
  if (!name.starts_with("model.")) return name;
  const bool is_layer_norm = name.starts_with("model.layers.") && name.ends_with(".norm.weight");
  const bool is_hybrid = name.find(".mixer.") != std::string::npos ||
                         name == "model.embeddings.weight" || name == "model.norm_f.weight" ||
                         is_layer_norm;
  return is_hybrid ? "backbone." + name.substr(6) : name;
}

std::unique_ptr<ParamSource> HfParamSource(std::vector<StoredTensor> tensors,
                                           const Json& quantization) {
  return std::make_unique<HfSource>(std::move(tensors), quantization);
}

}  // namespace planish
