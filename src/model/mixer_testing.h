// SPDX-License-Identifier: Apache-2.0
// Every registered kind of mixer with random parameters, for the property tests. Included by *_test.cc only.
#pragma once

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "model/registry.h"

namespace planish {

inline constexpr size_t kMixerTestHidden = 48;

struct MixerKind {
  std::string name;
  MixerConfig config;
  StateTypes types = {};
};

inline std::vector<MixerKind> MixerKinds() {
  Mamba2Config mamba{.n_heads = 6,
                     .head_dim = 8,
                     .state_size = 12,
                     .n_groups = 3,
                     .conv_kernel = 4,
                     .chunk_size = 8};
  mamba.time_step_high = std::numeric_limits<double>::infinity();
  Mamba2Config narrow = mamba;
  narrow.conv_kernel = 2;
  narrow.has_conv_bias = false;
  narrow.n_groups = 1;
  narrow.chunk_size = 1;
  AttentionConfig plain{.n_heads = 4, .n_kv_heads = 2, .head_dim = 10, .has_rope = false};
  AttentionConfig rotary = plain;
  rotary.has_rope = true;
  AttentionConfig normed = rotary;
  normed.has_qk_norm = true;
  normed.n_kv_heads = 4;
  AttentionConfig wide = rotary;  // whole groups of q8_0
  wide.head_dim = 32;
  return {{"mamba2", mamba},
          {"mamba2 narrow", narrow},
          {"attention", plain},
          {"attention rope", rotary},
          {"attention qk norm", normed},
          {"attention kv bf16", rotary, {.kv = DType::kBF16}},
          {"attention kv f16", plain, {.kv = DType::kF16}},
          {"attention kv q8_0", wide, {.kv = DType::kQ8_0}},
          {"ffn swiglu", FfnConfig{40, FfnKind::kSwiGlu}},
          {"ffn relu2", FfnConfig{40, FfnKind::kReluSquared}},
          {"linear", LinearConfig{}}};
}

// Those that differ in training: each kind once, whatever its states.
inline std::vector<MixerKind> TrainableMixerKinds() {
  std::vector<MixerKind> kinds;
  for (const MixerKind& kind : MixerKinds()) {
    if (kind.types.kv == DType::kF32) kinds.push_back(kind);
  }
  return kinds;
}

// With random parameters: matrices of spread 1/sqrt(in), everything else as random as its role allows.
inline std::unique_ptr<Mixer> RandomMixer(const MixerConfig& config, uint64_t seed) {
  ModelConfig model;
  model.hidden_size = kMixerTestHidden;
  std::unique_ptr<Mixer> mixer = MakeMixer(model, config);
  Random random(seed);
  mixer->VisitParams([&](const Param& param) {
    const size_t n = param.shape.elements();
    float* values;
    if (param.weight != nullptr) {
      *param.weight = Weight(param.name, param.shape[0], param.shape[1]);
      values = reinterpret_cast<float*>(param.weight->mutable_data());
    } else {
      *param.vector = Tensor::F32(param.shape);
      values = param.vector->f32();
    }
    const double scale =
        param.weight != nullptr ? 1.0 / std::sqrt(static_cast<double>(param.shape[1])) : 0.5;
    for (size_t i = 0; i < n; ++i)
      values[i] = static_cast<float>(random.Normal() * scale +
                                     (param.role == ParamRole::kNorm ? 1.0 : 0.0));
  });
  mixer->ParamsChanged();
  return mixer;
}

inline std::vector<float> RandomRows(size_t T, uint64_t seed) {
  Random random(seed);
  std::vector<float> rows(T * kMixerTestHidden);
  for (float& value : rows) value = static_cast<float>(random.Normal());
  return rows;
}

}  // namespace planish
