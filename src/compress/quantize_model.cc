// SPDX-License-Identifier: Apache-2.0
#include "compress/quantize_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "compress/calibration_streams.h"
#include "compress/gptq.h"
#include "compress/input_scaling.h"
#include "compress/product_inputs.h"
#include "tensor/block_grid.h"

namespace planish {
namespace {

class ModelQuantizer {
 public:
  ModelQuantizer(Pretrained* opened, const QuantizeOptions& options, const CalibrationRows* data)
      : model_(opened->model.get()), options_(options), data_(data) {
    model_->VisitParams([&](const Param& param) {
      if (param.weight == nullptr || param.role == ParamRole::kAdapter) return;
      names_.push_back(param.name);
      if (param.block < 0) outer_.push_back(param);
      CheckMethod(StorageOf(param));
    });
  }

  std::vector<QuantizedTensor> Run() {
    const size_t blocks = model_->config().blocks.size();
    for (const Param& param : outer_) {
      Tensor w = ValuesOf(*param.weight);
      const bool fits = options_.method != QuantizeMethod::kRtn &&
                        options_.method != QuantizeMethod::kSmoothQuant;
      Replace(param, w,
              RoundMatrix(param.name, w, StorageOf(param),
                          fits ? ScaleRule::kFitted : ScaleRule::kLargest, nullptr),
              nullptr, NAN);
    }
    const BlockRunner runner(model_);
    std::unique_ptr<CalibrationStreams> streams;
    if (data_ != nullptr)
      streams = std::make_unique<CalibrationStreams>(&runner, *data_, options_.precision);
    for (size_t block = 0; block < blocks; ++block) {
      if (options_.progress) options_.progress(block, blocks);
      QuantizeBlock(block, streams.get());
      if (streams != nullptr) streams->Advance(block);
    }
    if (options_.progress) options_.progress(blocks, blocks);
    model_->ParamsChanged();
    std::vector<QuantizedTensor> tensors;
    for (const std::string& name : names_) tensors.push_back(results_.at(name));
    return tensors;
  }

 private:
  const StorageType& StorageOf(const Param& param) const { return options_.storage.at(param.name); }
  bool UsesGptq() const {
    return options_.method == QuantizeMethod::kGptq || options_.method == QuantizeMethod::kAwqGptq;
  }

  void CheckMethod(const StorageType& storage) const {
    if (UsesGptq() && storage.shared != 0)
      throw UsageError("gptq needs a scale a block, not {}", Describe(storage));
    if (storage.shared != 0 && storage.type != DType::kF8E4M3 &&
        (!HasBlockGrid(storage.type) || Traits(storage.type).block_elems != 32 ||
         storage.type == DType::kQ4_1 || storage.type == DType::kQ5_1))
      throw UsageError("shared scales are for q8_0, q4_0, q5_0, iq4_nl and FP8, not {}",
                       Name(storage.type));
  }

  void QuantizeBlock(size_t block, CalibrationStreams* streams) {
    std::vector<InputGroup> groups = InputGroupsOf(model_, block);
    std::vector<InputStatistics> inputs;
    if (streams != nullptr) inputs = streams->Observe(block, groups);
    WorkMatrices work;
    for (const InputGroup& group : groups)
      for (const Param& product : group.products)
        work.emplace(product.weight, ValuesOf(*product.weight));
    // From the block's output to its input: a scale of a later group changes rows of an earlier one's matrices.
    for (size_t g = groups.size(); g-- > 0;) {
      const double alpha = streams != nullptr ? Scale(groups[g], &inputs[g], &work) : NAN;
      alphas_[groups[g].products[0].weight] = alpha;
    }
    for (size_t g = 0; g < groups.size(); ++g)
      RoundGroup(groups[g], streams != nullptr ? &inputs[g] : nullptr, &work);
  }

