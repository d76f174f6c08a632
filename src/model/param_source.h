// SPDX-License-Identifier: Apache-2.0
// Where a model's parameters come from: tensors of a Hugging Face folder or of a GGUF file. Filling checks every name and
// shape and reports all that is missing, extra or wrong in one message.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/model.h"
#include "tensor/gguf.h"
#include "tensor/safetensors.h"

namespace planish {

class ParamSource {
 public:
  virtual ~ParamSource() = default;
  // Fills `param`; returns an empty string, or what is wrong: "NAME is missing", "NAME is [3, 4], expected [4, 4]".
  virtual std::string Fill(const Param& param) = 0;
  // Tensors that no parameter asked for.
  virtual std::vector<std::string> Unused() const = 0;
};

// The name planish uses for a tensor of a Hugging Face file: transformers 5 calls Nemotron-H's trunk "model." in memory, and
// files of both kinds exist; ours is the published "backbone.".
std::string CanonicalTensorName(const std::string& name);

// `quantization` is config.json's quantization_config (null if none): which FP8 scales to expect.
std::unique_ptr<ParamSource> HfParamSource(std::vector<StoredTensor> tensors,
                                           const Json& quantization);
// Undoes what GGUF does to Hugging Face tensors: permuted q/k rows (llama, deci), A = -exp(A_log), flattened shapes.
std::unique_ptr<ParamSource> GgufParamSource(const GgufFile& file, const ModelConfig& config);

// Fills all of `model` from `source`; Error(kBadFile) naming `where`. Calls ParamsChanged.
void FillParams(const std::string& where, ParamSource* source, Model* model);

}  // namespace planish
