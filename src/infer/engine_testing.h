// SPDX-License-Identifier: Apache-2.0
// For tests only: tiny models in exact and fast arithmetic, and what a request gave to the bit.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "base/random.h"
#include "infer/engine.h"
#include "model/pretrained.h"
#include "tensor/blocks.h"

namespace planish {

using Ids = std::vector<int32_t>;

// Models by name, opened once: a hybrid and a plain transformer.
inline const Model* TinyModel(const std::string& name) {
  static std::map<std::string, Pretrained> opened;
  const std::string folder = PLANISH_SOURCE_DIR "/tests/golden/models/" + name;
  if (!opened.contains(name)) opened[name] = OpenPretrained(folder, {.needs_tokenizer = false});
  return opened[name].model.get();
}

inline Ids RandomIds(const Model& model, size_t count, uint64_t seed) {
  Random random(seed);
  Ids ids(count);
  for (int32_t& id : ids) id = static_cast<int32_t>(random.Below(model.config().vocab_size));
  return ids;
}

// What a request gave, bit by bit.
struct Outcome {
  std::vector<int32_t> ids;
  std::vector<uint64_t> logprob_bits;
  FinishReason finish = FinishReason::kError;
  bool operator==(const Outcome&) const = default;
};

inline uint64_t Bits(double value) {
  uint64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

// Submits `request`; `outcome` is filled as it runs.
inline Engine::Id Start(Engine* engine, Request request, Outcome* outcome,
                        RequestResult* result = nullptr) {
  *outcome = {};
  request.on_token = [outcome](const TokenEvent& event) {
    outcome->ids.push_back(event.id);
    outcome->logprob_bits.push_back(Bits(event.logprob));
  };
  return engine->Submit(std::move(request), [outcome, result](const RequestResult& done) {
    EXPECT_EQ(done.ids, outcome->ids);
    outcome->finish = done.finish;
    if (result != nullptr) *result = done;
  });
}

inline Outcome RunAlone(const Model* model, const Request& request, EngineOptions options = {},
                        RequestResult* result = nullptr) {
  Engine engine(model, options);
  Outcome outcome;
  Start(&engine, request, &outcome, result);
  engine.RunUntilIdle();
  return outcome;
}

inline Request Greedy(std::vector<int32_t> prompt, size_t max_new_tokens) {
  Request request;
  request.prompt = std::move(prompt);
  request.max_new_tokens = max_new_tokens;
  request.sampling.temperature = 0;
  return request;
}

inline ModelConfig HybridConfig() {
  Mamba2Config mamba{.n_heads = 6,
                     .head_dim = 16,
                     .state_size = 32,
                     .n_groups = 2,
                     .conv_kernel = 4,
                     .chunk_size = 16};
  mamba.time_step_high = std::numeric_limits<double>::infinity();
  const AttentionConfig plain{.n_heads = 6, .n_kv_heads = 2, .head_dim = 16, .has_rope = false};
  AttentionConfig rotary = plain;
  rotary.has_rope = true;
  ModelConfig config;
  config.family = Family::kNemotronH;
  config.hidden_size = 64;
  config.vocab_size = 150;
  config.max_position = 4096;
  const MixerConfig mixers[] = {mamba,         FfnConfig{160, FfnKind::kReluSquared},
                                plain,         FfnConfig{96, FfnKind::kSwiGlu},
                                rotary,        mamba,
                                LinearConfig{}};
  for (const MixerConfig& mixer : mixers)
    config.blocks.push_back({config.blocks.size(), Slot::kWhole, mixer});
  config.n_layers = config.blocks.size();
  return config;
}

// Matrices of `dtype` (floats where rows do not fill its blocks), spread 1/sqrt(in).
inline Model RandomModel(DType dtype) {
  Model model(HybridConfig());
  Random random(7);
  model.VisitParams([&](const Param& param) {
    const size_t rows = param.shape[0], n = param.shape.elements(), width = n / rows;
    std::vector<float> values(n);
    const double scale =
        param.weight != nullptr ? 1.0 / std::sqrt(static_cast<double>(width)) : 0.5;
    for (float& value : values)
      value = static_cast<float>(random.Normal() * scale +
                                 (param.role == ParamRole::kNorm ? 1.0 : 0.0));
    if (param.weight == nullptr) {
      *param.vector = Tensor::F32(param.shape);
      std::copy(values.begin(), values.end(), param.vector->f32());
      return;
    }
    const DType type = width % Traits(dtype).block_elems == 0 ? dtype : DType::kF32;
    *param.weight = Weight(param.name, rows, width, type);
    for (size_t r = 0; r < rows; ++r) {
      QuantizeRow(type, values.data() + r * width,
                  param.weight->mutable_data() + r * param.weight->row_bytes(), width);
    }
  });
  model.ParamsChanged();
  return model;
}

// A hybrid and a plain transformer in exact arithmetic, hybrids in fast ones, where the bits of a row depend on cuts of the
// prompt and on its kind.
struct TestModel {
  const char* name;
  const char* golden;  // of the exact ones
  DType weights;
  RunMode run;
};
inline const TestModel kTestModels[] = {
    {"hybrid", "nemotron_h_a", {}, {}},
    {"transformer", "llama_a", {}, {}},
    {"hybrid_bf16",
     nullptr,
     DType::kBF16,
     {.act = ActMode::kBf16, .kv = DType::kF32, .ssm = DType::kBF16}},
    {"hybrid_int8", nullptr, DType::kQ8_0, {.act = ActMode::kInt8, .kv = {}, .ssm = {}}},
};
inline const Model& ModelFor(const TestModel& test) {
  if (test.golden != nullptr) return *TinyModel(test.golden);
  static std::map<std::string, Model> models;
  if (!models.contains(test.name)) {
    Model& model = models.emplace(test.name, RandomModel(test.weights)).first->second;
    ApplyRunMode(test.run, &model);
  }
  return models.at(test.name);
}

}  // namespace planish