  double Scale(const InputGroup& group, InputStatistics* inputs, WorkMatrices* work) {
    ChannelScale scale;
    if (options_.method == QuantizeMethod::kSmoothQuant) {
      scale = SmoothScale(group, *inputs, *work, options_.smooth_alpha);
    } else if (options_.method == QuantizeMethod::kAwq ||
               options_.method == QuantizeMethod::kAwqGptq) {
      std::vector<StorageType> storage;
      for (const Param& product : group.products) storage.push_back(StorageOf(product));
      scale = SearchAwqScale(group, *inputs, *work, storage, options_.awq_steps);
    } else {
      return NAN;
    }
    if (!scale.s.empty()) {
      ApplyScale(group, scale.s, work);
      inputs->Divide(scale.s);
    }
    return scale.alpha;
  }

  void RoundGroup(const InputGroup& group, const InputStatistics* inputs, WorkMatrices* work) {
    const double alpha = alphas_.at(group.products[0].weight);
    std::vector<float> energy;
    if (inputs != nullptr && options_.method != QuantizeMethod::kRtn &&
        options_.method != QuantizeMethod::kSmoothQuant) {
      for (size_t c = 0; c < group.in(); ++c) energy.push_back(inputs->gram.row(c)[c]);
    }
    std::map<size_t, GptqFactors> factors;  // by the size of blocks
    for (const Param& product : group.products) {
      Tensor& w = work->at(product.weight);
      const StorageType& storage = StorageOf(product);
      Weight rounded;
      if (UsesGptq() && HasBlockGrid(storage.type)) {
        const size_t size = Traits(storage.type).block_elems;
        if (!factors.contains(size))
          factors.emplace(size, FactorGram(inputs->gram, size, options_.damping));
        Tensor copy = Tensor::F32(w.shape());
        std::memcpy(copy.data(), w.data(), w.bytes());
        rounded = RoundByGptq(product.name, std::move(copy), factors.at(size), storage.type);
      } else {
        const bool fits = options_.method != QuantizeMethod::kRtn &&
                          options_.method != QuantizeMethod::kSmoothQuant;
        rounded =
            RoundMatrix(product.name, w, storage, fits ? ScaleRule::kFitted : ScaleRule::kLargest,
                        energy.empty() ? nullptr : energy.data());
      }
      Replace(product, w, std::move(rounded), inputs != nullptr ? &inputs->gram : nullptr, alpha);
    }
  }

  // `exact`: what was rounded.
  void Replace(const Param& param, const Tensor& exact, Weight rounded, const Tensor* gram,
               double alpha) {
    constexpr size_t kRowsMeasured = 512;
    QuantizedTensor result{.name = param.name,
                           .shape = param.shape,
                           .storage = StorageOf(param),
                           .bytes = BytesOf(StorageOf(param), param.shape),
                           .source_bytes = param.weight->bytes(),
                           .alpha = alpha};
    const Tensor values = ValuesOf(rounded);
    result.weight_sqnr = WeightNoise(exact, values).decibels();
    if (gram != nullptr)
      result.product_sqnr = ProductNoise(exact, values, *gram, kRowsMeasured).decibels();
    results_[param.name] = result;
    param.weight->Evict();
    *param.weight = std::move(rounded);
  }

  Model* model_;
  const QuantizeOptions& options_;
  const CalibrationRows* data_;
  std::vector<std::string> names_;  // in the model's order
  std::vector<Param> outer_;        // embedding and head
  std::map<const Weight*, double> alphas_;
  std::map<std::string, QuantizedTensor> results_;
};

}  // namespace

const char* Name(QuantizeMethod method) {
  switch (method) {
    case QuantizeMethod::kRtn:
      return "rtn";
    case QuantizeMethod::kClip:
      return "clip";
    case QuantizeMethod::kAwq:
      return "awq";
    case QuantizeMethod::kGptq:
      return "gptq";
    case QuantizeMethod::kAwqGptq:
      return "awq-gptq";
    case QuantizeMethod::kSmoothQuant:
      return "smoothquant";
  }
  return "";
}

bool NeedsData(QuantizeMethod method) {
  return method != QuantizeMethod::kRtn && method != QuantizeMethod::kClip;
}

std::vector<QuantizedTensor> QuantizeModel(Pretrained* opened, const QuantizeOptions& options,
                                           const CalibrationRows* data) {
  PLANISH_CHECK(data != nullptr || !NeedsData(options.method));
  return ModelQuantizer(opened, options, data).Run();
}

}  // namespace planish
