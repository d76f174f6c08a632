// SPDX-License-Identifier: Apache-2.0
#include "compress/product_inputs.h"

#include <algorithm>
#include <cmath>
#include <variant>

#include "base/parallel.h"
#include "kernels/gemm_f32.h"
#include "model/tensor_names.h"
#include "tensor/blocks.h"

namespace planish {
namespace {

struct BlockParams {
  Tensor* norm = nullptr;        // before the block
  Tensor* inner_norm = nullptr;  // Mamba-2's
  std::vector<Param> inputs;     // read the normed stream
  Param output, values, up;
};

BlockParams ParamsOf(Model* model, size_t block) {
  const std::string norm_name =
      BlockNormName(model->config().family, model->config().blocks[block]);
  BlockParams found;
  model->VisitParams([&](const Param& param) {
    if (param.block != static_cast<int>(block)) return;
    if (param.role == ParamRole::kNorm) {
      if (param.name == norm_name)
        found.norm = param.vector;
      else if (param.name.ends_with(".mixer.norm.weight"))
        found.inner_norm = param.vector;
    } else if (param.role == ParamRole::kInput) {
      found.inputs.push_back(param);
      if (param.name.ends_with("v_proj.weight")) found.values = param;
      if (param.name.ends_with("up_proj.weight")) found.up = param;
    } else if (param.role == ParamRole::kOutput) {
      found.output = param;
    }
  });
  return found;
}

}  // namespace

std::vector<InputGroup> InputGroupsOf(Model* model, size_t block) {
  const MixerConfig& mixer = model->config().blocks[block].mixer;
  const BlockParams params = ParamsOf(model, block);
  InputGroup first{.products = params.inputs, .norm = params.norm, .provider = {}};
  if (std::holds_alternative<LinearConfig>(mixer)) {
    // Its one matrix both reads the normed stream and writes into the residual one.
    if (first.products.empty()) first.products.push_back(params.output);
    return {first};
  }
  InputGroup second{.products = {params.output}, .provider = {}};
  if (const auto* attention = std::get_if<AttentionConfig>(&mixer)) {
    second.fold = InputGroup::Fold::kValueRows;
    second.provider = params.values;
    second.heads = attention->n_heads;
    second.kv_heads = attention->n_kv_heads;
    second.head_dim = attention->head_dim;
  } else if (const auto* ffn = std::get_if<FfnConfig>(&mixer)) {
    second.fold = ffn->kind == FfnKind::kSwiGlu ? InputGroup::Fold::kUpRows
                                                : InputGroup::Fold::kUpRowsSquared;
    second.provider = params.up;
  } else {
    second.norm = params.inner_norm;
  }
  return {first, second};
}

InputStatistics::InputStatistics(size_t in)
    : gram(Tensor::ZerosF32({in, in})), abs_sum(in, 0.0), abs_max(in, 0.0f) {}

void InputStatistics::Add(size_t T, const RowsView& x) {
  const size_t in = abs_sum.size();
  Tensor copy;
  const auto* rows = static_cast<const float*>(x.data);
  if (x.dtype != DType::kF32) {
    copy = Tensor::F32({T, in});
    ParallelFor(
        T, [&](size_t t, int) { DequantizeRow(x.dtype, x.From(t, in).data, copy.row(t), in); });
    rows = copy.f32();
  }
  const PanelSource columns{rows, in, DType::kF32, /*is_transposed=*/true};
  GemmF32(columns, columns, in, in, T, /*accumulate=*/true, gram.f32(), in);
  constexpr size_t kChannels = 64;
  ParallelFor((in + kChannels - 1) / kChannels, [&](size_t i, int) {
    const size_t begin = i * kChannels, end = std::min(begin + kChannels, in);
    for (size_t t = 0; t < T; ++t) {
      for (size_t c = begin; c < end; ++c) {
        const float magnitude = std::fabs(rows[t * in + c]);
        abs_sum[c] += magnitude;
        abs_max[c] = std::max(abs_max[c], magnitude);
      }
    }
  });
  tokens += T;
}

void InputStatistics::Divide(const std::vector<float>& s) {
  const size_t in = abs_sum.size();
  ParallelFor(in, [&](size_t r, int) {
    for (size_t c = 0; c < in; ++c) gram.row(r)[c] /= s[r] * s[c];
  });
  for (size_t c = 0; c < in; ++c) {
    abs_sum[c] /= s[c];
    abs_max[c] /= s[c];
  }
}

namespace {

// Input (h, p) of o_proj is a mix of rows (h / (H / K), p) of v.
template <typename Join>
void ShareOverHeads(const InputGroup& group, const Join& join, std::vector<float>* values) {
  if (group.fold != InputGroup::Fold::kValueRows) return;
  const size_t P = group.head_dim, share = group.heads / group.kv_heads;
  for (size_t k = 0; k < group.kv_heads; ++k) {
    for (size_t p = 0; p < P; ++p) {
      std::vector<float> shared;
      for (size_t h = k * share; h < (k + 1) * share; ++h) shared.push_back((*values)[h * P + p]);
      const float one = join(shared);
      for (size_t h = k * share; h < (k + 1) * share; ++h) (*values)[h * P + p] = one;
    }
  }
}

}  // namespace

std::vector<float> InputStatistics::MeanAbs(const InputGroup& group) const {
  std::vector<float> means;
  for (const double sum : abs_sum)
    means.push_back(static_cast<float>(sum / static_cast<double>(std::max<size_t>(tokens, 1))));
  ShareOverHeads(
      group,
      [](const std::vector<float>& values) {
        float sum = 0;
        for (const float value : values) sum += value;
        return sum / static_cast<float>(values.size());
      },
      &means);
  return means;
}

std::vector<float> InputStatistics::MaxAbs(const InputGroup& group) const {
  std::vector<float> largest = abs_max;
  ShareOverHeads(
      group,
      [](const std::vector<float>& values) {
        return *std::max_element(values.begin(), values.end());
      },
      &largest);
  return largest;
}

}  // namespace planish
