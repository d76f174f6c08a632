// SPDX-License-Identifier: Apache-2.0
#include "model/projection.h"

#include <algorithm>
#include <array>
#include <vector>

#include "base/parallel.h"
#include "kernels/gemm_bf16.h"
#include "kernels/gemm_f32.h"
#include "kernels/rounding.h"
#include "model/product_observer.h"

namespace planish {
namespace {

PanelSource Source(const Weight& weight, bool is_transposed = false) {
  return {weight.data(), weight.in(), weight.dtype(), is_transposed};
}

bool IsPlain(const Weight& weight) {
  return weight.dtype() == DType::kF32 || weight.dtype() == DType::kBF16;
}

// Calls use(first row, rows, those rows as an operand) for blocks of a frozen weight (under an adapter) that the pass cannot
// multiply as it is stored: rows in the type of its operands. 2^22 values of them cost little beside their product, and every
// block of dy W passes over dx once more.
template <typename Use>
void ForBlocks(const Pass& pass, const Weight& weight, bool is_transposed, const Use& use) {
  const size_t in = weight.in(), rows = FrozenBlockRows(weight.out(), in);
  const DType type = pass.row_type();
  const Workspace::Scope scope(*pass.workspace);
  auto* block = reinterpret_cast<std::byte*>(
      pass.workspace->Take((BytesOf(type, rows * in) + sizeof(float) - 1) / sizeof(float)));
  for (size_t begin = 0; begin < weight.out(); begin += rows) {
    const size_t count = std::min(rows, weight.out() - begin);
    ParallelFor(count, [&](size_t r, int) {
      std::byte* out = block + BytesOf(type, r * in);
      if (type == DType::kF32) {
        weight.DequantizeRow(begin + r, reinterpret_cast<float*>(out));
      } else {
        thread_local std::vector<float> row;
        row.resize(in);
        weight.DequantizeRow(begin + r, row.data());
        RoundRows(row.data(), in, type, out);
      }
    });
    use(begin, count, PanelSource{block, in, type, is_transposed});
  }
}

void ForwardThroughBlocks(const Pass& pass, const Weight& weight, size_t T, const RowsView& x,
                          float* y) {
  ForBlocks(pass, weight, false, [&](size_t begin, size_t count, const PanelSource& rows) {
    GemmBf16(x.Source(weight.in()), rows, T, count, weight.in(), /*accumulate=*/false, y + begin,
             weight.out());
  });
}

void BackwardThroughBlocks(const Pass& pass, const Weight& weight, size_t T, const RowsView& dy,
                           float* dx, bool accumulate) {
  const auto gemm = pass.precision == Precision::kF32 ? GemmF32 : GemmBf16;
  ForBlocks(pass, weight, true, [&](size_t begin, size_t count, const PanelSource& rows) {
    gemm(dy.Source(weight.out()).At(0, begin), rows, T, weight.in(), count, accumulate || begin > 0,
         dx, weight.in());
  });
}

// A finished product [T, width] as parts of a size that one thread takes.
void HandOut(const float* values, size_t T, size_t width, const ProductSink& sink) {
  constexpr size_t kRows = 64, kColumns = 1024;
  const size_t across = (width + kColumns - 1) / kColumns;
  ParallelFor((T + kRows - 1) / kRows * across, [&](size_t i, int) {
    const size_t t = i / across * kRows, n = i % across * kColumns;
    sink({t, std::min(kRows, T - t), n, std::min(kColumns, width - n), values + t * width + n,
          width});
  });
}

}  // namespace

size_t FrozenBlockRows(size_t out, size_t in) {
  return std::min(std::max<size_t>((size_t{1} << 22) / in, 64), out);
}

bool Projection::IsFp8(const Pass& pass) const {
  return pass.precision == Precision::kFp8 && IsPlain(weight);
}

bool Projection::HandsOutParts(const Pass& pass) const {
  return pass.precision != Precision::kF32 && !IsFp8(pass) && IsPlain(weight) && adapter == nullptr;
}

void Projection::Forward(const Pass& pass, size_t T, const RowsView& x, float* y) const {
  ProductObserver::Show(weight, T, x);
  if (IsFp8(pass)) {
    Fp8Forward(pass, weight, &fp8_, T, x, y);
  } else if (pass.precision == Precision::kF32) {
    MatMul(weight, x.f32(), T, y);
  } else if (IsPlain(weight)) {
    GemmBf16(x.Source(weight.in()), Source(weight), T, weight.out(), weight.in(),
             /*accumulate=*/false, y, weight.out());
  } else {
    ForwardThroughBlocks(pass, weight, T, x, y);
  }
  if (adapter != nullptr) adapter->Forward(pass, T, x, y);
}

void Projection::ForwardTo(const Pass& pass, size_t T, const RowsView& x,
                           const ProductSink& sink) const {
  if (HandsOutParts(pass)) {
    ProductObserver::Show(weight, T, x);
    return GemmBf16ToSink(x.Source(weight.in()), Source(weight), T, weight.out(), weight.in(),
                          sink);
  }
  const Workspace::Scope scope(*pass.workspace);
  float* y = pass.workspace->Take(T * weight.out());
  Forward(pass, T, x, y);
  HandOut(y, T, weight.out(), sink);
}

void Projection::BackwardInput(const Pass& pass, size_t T, const RowsView& dy, float* dx,
                               bool accumulate) const {
  const bool is_exact = pass.precision == Precision::kF32;
  if (IsFp8(pass)) {
    Fp8BackwardInput(pass, weight, &fp8_, T, dy, accumulate, dx);
  } else if (is_exact ? weight.dtype() != DType::kF32 : !IsPlain(weight)) {
    BackwardThroughBlocks(pass, weight, T, dy, dx, accumulate);
  } else {
    const auto gemm = is_exact ? GemmF32 : GemmBf16;
    gemm(dy.Source(weight.out()), Source(weight, /*is_transposed=*/true), T, weight.in(),
         weight.out(), accumulate, dx, weight.in());
  }
  if (adapter != nullptr) adapter->BackwardInput(pass, T, dy, dx);
}

void Projection::BackwardInputTo(const Pass& pass, size_t T, const RowsView& dy,
                                 const ProductSink& sink) const {
  if (HandsOutParts(pass))
    return GemmBf16ToSink(dy.Source(weight.out()), Source(weight, /*is_transposed=*/true), T,
                          weight.in(), weight.out(), sink);
  const Workspace::Scope scope(*pass.workspace);
  float* dx = pass.workspace->Take(T * weight.in());
  BackwardInput(pass, T, dy, dx);
  HandOut(dx, T, weight.in(), sink);
}

void Projection::BackwardWeight(const Pass& pass, size_t T, const RowsView& x,
                                const RowsView& dy) const {
  if (grad != nullptr && IsFp8(pass)) {
    Fp8BackwardWeight(pass, weight.out(), weight.in(), T, x, dy, grad);
  } else if (grad != nullptr) {
    const auto gemm = pass.precision == Precision::kF32 ? GemmF32 : GemmBf16;
    gemm(dy.Source(weight.out(), true), x.Source(weight.in(), true), weight.out(), weight.in(), T,
         /*accumulate=*/true, grad, weight.in());
  }
  if (adapter != nullptr) adapter->BackwardWeight(pass, T, x, dy);
}

void Projection::Step(const Rows& rows, const float* x, float* y) const {
  MatMul(weight, x, rows, y);
  if (adapter != nullptr) adapter->Step(rows.total, x, y);
}

void Projection::Visit(const char* name, size_t out, size_t in, ParamRole role,
                       const ParamVisitor& visit) {
  visit({.name = name,
         .shape = {out, in},
         .role = role,
         .weight = &weight,
         .projection = this,
         .grad = &grad});
  if (adapter != nullptr) adapter->Visit(name, visit);
}

void ForwardMany(const Pass& pass, size_t T, std::span<const Projection* const> projections,
                 const RowsView& x, std::span<float* const> ys) {
  if (pass.precision != Precision::kF32) {
    for (size_t i = 0; i < projections.size(); ++i) projections[i]->Forward(pass, T, x, ys[i]);
    return;
  }
  std::vector<const Weight*> weights;
  for (const Projection* projection : projections) {
    ProductObserver::Show(projection->weight, T, x);
    weights.push_back(&projection->weight);
  }
  MatMulMany(weights, x.f32(), T, ys);
  for (size_t i = 0; i < projections.size(); ++i)
    if (projections[i]->adapter != nullptr) projections[i]->adapter->Forward(pass, T, x, ys[i]);
}

void StepMany(const Rows& rows, std::span<const Projection* const> projections, const float* x,
              std::span<float* const> ys) {
  std::array<const Weight*, 3> weights{};  // q|k|v at most
  PLANISH_CHECK(projections.size() <= weights.size());
  for (size_t i = 0; i < projections.size(); ++i) weights[i] = &projections[i]->weight;
  MatMulMany({weights.data(), projections.size()}, x, rows, ys);
  for (size_t i = 0; i < projections.size(); ++i)
    if (projections[i]->adapter != nullptr) projections[i]->adapter->Step(rows.total, x, ys[i]);
}

}  // namespace planish
