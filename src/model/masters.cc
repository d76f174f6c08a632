// SPDX-License-Identifier: Apache-2.0
#include "model/masters.h"

#include "base/parallel.h"

namespace planish {

void HoldMasters(Model* model, const std::function<bool(const Param&)>& is_trained) {
  model->VisitParams([&](const Param& param) {
    if (param.weight == nullptr || (is_trained && !is_trained(param))) return;
    const Weight& stored = *param.weight;
    if (stored.dtype() == DType::kF32 && !stored.is_mapped()) return;
    Weight master(stored.name(), stored.out(), stored.in());
    auto* values = reinterpret_cast<float*>(master.mutable_data());
    ParallelFor(stored.out(),
                [&](size_t r, int) { stored.DequantizeRow(r, values + r * stored.in()); });
    stored.Evict();
    *param.weight = std::move(master);
  });
  model->ParamsChanged();
}

void FillParams(Model* model, const ParamRows& rows) {
  model->VisitParams([&](const Param& param) {
    if (param.vector != nullptr) {
      *param.vector = Tensor::F32(param.shape);
      return rows(param, 0, param.vector->f32());
    }
    const size_t out = param.shape[0], in = param.shape[1];
    *param.weight = Weight(param.name, out, in);
    auto* values = reinterpret_cast<float*>(param.weight->mutable_data());
    ParallelFor(out, [&](size_t r, int) { rows(param, r, values + r * in); });
  });
  model->ParamsChanged();
}

}  // namespace planish
