// SPDX-License-Identifier: Apache-2.0
#include "train/stream_projector.h"

#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "kernels/gemm_f32.h"

namespace planish {
namespace {

constexpr const char* kName = "distill.projector.weight";
constexpr uint64_t kRandomStream = 0x70726f6a;  // apart from those of weights

float* Rows(Tensor* tensor, size_t T, size_t width) {
  if (tensor->bytes() != T * width * sizeof(float)) *tensor = Tensor::F32({T, width});
  return tensor->f32();
}

}  // namespace

StreamProjector::StreamProjector(size_t from, size_t to, uint64_t seed) : weight_(kName, to, from) {
  auto* values = reinterpret_cast<float*>(weight_.mutable_data());
  const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(from)));
  for (size_t r = 0; r < to; ++r) {
    FillNormal(seed, kRandomStream, r, {values + r * from, from});
    for (size_t i = 0; i < from; ++i) values[r * from + i] *= scale;
  }
}

const float* StreamProjector::Project(const float* h, size_t T) {
  float* z = Rows(&z_, T, weight_.out());
  GemmF32({h, weight_.in(), DType::kF32}, {weight_.data(), weight_.in(), DType::kF32}, T,
          weight_.out(), weight_.in(), /*accumulate=*/false, z, weight_.out());
  return z;
}

float* StreamProjector::Gradient(size_t T) {
  float* dz = Rows(&dz_, T, weight_.out());
  std::fill_n(dz, T * weight_.out(), 0.0f);
  return dz;
}

void StreamProjector::Backward(const float* h, size_t T, float* dh) {
  const size_t from = weight_.in(), to = weight_.out();
  PanelSource dz{dz_.f32(), to, DType::kF32}, columns{weight_.data(), from, DType::kF32};
  columns.is_transposed = true;  // [from, to] stored as [to, from]
  GemmF32(dz, columns, T, from, to, /*accumulate=*/true, dh, from);
  if (grad_ == nullptr) return;
  PanelSource rows{h, from, DType::kF32};
  dz.is_transposed = rows.is_transposed = true;
  GemmF32(dz, rows, to, from, T, /*accumulate=*/true, grad_, from);
}

Param StreamProjector::param() {
  return {.name = kName,
          .shape = {weight_.out(), weight_.in()},
          .role = ParamRole::kInput,
          .weight = &weight_,
          .grad = &grad_};
}

}  // namespace planish
