// SPDX-License-Identifier: Apache-2.0
// For tests only: parameters with gradient places and no model around them.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "base/random.h"
#include "train/flat_params.h"

namespace planish::testing {

class ParamStore {
 public:
  // Random values of standard deviation 1; matrices become a Weight, other ranks a vector.
  void Add(const std::string& name, Shape shape, ParamRole role) {
    Random random(/*seed=*/7, /*stream=*/params_.size());
    Param param{.name = name, .shape = shape, .role = role};
    float* values = nullptr;
    if (shape.rank() == 2) {
      weights_.emplace_back(name, shape[0], shape[1]);
      param.weight = &weights_.back();
      values = reinterpret_cast<float*>(weights_.back().mutable_data());
    } else {
      vectors_.push_back(Tensor::F32(shape));
      param.vector = &vectors_.back();
      values = vectors_.back().f32();
    }
    for (size_t i = 0; i < shape.elements(); ++i) values[i] = static_cast<float>(random.Normal());
    grads_.push_back(nullptr);
    param.grad = &grads_.back();
    params_.push_back(param);
  }
  const std::vector<Param>& params() const { return params_; }
  const float* ValuesOf(size_t i) const {
    const Param& param = params_[i];
    return param.weight != nullptr ? reinterpret_cast<const float*>(param.weight->data())
                                   : param.vector->f32();
  }

 private:
  std::deque<Weight> weights_;  // stay in place
  std::deque<Tensor> vectors_;
  std::deque<float*> grads_;
  std::vector<Param> params_;
};

// One parameter of each role, sizes around 64 floats, and a matrix of three chunks.
inline ParamStore HybridParams() {
  ParamStore store;
  store.Add("backbone.embeddings.weight", {500, 300}, ParamRole::kEmbedding);
  store.Add("backbone.layers.0.norm.weight", {1}, ParamRole::kNorm);
  store.Add("backbone.layers.0.mixer.in_proj.weight", {13, 5}, ParamRole::kInput);
  store.Add("backbone.layers.0.mixer.conv1d.weight", {16, 1, 4}, ParamRole::kConvWeight);
  store.Add("backbone.layers.0.mixer.conv1d.bias", {16}, ParamRole::kConvBias);
  store.Add("backbone.layers.0.mixer.A_log", {3}, ParamRole::kSsmALog);
  store.Add("backbone.layers.0.mixer.D", {63}, ParamRole::kSsmD);
  store.Add("backbone.layers.0.mixer.dt_bias", {65}, ParamRole::kSsmDtBias);
  store.Add("backbone.layers.0.mixer.out_proj.weight", {5, 13}, ParamRole::kOutput);
  store.Add("lm_head.weight", {257, 300}, ParamRole::kHead);
  return store;
}

}  // namespace planish::testing
