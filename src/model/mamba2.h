// SPDX-License-Identifier: Apache-2.0
// Mamba-2 mixer (Dao & Gu, arXiv 2405.21060; as in Nemotron-H): in_proj rows are z | x | B | C | dt; causal depthwise conv
// + SiLU over x|B|C; dt = clamp(softplus(dt + dt_bias)); S_t = exp(dt A) S_{t-1} + dt x B^T, y = S C + D x with
// A = -exp(A_log); RMS norm of y * silu(z) per group (the gate comes before the norm); out_proj.
#pragma once

#include "kernels/ssm_block.h"
#include "model/mixer.h"
#include "model/projection.h"

namespace planish {

struct Mamba2Slice;
struct Mamba2Gradients;

// Rows are of the pass's row type; what decides decays stays float.
struct Mamba2Saved : Saved {
  Tensor zxbc;    // [T, d_in + conv_dim] of in_proj: z | x | B | C
  Tensor dt_raw;  // [T, H] of in_proj
  Tensor states;  // [cuts, H, N, P] where a document goes from one slice of tokens to the next
  Tensor xbc;     // [T, conv_dim] after conv and SiLU; this and y unless the pass is selective
  Tensor y;       // [T, d_in] before gate and norm
  size_t bytes() const override {
    return zxbc.bytes() + dt_raw.bytes() + states.bytes() + xbc.bytes() + y.bytes();
  }
};

// Conv window and SSM state of one sequence in one layer.
class Mamba2State : public MixerState {
 public:
  Mamba2State(const Mamba2Config& mamba, DType ssm_type);  // kF32 or kBF16
  std::unique_ptr<MixerState> Snapshot() const override;
  bool CanTruncate() const override { return false; }
  void Truncate(size_t) override { PLANISH_CHECK(false, "a recurrent state cannot go back"); }
  size_t bytes() const override { return conv.bytes() + ssm.bytes(); }

  Tensor
      conv;  // [W-1, conv_dim] float: the convolution's last inputs, before the activation, oldest first
  Tensor ssm;  // [H, N, P] float or bf16

 private:
  Mamba2State() = default;
};

class Mamba2 : public Mixer {
 public:
  Mamba2(const ModelConfig& config, const Mamba2Config& mamba);
  void Forward(const Pass& pass, const float* x, float* y,
               std::unique_ptr<Saved>* saved) const override;
  void Backward(const Pass& pass, const float* x, const Saved& saved, const float* dy,
                float* dx) const override;
  void Step(const StepBatch& batch, const float* x, float* y, Workspace* workspace) const override;
  std::unique_ptr<MixerState> NewState(const StateTypes& types) const override {
    return std::make_unique<Mamba2State>(mamba_, types.ssm);
  }
  void VisitParams(const ParamVisitor& visit) override;
  void ParamsChanged() override;
  MixerCost Cost() const override { return CostOf(mamba_, hidden_size_); }

 private:
  SsmDims Dims() const {
    return {mamba_.n_heads, mamba_.head_dim, mamba_.state_size, mamba_.n_groups};
  }
  SsmLayer Layer() const;
  // Training, in mamba2_training.cc.
  struct SliceRows;
  static void TakeProjected(const ProductBlock& part, const SliceRows& rows, size_t zxbc_width,
                            size_t H, DType type);
  void ConvAndScan(const Pass& pass, const Mamba2Slice& slice, const SliceRows& rows,
                   const float* initial, float* final_state) const;
  void BackwardSlice(const Pass& pass, const Mamba2Slice& slice, const SliceRows& rows,
                     const float* x, const float* dy, const float* initial,
                     Mamba2Gradients* gradients, float* dx) const;
  void AddGradients(const Mamba2Gradients& gradients) const;

  Mamba2Config mamba_;
  size_t hidden_size_;
  float norm_eps_;
  Projection in_proj_;          // [2*d_in + 2*G*N + H, D]
  Projection out_proj_;         // [D, d_in]
  Tensor conv_weight_;          // [conv_dim, W] as stored
  Tensor conv_bias_;            // [conv_dim]
  Tensor a_log_, d_, dt_bias_;  // [H]
  Tensor norm_;                 // [d_in]
  // Gradients, shaped as the parameters.
  float *d_conv_weight_ = nullptr, *d_conv_bias_ = nullptr, *d_a_log_ = nullptr, *d_d_ = nullptr,
        *d_dt_bias_ = nullptr, *d_norm_ = nullptr;
  Tensor conv_taps_;  // [W, conv_dim], derived
  Tensor a_;          // [H] -exp(A_log), derived
};

}  // namespace planish
