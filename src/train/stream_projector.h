// SPDX-License-Identifier: Apache-2.0
// z_t = P h_t, P [to, from]: residual streams of a student in the width of its teacher's, so that their directions can be
// compared (compress.md 4). One P for all blocks, since all of them write into the same stream. It is trained with the student
// in f32, stands in its checkpoints for resumption, and is no part of the model that comes out.
//
// Backward: dh += dz P, dP += dz^T h.
#pragma once

#include "model/param.h"
#include "tensor/tensor.h"
#include "tensor/weight.h"

namespace planish {

class StreamProjector {
 public:
  // Normal with a variance of 1/from, by the seed: lengths are kept on average.
  StreamProjector(size_t from, size_t to, uint64_t seed);
  StreamProjector(const StreamProjector&) = delete;  // its parameter points into it
  StreamProjector& operator=(const StreamProjector&) = delete;

  // h: [T, from] -> [T, to], valid until the next call.
  const float* Project(const float* h, size_t T);
  // Zeros [T, to] to add the gradient of Project's result to, for the next Backward.
  float* Gradient(size_t T);
  // Of the T rows last given to Project, with what Gradient holds: adds to dh [T, from], and to the parameter's gradient.
  void Backward(const float* h, size_t T, float* dh);

  Param param();  // "distill.projector.weight"

 private:
  Weight weight_;          // [to, from]
  float* grad_ = nullptr;  // [to, from]; null: frozen
  Tensor z_, dz_;          // [T, to]
};

}  // namespace planish
