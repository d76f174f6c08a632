// SPDX-License-Identifier: Apache-2.0
// One list of a model's parameters serves loading, saving, initialisation, optimizer groups, pruning, quantisation and
// all-reduce. Matrices are Weights of any stored type; vectors (norms, biases, conv taps, A_log, D, dt_bias) are float.
#pragma once

#include <functional>
#include <string>

#include "tensor/tensor.h"
#include "tensor/weight.h"

namespace planish {

enum class ParamRole {
  kEmbedding,
  kHead,
  kInput,  // a projection that reads the normed residual stream
  kOutput,  // a projection that writes into the residual stream (scaled by 1/sqrt(2L) at initialisation)
  kNorm,
  kConvWeight,
  kConvBias,
  kSsmALog,
  kSsmD,
  kSsmDtBias,
  kAdapter,  // matrices of a low-rank adapter; not part of the checkpoint
};

class Projection;

// Exactly one of weight and vector is set.
struct Param {
  std::string name;  // Hugging Face name, e.g. "model.layers.3.self_attn.q_proj.weight"
  Shape shape;       // as on disk: [out, in], [n], or [conv_dim, 1, conv_kernel]
  ParamRole role;
  Weight* weight = nullptr;
  Tensor* vector = nullptr;  // f32, elements of `shape`
  int block = -1;            // index in the model's list of blocks; -1: embedding, final norm, head
  Projection* projection = nullptr;  // the linear layer that `weight` belongs to, where it does
  // Where the owner keeps a pointer to the gradient [elements of `shape`], float, to which Backward adds. Null there: frozen,
  // and nothing is computed for it. The buffer belongs to whoever sets the pointer.
  float** grad = nullptr;
};
using ParamVisitor = std::function<void(const Param&)>;

}  // namespace planish
