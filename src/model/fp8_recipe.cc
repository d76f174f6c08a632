// SPDX-License-Identifier: Apache-2.0
#include "model/fp8_recipe.h"

#include "base/error.h"
#include "kernels/gemm_fp8.h"
#include "kernels/rounding.h"

namespace planish {
namespace {

const Fp8Options& OptionsOf(const Pass& pass) {
  static const Fp8Options defaults;
  return pass.fp8 != nullptr ? *pass.fp8 : defaults;
}

Fp8Statistics* StatisticsOf(const Fp8Options& options, Fp8Class tensor_class) {
  return options.statistics != nullptr ? &(*options.statistics)[static_cast<size_t>(tensor_class)]
                                       : nullptr;
}

// Rows of a pass as an operand: quantised into the workspace, which must outlive the product.
Fp8Operand QuantizeRows(const Pass& pass, const RowsView& rows, size_t T, size_t width,
                        Fp8Class tensor_class, bool is_transposed) {
  const Fp8Options& options = OptionsOf(pass);
  Workspace& workspace = *pass.workspace;
  PanelSource source = rows.Source(width);
  if (rows.dtype == DType::kF32) {
    source = {workspace.Take((T * width + 1) / 2), width, DType::kBF16};
    RoundRows(rows.f32(), T * width, DType::kBF16, const_cast<void*>(source.data));
  }
  Fp8Rounding rounding = {.power_of_two = options.power_of_two};
  rounding.tiles = options.tensorwise ? Fp8Tiles::kTensor
                   : is_transposed    ? Fp8Tiles::kColumns
                                      : Fp8Tiles::kRows;
  if (options.tensorwise && tensor_class == Fp8Class::kGradients)
    rounding.format = Fp8Format::kE5M2;
  auto* values = reinterpret_cast<uint16_t*>(workspace.Take((T * width + 1) / 2));
  float* scales =
      workspace.Take(Fp8ScaleRows(rounding.tiles, T) * Fp8ScaleColumns(rounding.tiles, width));
  QuantizeFp8(source, T, width, rounding, values, scales, StatisticsOf(options, tensor_class));
  return is_transposed ? Fp8Operand::Transposed(values, scales, width, rounding.tiles)
                       : Fp8Operand::AsStored(values, scales, width, rounding.tiles);
}

}  // namespace

const char* Name(Fp8Class tensor_class) {
  constexpr const char* kNames[] = {"weights", "activations", "gradients"};
  return kNames[static_cast<size_t>(tensor_class)];
}

void Fp8Weight::Update(const Weight& weight, const Fp8Options& options) {
  const size_t elements = weight.out() * weight.in();
  if (version_ == weight.version() && values_.size() == elements * sizeof(uint16_t) &&
      tensorwise_ == options.tensorwise && power_of_two_ == options.power_of_two)
    return;
  PLANISH_CHECK(weight.dtype() == DType::kF32 || weight.dtype() == DType::kBF16, "{} is {}",
                weight.name(), Name(weight.dtype()));
  tensorwise_ = options.tensorwise;
  power_of_two_ = options.power_of_two;
  version_ = weight.version();
  if (values_.size() != elements * sizeof(uint16_t))
    values_ = AlignedBuffer(elements * sizeof(uint16_t));
  scales_.resize(Fp8ScaleRows(tiles(), weight.out()) * Fp8ScaleColumns(tiles(), weight.in()));
  QuantizeFp8({weight.data(), weight.in(), weight.dtype()}, weight.out(), weight.in(),
              {.tiles = tiles(), .power_of_two = power_of_two_},
              reinterpret_cast<uint16_t*>(values_.data()), scales_.data(),
              StatisticsOf(options, Fp8Class::kWeights));
}

void Fp8Forward(const Pass& pass, const Weight& weight, Fp8Weight* codes, size_t T,
                const RowsView& x, float* y) {
  const Workspace::Scope scope(*pass.workspace);
  codes->Update(weight, OptionsOf(pass));
  GemmFp8(QuantizeRows(pass, x, T, weight.in(), Fp8Class::kActivations, /*is_transposed=*/false),
          Fp8Operand::AsStored(codes->values(), codes->scales(), weight.in(), codes->tiles()), T,
          weight.out(), weight.in(), /*accumulate=*/false, y, weight.out());
}

void Fp8BackwardInput(const Pass& pass, const Weight& weight, Fp8Weight* codes, size_t T,
                      const RowsView& dy, bool accumulate, float* dx) {
  const Workspace::Scope scope(*pass.workspace);
  codes->Update(weight, OptionsOf(pass));
  GemmFp8(QuantizeRows(pass, dy, T, weight.out(), Fp8Class::kGradients, /*is_transposed=*/false),
          Fp8Operand::Transposed(codes->values(), codes->scales(), weight.in(), codes->tiles()), T,
          weight.in(), weight.out(), accumulate, dx, weight.in());
}

void Fp8BackwardWeight(const Pass& pass, size_t out, size_t in, size_t T, const RowsView& x,
                       const RowsView& dy, float* grad) {
  const Workspace::Scope scope(*pass.workspace);
  const Fp8Operand left =
      QuantizeRows(pass, dy, T, out, Fp8Class::kGradients, /*is_transposed=*/true);
  const Fp8Operand right =
      QuantizeRows(pass, x, T, in, Fp8Class::kActivations, /*is_transposed=*/true);
  GemmFp8(left, right, out, in, T, /*accumulate=*/true, grad, in);
}

}  // namespace planish
