// SPDX-License-Identifier: Apache-2.0
#include "model/mamba2.h"

#include <cmath>
#include <cstring>
#include <vector>

#include "base/phases.h"
#include "kernels/conv1d.h"
#include "kernels/matmul.h"

namespace planish {

namespace {

Tensor CopyOf(const Tensor& tensor) {
  Tensor copy(tensor.dtype(), tensor.shape());
  std::memcpy(copy.data(), tensor.data(), tensor.bytes());
  return copy;
}

}  // namespace

Mamba2State::Mamba2State(const Mamba2Config& mamba, DType ssm_type)
    : conv(Tensor::ZerosF32({mamba.conv_kernel - 1, mamba.conv_dim()})),
      ssm(ssm_type, {mamba.n_heads, mamba.state_size, mamba.head_dim}) {
  PLANISH_CHECK(ssm_type == DType::kF32 || ssm_type == DType::kBF16, "SSM state of type {}",
                Name(ssm_type));
  std::memset(ssm.data(), 0, ssm.bytes());
}

std::unique_ptr<MixerState> Mamba2State::Snapshot() const {
  std::unique_ptr<Mamba2State> copy(new Mamba2State);
  copy->conv = CopyOf(conv);
  copy->ssm = CopyOf(ssm);
  return copy;
}

Mamba2::Mamba2(const ModelConfig& config, const Mamba2Config& mamba)
    : mamba_(mamba),
      hidden_size_(config.hidden_size),
      norm_eps_(static_cast<float>(config.norm_eps)) {}

void Mamba2::ParamsChanged() {
  conv_taps_ = Tensor::F32({mamba_.conv_kernel, mamba_.conv_dim()});
  TransposeConvWeight(conv_weight_.f32(), mamba_.conv_dim(), mamba_.conv_kernel, conv_taps_.f32());
  a_ = Tensor::F32({mamba_.n_heads});
  // In double, then rounded: the same value as a GGUF file's -exp(A_log) whatever exp the writer used, to half an ulp.
  for (size_t h = 0; h < mamba_.n_heads; ++h)
    a_.f32()[h] = static_cast<float>(-std::exp(static_cast<double>(a_log_.f32()[h])));
}

SsmLayer Mamba2::Layer() const {
  return {.dims = Dims(),
          .conv_width = mamba_.conv_kernel,
          .conv_taps = conv_taps_.f32(),
          .conv_bias = mamba_.has_conv_bias ? conv_bias_.f32() : nullptr,
          .dt_bias = dt_bias_.f32(),
          .A = a_.f32(),
          .D = d_.f32(),
          .norm = norm_.f32(),
          .dt_low = static_cast<float>(mamba_.time_step_low),
          .dt_high = static_cast<float>(mamba_.time_step_high),
          .norm_eps = norm_eps_};
}

void Mamba2::Step(const StepBatch& batch, const float* x, float* y, Workspace* workspace) const {
  const Workspace::Scope scope(*workspace);
  const SsmLayer layer = Layer();
  const size_t T = batch.rows.total;
  float* zxbcdt = workspace->Take(T * layer.in_width());
  float* normed = workspace->Take(T * layer.d_in());
  {
    const PhaseScope matmul(Phase::kMatMulMamba);
    in_proj_.Step(batch.rows, x, zxbcdt);
  }
  static thread_local std::vector<SsmRun> runs;  // keeps its memory from step to step
  runs.clear();
  for (const StepRows& rows : batch.runs) {
    auto& state = static_cast<Mamba2State&>(*rows.state);
    runs.push_back({.in = zxbcdt + rows.begin * layer.in_width(),
                    .count = rows.count,
                    .position = rows.position,
                    .conv = state.conv.f32(),
                    .state = state.ssm.data(),
                    .state_type = state.ssm.dtype(),
                    .out = normed + rows.begin * layer.d_in()});
  }
  {
    const PhaseScope phase(Phase::kScan);
    SsmBlock(layer, runs,
             batch.rows.act == ActMode::kF32 ? SsmArithmetic::kExact : SsmArithmetic::kFast);
  }
  const PhaseScope matmul(Phase::kMatMulMamba);
  out_proj_.Step(batch.rows, normed, y);
}

void Mamba2::VisitParams(const ParamVisitor& visit) {
  const size_t H = mamba_.n_heads, conv_dim = mamba_.conv_dim();
  visit({.name = "A_log",
         .shape = {H},
         .role = ParamRole::kSsmALog,
         .vector = &a_log_,
         .grad = &d_a_log_});
  visit({.name = "D", .shape = {H}, .role = ParamRole::kSsmD, .vector = &d_, .grad = &d_d_});
  visit({.name = "dt_bias",
         .shape = {H},
         .role = ParamRole::kSsmDtBias,
         .vector = &dt_bias_,
         .grad = &d_dt_bias_});
  if (mamba_.has_conv_bias)
    visit({.name = "conv1d.bias",
           .shape = {conv_dim},
           .role = ParamRole::kConvBias,
           .vector = &conv_bias_,
           .grad = &d_conv_bias_});
  visit({.name = "conv1d.weight",
         .shape = {conv_dim, 1, mamba_.conv_kernel},
         .role = ParamRole::kConvWeight,
         .vector = &conv_weight_,
         .grad = &d_conv_weight_});
  in_proj_.Visit("in_proj.weight", mamba_.in_proj_rows(), hidden_size_, ParamRole::kInput, visit);
  visit({.name = "norm.weight",
         .shape = {mamba_.inner()},
         .role = ParamRole::kNorm,
         .vector = &norm_,
         .grad = &d_norm_});
  out_proj_.Visit("out_proj.weight", hidden_size_, mamba_.inner(), ParamRole::kOutput, visit);
}

}  // namespace planish
