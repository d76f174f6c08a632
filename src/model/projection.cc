// SPDX-License-Identifier: Apache-2.0
#include "model/projection.h"

#include <algorithm>
#include <vector>

#include "base/parallel.h"
#include "kernels/gemm_bf16.h"

namespace planish {
namespace {

PanelSource Source(const RowsView& rows, size_t width, bool is_transposed = false) {
  return {rows.data, width, rows.dtype, is_transposed};
}
PanelSource Source(const Weight& weight, bool is_transposed = false) {
  return {weight.data(), weight.in(), weight.dtype(), is_transposed};
}

bool IsPlain(const Weight& weight) {
  return weight.dtype() == DType::kF32 || weight.dtype() == DType::kBF16;
}

// c [M, N] = a [M, K] b [N, K]^T in float, either stored transposed.
void MultiplyF32(const float* a, bool a_transposed, const float* b, bool b_transposed, size_t M,
                 size_t N, size_t K, bool accumulate, float* c) {
  const auto rows = [](const float* x, bool transposed, size_t R, size_t C) {
    Weight result("operand", R, C);
    auto* out = reinterpret_cast<float*>(result.mutable_data());
    for (size_t r = 0; r < R; ++r)
      for (size_t k = 0; k < C; ++k) out[r * C + k] = transposed ? x[k * R + r] : x[r * C + k];
    return result;
  };
  const Weight left = rows(a, a_transposed, M, K), right = rows(b, b_transposed, N, K);
  std::vector<float> product(M * N);
  MatMul(right, reinterpret_cast<const float*>(left.data()), M, product.data());
  for (size_t i = 0; i < M * N; ++i) c[i] = accumulate ? c[i] + product[i] : product[i];
}

// dx (+)= dy W for a weight that is stored quantised (frozen under an adapter): blocks of its rows become floats, and their
// products are added in order.
void BackwardThroughBlocks(const Pass& pass, const Weight& weight, size_t T, const RowsView& dy,
                           float* dx, bool accumulate) {
  constexpr size_t kRows = 256;
  const Workspace::Scope scope(*pass.workspace);
  float* block = pass.workspace->Take(kRows * weight.in());
  for (size_t begin = 0; begin < weight.out(); begin += kRows) {
    const size_t rows = std::min(kRows, weight.out() - begin);
    ParallelFor(rows,
                [&](size_t r, int) { weight.DequantizeRow(begin + r, block + r * weight.in()); });
    GemmBf16(Source(dy, weight.out()).At(0, begin), {block, weight.in(), DType::kF32, true}, T,
             weight.in(), rows, accumulate || begin > 0, dx, weight.in());
  }
}

}  // namespace

void Projection::Forward(const Pass& pass, size_t T, const RowsView& x, float* y) const {
  if (pass.precision == Precision::kF32) {
    MatMul(weight, x.f32(), T, y);
  } else if (IsPlain(weight)) {
    GemmBf16(Source(x, weight.in()), Source(weight), T, weight.out(), weight.in(),
             /*accumulate=*/false, y, weight.out());
  } else {
    MatMul(weight, x.f32(), Rows(T, 0, ActMode::kBf16), y);
  }
}

void Projection::BackwardInput(const Pass& pass, size_t T, const RowsView& dy, float* dx,
                               bool accumulate) const {
  if (!IsPlain(weight)) {
    BackwardThroughBlocks(pass, weight, T, dy, dx, accumulate);
  } else if (pass.precision == Precision::kF32) {
    MultiplyF32(dy.f32(), false, reinterpret_cast<const float*>(weight.data()), true, T,
                weight.in(), weight.out(), accumulate, dx);
  } else {
    GemmBf16(Source(dy, weight.out()), Source(weight, /*is_transposed=*/true), T, weight.in(),
             weight.out(), accumulate, dx, weight.in());
  }
}

void Projection::BackwardWeight(const Pass& pass, size_t T, const RowsView& x,
                                const RowsView& dy) const {
  if (grad == nullptr) return;
  if (pass.precision == Precision::kF32) {
    MultiplyF32(dy.f32(), true, x.f32(), true, weight.out(), weight.in(), T, true, grad);
  } else {
    GemmBf16(Source(dy, weight.out(), true), Source(x, weight.in(), true), weight.out(),
             weight.in(), T, /*accumulate=*/true, grad, weight.in());
  }
}

void Projection::Visit(const char* name, size_t out, size_t in, ParamRole role,
                       const ParamVisitor& visit) {
  visit({.name = name, .shape = {out, in}, .role = role, .weight = &weight, .grad = &grad});
}

void ForwardMany(const Pass& pass, size_t T, std::span<const Projection* const> projections,
                 const RowsView& x, std::span<float* const> ys) {
  if (pass.precision == Precision::kF32) {
    std::vector<const Weight*> weights;
    for (const Projection* projection : projections) weights.push_back(&projection->weight);
    MatMulMany(weights, x.f32(), T, ys);
    return;
  }
  for (size_t i = 0; i < projections.size(); ++i) projections[i]->Forward(pass, T, x, ys[i]);
}

}  // namespace planish
