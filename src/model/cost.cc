// SPDX-License-Identifier: Apache-2.0
#include <variant>

#include "model/mixer.h"

namespace planish {
namespace {

struct CostVisitor {
  size_t D;

  MixerCost operator()(const AttentionConfig& m) const {
    const size_t q = m.n_heads * m.head_dim, kv = m.n_kv_heads * m.head_dim;
    MixerCost cost;
    cost.parameters = 2 * D * q + 2 * D * kv + (m.has_qk_norm ? 2 * m.head_dim : 0);
    cost.kv_elements_per_token = 2 * kv;
    cost.flops_per_token = 2.0 * static_cast<double>(2 * D * q + 2 * D * kv);
    cost.attention_flops_per_token_and_context = 4.0 * static_cast<double>(q);
    return cost;
  }
  MixerCost operator()(const Mamba2Config& m) const {
    const size_t matrices = D * m.in_proj_rows() + D * m.inner();
    const size_t taps = m.conv_kernel + (m.has_conv_bias ? 1 : 0);
    MixerCost cost;
    cost.parameters = matrices + m.conv_dim() * taps + 3 * m.n_heads + m.inner();
    cost.ssm_elements = m.inner() * m.state_size;
    cost.conv_elements = m.conv_dim() * (m.conv_kernel - 1);
    cost.flops_per_token = 2.0 * static_cast<double>(matrices) +
                           5.0 * static_cast<double>(cost.ssm_elements) +
                           2.0 * static_cast<double>(m.conv_kernel * m.conv_dim());
    return cost;
  }
  MixerCost operator()(const FfnConfig& m) const {
    MixerCost cost;
    cost.parameters = (m.kind == FfnKind::kSwiGlu ? 3 : 2) * D * m.intermediate_size;
    cost.flops_per_token = 2.0 * static_cast<double>(cost.parameters);
    return cost;
  }
  MixerCost operator()(const LinearConfig&) const {
    MixerCost cost;
    cost.parameters = D * D;
    cost.flops_per_token = 2.0 * static_cast<double>(D * D);
    return cost;
  }
};

}  // namespace

MixerCost CostOf(const MixerConfig& mixer, size_t hidden_size) {
  return std::visit(CostVisitor{hidden_size}, mixer);
}

}  // namespace planish
