// SPDX-License-Identifier: Apache-2.0
#include "model/mamba2.h"

#include <cmath>

#include "base/phases.h"
#include "kernels/conv1d.h"
#include "kernels/matmul.h"
#include "kernels/norm.h"
#include "kernels/ssd.h"

namespace planish {

Mamba2State::Mamba2State(const Mamba2Config& mamba)
    : conv(Tensor::ZerosF32({mamba.conv_kernel - 1, mamba.conv_dim()})),
      ssm(Tensor::ZerosF32({mamba.n_heads, mamba.head_dim, mamba.state_size})) {}

std::unique_ptr<MixerState> Mamba2State::Snapshot() const {
  std::unique_ptr<Mamba2State> copy(new Mamba2State);
  copy->conv = Tensor::ToF32(conv.view());
  copy->ssm = Tensor::ToF32(ssm.view());
  return copy;
}

// Scratch of one pass, all [T, ...]; z, x, B, C and dt_raw are columns of zxbcdt.
struct Mamba2::Activations {
  size_t width;   // of zxbcdt
  float* zxbcdt;  // [T, width]
  float* xbc;     // [T, conv_dim] after conv and SiLU
  float* dt;      // [T, H]
  float* y;       // [T, d_in]
  float* conv_input() const { return zxbcdt + d_in; }
  size_t d_in;
};

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

Mamba2::Activations Mamba2::Project(const Rows& rows, const float* x, Workspace* workspace) const {
  const size_t T = rows.total;
  Activations a;
  a.width = mamba_.in_proj_rows();
  a.d_in = mamba_.inner();
  a.zxbcdt = workspace->Take(T * a.width);
  a.xbc = workspace->Take(T * mamba_.conv_dim());
  a.dt = workspace->Take(T * mamba_.n_heads);
  a.y = workspace->Take(T * a.d_in);
  {
    const PhaseScope matmul(Phase::kMatMulMamba);
    MatMul(in_proj_, x, rows, a.zxbcdt);
  }
  PrepareDt(a.zxbcdt + a.d_in + mamba_.conv_dim(), a.width, dt_bias_.f32(), T, mamba_.n_heads,
            static_cast<float>(mamba_.time_step_low), static_cast<float>(mamba_.time_step_high),
            a.dt);
  return a;
}

void Mamba2::Finish(const Activations& a, const Rows& rows, float* y) const {
  {
    const PhaseScope norm(Phase::kNorm);
    GatedGroupRmsNorm(a.y, a.d_in, a.zxbcdt, a.width, norm_.f32(), rows.total, a.d_in,
                      mamba_.n_groups, norm_eps_, a.y);
  }
  const PhaseScope matmul(Phase::kMatMulMamba);
  MatMul(out_proj_, a.y, rows, y);
}

ConvJob Mamba2::ConvRows(const Activations& a, size_t begin, size_t count,
                         const float* history) const {
  const size_t conv_dim = mamba_.conv_dim();
  return {.x = a.conv_input() + begin * a.width,
          .x_stride = a.width,
          .history = history,
          .T = count,
          .out = a.xbc + begin * conv_dim,
          .out_stride = conv_dim};
}

SsmInput Mamba2::ScanRows(const Activations& a, size_t begin) const {
  const size_t conv_dim = mamba_.conv_dim();
  const float* xbc = a.xbc + begin * conv_dim;
  return {.x = xbc,
          .x_stride = conv_dim,
          .B = xbc + a.d_in,
          .b_stride = conv_dim,
          .C = xbc + a.d_in + mamba_.n_groups * mamba_.state_size,
          .c_stride = conv_dim,
          .dt = a.dt + begin * mamba_.n_heads,
          .dt_stride = mamba_.n_heads,
          .A = a_.f32(),
          .D = d_.f32()};
}

void Mamba2::Forward(const SeqLayout& layout, const float* x, float* y, Workspace* workspace,
                     std::unique_ptr<Saved>* saved) const {
  const Workspace::Scope scope(*workspace);
  const PhaseScope phase(Phase::kScan);
  const size_t T = layout.tokens(), conv_dim = mamba_.conv_dim();
  const Activations a = Project(T, x, workspace);
  std::vector<ConvJob> convs;
  std::vector<SsdJob> scans;
  for (size_t s = 0; s < layout.sequences(); ++s) {
    const size_t begin = layout.begin(s), count = layout.length(s);
    convs.push_back(ConvRows(a, begin, count, /*history=*/nullptr));
    scans.push_back({.input = ScanRows(a, begin),
                     .T = count,
                     .initial_state = nullptr,
                     .final_state = nullptr,
                     .y = a.y + begin * a.d_in,
                     .y_stride = a.d_in,
                     .chunk_states = nullptr});
  }
  {
    const PhaseScope conv(Phase::kConv);
    CausalConv1d({conv_dim, mamba_.conv_kernel}, conv_taps_.f32(),
                 mamba_.has_conv_bias ? conv_bias_.f32() : nullptr, convs);
  }
  SsdChunkScan({mamba_.n_heads, mamba_.head_dim, mamba_.state_size, mamba_.n_groups},
               mamba_.chunk_size, scans);
  if (saved != nullptr) {
    auto kept = std::make_unique<Mamba2Saved>();
    kept->x = KeepRows(x, T, hidden_size_);
    kept->zxbcdt = KeepRows(a.zxbcdt, T, a.width);
    kept->xbc = KeepRows(a.xbc, T, conv_dim);
    kept->dt = KeepRows(a.dt, T, mamba_.n_heads);
    kept->y = KeepRows(a.y, T, a.d_in);
    *saved = std::move(kept);
  }
  Finish(a, T, y);
}

void Mamba2::Step(const StepBatch& batch, const float* x, float* y, Workspace* workspace) const {
  const Workspace::Scope scope(*workspace);
  const PhaseScope phase(Phase::kScan);
  const size_t conv_dim = mamba_.conv_dim();
  const Activations a = Project(batch.rows, x, workspace);
  std::vector<ConvJob> convs;
  std::vector<SsmJob> scans;
  for (const StepRows& run : batch.runs) {
    auto& state = static_cast<Mamba2State&>(*run.state);
    convs.push_back(ConvRows(a, run.begin, run.count, state.conv.f32()));
    scans.push_back({.input = ScanRows(a, run.begin),
                     .T = run.count,
                     .state = state.ssm.f32(),
                     .y = a.y + run.begin * a.d_in,
                     .y_stride = a.d_in});
  }
  {
    const PhaseScope conv(Phase::kConv);
    CausalConv1d({conv_dim, mamba_.conv_kernel}, conv_taps_.f32(),
                 mamba_.has_conv_bias ? conv_bias_.f32() : nullptr, convs);
  }
  for (const StepRows& run : batch.runs) {
    UpdateConvHistory(a.conv_input() + run.begin * a.width, a.width, run.count, conv_dim,
                      mamba_.conv_kernel, static_cast<Mamba2State&>(*run.state).conv.f32());
  }
  SsmScan({mamba_.n_heads, mamba_.head_dim, mamba_.state_size, mamba_.n_groups}, scans);
  Finish(a, batch.rows, y);
}

void Mamba2::VisitParams(const ParamVisitor& visit) {
  const size_t H = mamba_.n_heads, conv_dim = mamba_.conv_dim();
  visit({.name = "A_log", .shape = {H}, .role = ParamRole::kSsmALog, .vector = &a_log_});
  visit({.name = "D", .shape = {H}, .role = ParamRole::kSsmD, .vector = &d_});
  visit({.name = "dt_bias", .shape = {H}, .role = ParamRole::kSsmDtBias, .vector = &dt_bias_});
  if (mamba_.has_conv_bias)
    visit({.name = "conv1d.bias",
           .shape = {conv_dim},
           .role = ParamRole::kConvBias,
           .vector = &conv_bias_});
  visit({.name = "conv1d.weight",
         .shape = {conv_dim, 1, mamba_.conv_kernel},
         .role = ParamRole::kConvWeight,
         .vector = &conv_weight_});
  visit({.name = "in_proj.weight",
         .shape = {mamba_.in_proj_rows(), hidden_size_},
         .role = ParamRole::kInput,
         .weight = &in_proj_});
  visit({.name = "norm.weight",
         .shape = {mamba_.inner()},
         .role = ParamRole::kNorm,
         .vector = &norm_});
  visit({.name = "out_proj.weight",
         .shape = {hidden_size_, mamba_.inner()},
         .role = ParamRole::kOutput,
         .weight = &out_proj_});
}

}  // namespace planish
