// SPDX-License-Identifier: Apache-2.0
#include "model/run_mode.h"

#include "kernels/isa.h"
#include "kernels/packed_weight.h"

namespace planish {
namespace {

// Matrices that products stream: all but an embedding that only hands out rows.
template <typename Visit>
void VisitProducts(Model* model, const Visit& visit) {
  const bool is_tied = model->config().tie_embeddings;
  model->VisitParams([&](const Param& param) {
    if (param.weight != nullptr && (is_tied || param.role != ParamRole::kEmbedding))
      visit(param.weight);
  });
}

}  // namespace

const char* Name(ActMode act) {
  static constexpr const char* kNames[] = {"f32", "bf16", "int8"};
  return kNames[static_cast<size_t>(act)];
}

ActMode FastestActMode(Model* model) {
  uint64_t packable = 0, all = 0;
  VisitProducts(model, [&](const Weight* w) {
    PackedFormat format;
    all += w->bytes();
    if (PackedFormatOf(w->dtype(), &format)) packable += w->bytes();
  });
  const bool has_integer_products = Has(Isa::kAvx2) || Has(Isa::kNeon);
  if (packable * 2 > all && has_integer_products) return ActMode::kInt8;
  return Has(Isa::kBf16) ? ActMode::kBf16 : ActMode::kF32;
}

void ApplyRunMode(const RunMode& mode, Model* model) {
  const ActMode act = mode.act.value_or(FastestActMode(model));
  model->SetActMode(act);
  model->SetStateTypes(mode.state_types());
  if (act != ActMode::kInt8) return;
  // One weight at a time, so that never more than one is in memory twice.
  VisitProducts(model, [](Weight* w) {
    if (PackWeight(w)) w->Evict();
  });
}

}  // namespace planish
