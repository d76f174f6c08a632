// SPDX-License-Identifier: Apache-2.0
#include "model/ffn.h"

#include <algorithm>

#include "base/phases.h"
#include "kernels/activation.h"
#include "kernels/ffn_activation.h"
#include "kernels/matmul.h"

namespace planish {
namespace {

// Tokens of a training slice: enough that packing the weights again costs little beside their product.
constexpr size_t kSlice = 4096;

std::byte* ElementsAt(void* rows, DType type, size_t i) {
  return static_cast<std::byte*>(rows) + BytesOf(type, i);
}
std::byte* ElementsAt(Tensor& rows, size_t i) { return rows.data() + BytesOf(rows.dtype(), i); }
const std::byte* ElementsAt(const Tensor& rows, size_t i) {
  return rows.data() + BytesOf(rows.dtype(), i);
}

// body(values, i, columns) for the rows of a part of a product [_, width]: i is the place of the first value in it.
template <class Body>
void ForRows(const ProductBlock& block, size_t width, const Body& body) {
  for (size_t r = 0; r < block.rows; ++r)
    body(block.values + r * block.stride, (block.row + r) * width + block.column, block.columns);
}

}  // namespace

void Ffn::Step(const StepBatch& batch, const float* x, float* y, Workspace* workspace) const {
  const Workspace::Scope scope(*workspace);
  const PhaseScope phase(Phase::kMatMulFfn);
  const size_t T = batch.rows.total, F = ffn_.intermediate_size;
  float* up = workspace->Take(T * F);  // [T, F]
  if (IsGated()) {
    float* gate = workspace->Take(T * F);  // [T, F]
    const Projection* projections[] = {&gate_, &up_};
    float* outputs[] = {gate, up};
    StepMany(batch.rows, projections, x, outputs);
    const PhaseScope activation(Phase::kActivation);
    SiluMul(gate, up, up, T * F);
  } else {
    up_.Step(batch.rows, x, up);
    const PhaseScope activation(Phase::kActivation);
    ReluSquared(up, T * F);
  }
  down_.Step(batch.rows, up, y);
}

void Ffn::Forward(const Pass& pass, const float* x, float* y, std::unique_ptr<Saved>* saved) const {
  const Workspace::Scope scope(*pass.workspace);
  const PhaseScope phase(Phase::kMatMulFfn);
  const size_t T = pass.tokens(), D = hidden_size_, F = ffn_.intermediate_size;
  const size_t rows = std::min(T, kSlice);
  const DType type = pass.row_type();
  std::unique_ptr<FfnSaved> keep;
  if (saved != nullptr) {
    keep = std::make_unique<FfnSaved>();
    keep->up = Tensor(type, {T, F});
    if (IsGated()) keep->gate = Tensor(type, {T, F});
  }
  float* gate = IsGated() ? pass.workspace->Take(rows * F) : nullptr;
  float* act = pass.workspace->Take(rows * F);  // of `type`
  for (size_t t = 0; t < T; t += rows) {
    const size_t n = std::min(rows, T - t);
    if (IsGated()) gate_.Forward(pass, n, x + t * D, gate);
    up_.ForwardTo(pass, n, x + t * D, [&](const ProductBlock& up) {
      ForRows(up, F, [&](const float* values, size_t i, size_t columns) {
        void* kept_up = keep != nullptr ? ElementsAt(keep->up, t * F + i) : nullptr;
        if (IsGated())
          SiluMulForward(gate + i, values, columns, type,
                         keep != nullptr ? ElementsAt(keep->gate, t * F + i) : nullptr, kept_up,
                         ElementsAt(act, type, i));
        else
          ReluSquaredForward(values, columns, type, kept_up, ElementsAt(act, type, i));
      });
    });
    down_.Forward(pass, n, {act, type}, y + t * D);
  }
  if (saved != nullptr) *saved = std::move(keep);
}

void Ffn::Backward(const Pass& pass, const float* x, const Saved& saved, const float* dy,
                   float* dx) const {
  const auto& kept = static_cast<const FfnSaved&>(saved);
  const Workspace::Scope scope(*pass.workspace);
  const PhaseScope phase(Phase::kMatMulFfn);
  const size_t T = pass.tokens(), D = hidden_size_, F = ffn_.intermediate_size;
  const size_t rows = std::min(T, kSlice);
  const DType type = pass.row_type();
  float* act = pass.workspace->Take(rows * F);  // this and the next two of `type`
  float* dup = pass.workspace->Take(rows * F);
  float* dgate = IsGated() ? pass.workspace->Take(rows * F) : nullptr;
  for (size_t t = 0; t < T; t += rows) {
    const size_t n = std::min(rows, T - t);
    const float* xs = x + t * D;
    down_.BackwardInputTo(pass, n, dy + t * D, [&](const ProductBlock& dact) {
      ForRows(dact, F, [&](const float* values, size_t i, size_t columns) {
        const std::byte* up = ElementsAt(kept.up, t * F + i);
        if (IsGated())
          SiluMulBackward(ElementsAt(kept.gate, t * F + i), up, values, columns, type,
                          ElementsAt(act, type, i), ElementsAt(dgate, type, i),
                          ElementsAt(dup, type, i));
        else
          ReluSquaredBackward(up, values, columns, type, ElementsAt(act, type, i),
                              ElementsAt(dup, type, i));
      });
    });
    down_.BackwardWeight(pass, n, {act, type}, dy + t * D);
    up_.BackwardWeight(pass, n, xs, {dup, type});
    up_.BackwardInput(pass, n, {dup, type}, dx + t * D);
    if (IsGated()) {
      gate_.BackwardWeight(pass, n, xs, {dgate, type});
      gate_.BackwardInput(pass, n, {dgate, type}, dx + t * D, /*accumulate=*/true);
    }
  }
}

void Ffn::VisitParams(const ParamVisitor& visit) {
  const size_t F = ffn_.intermediate_size;
  if (IsGated()) gate_.Visit("gate_proj.weight", F, hidden_size_, ParamRole::kInput, visit);
  up_.Visit("up_proj.weight", F, hidden_size_, ParamRole::kInput, visit);
  down_.Visit("down_proj.weight", hidden_size_, F, ParamRole::kOutput, visit);
}

}  // namespace planish
