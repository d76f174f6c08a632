// SPDX-License-Identifier: Apache-2.0
// Every model and case found in the golden folder: logits, residual stream, states; from Hugging Face folders (both
// spellings of the config) and from GGUF files. Tolerances are those of the golden README.
#include <gtest/gtest.h>

#include <map>

#include "base/testing.h"
#include "model/attention.h"
#include "model/gguf_map.h"
#include "model/golden_case.h"
#include "model/mamba2.h"
#include "model/param_source.h"
#include "model/pretrained.h"
#include "tensor/safetensors.h"

namespace planish {
namespace {

using testing::ExpectNear;
using testing::GoldenCase;
using testing::GoldenDir;
using testing::HasGoldenCase;
using testing::Listing;
using testing::ReadGoldenCase;

constexpr float kLogitsTolerance = 1e-4f;
constexpr float kHiddenTolerance = 5e-5f;
constexpr float kStateTolerance = 5e-5f;

std::vector<float> LogitsByForward(const Model& model, const std::vector<int32_t>& ids,
                                   const Model::Observer& observer = nullptr,
                                   std::vector<float>* hidden_out = nullptr) {
  Workspace workspace;
  const size_t T = ids.size();
  std::vector<float> hidden(T * model.config().hidden_size), logits(T * model.config().vocab_size);
  model.Forward(ids, SeqLayout(T), hidden.data(), &workspace, observer);
  model.Head(hidden.data(), T, logits.data());
  if (hidden_out != nullptr) *hidden_out = hidden;
  return logits;
}

// The engine's path, with the sequence cut into slices of the given length.
std::vector<float> LogitsBySteps(const Model& model, const std::vector<int32_t>& ids, size_t slice,
                                 SequenceState* sequence) {
  Workspace workspace;
  const size_t D = model.config().hidden_size, V = model.config().vocab_size;
  std::vector<float> hidden(ids.size() * D), logits(ids.size() * V);
  for (size_t begin = 0; begin < ids.size(); begin += slice) {
    const size_t count = std::min(slice, ids.size() - begin);
    const StepRun run{0, count, sequence};
    model.Step(std::span(ids).subspan(begin, count), {&run, 1}, hidden.data() + begin * D,
               &workspace);
  }
  model.Head(hidden.data(), ids.size(), logits.data());
  return logits;
}

// The golden `hidden` has the embedding and then one entry a Hugging Face layer, whose last block decides.
void CheckHidden(const Model& model, const GoldenCase& expected) {
  const auto ids = expected.ids.at("ids_" + std::to_string(expected.hidden_for_len));
  const ModelConfig& config = model.config();
  const size_t size = ids.size() * config.hidden_size;
  std::vector<std::vector<float>> stream(config.n_layers + 1);
  const auto observe = [&](int block, const float* h) {
    const size_t from = block < 0 ? 0 : config.blocks[static_cast<size_t>(block)].layer + 1;
    for (size_t layer = from; layer < stream.size(); ++layer) stream[layer].assign(h, h + size);
  };
  std::vector<float> final_norm;
  LogitsByForward(model, ids, observe, &final_norm);
  const Tensor& hidden = expected.tensors.at("hidden");
  ASSERT_EQ(hidden.shape()[0], stream.size());
  for (size_t layer = 0; layer < stream.size(); ++layer) {
    Tensor part = Tensor::F32({size});
    std::memcpy(part.data(), hidden.f32() + layer * size, part.bytes());
    ExpectNear(stream[layer].data(), part, kHiddenTolerance,
               "residual stream after layer " + std::to_string(layer));
  }
  ExpectNear(final_norm.data(), expected.tensors.at("final_norm"), kHiddenTolerance, "final norm");
}

void CheckStates(const Model& model, const GoldenCase& expected) {
  SequenceState sequence = model.NewSequence();
  LogitsBySteps(model, expected.ids.at("greedy_prompt"), 5, &sequence);
  for (size_t block = 0; block < model.config().blocks.size(); ++block) {
    const auto* mamba = std::get_if<Mamba2Config>(&model.config().blocks[block].mixer);
    if (mamba == nullptr) continue;
    const auto& state = static_cast<const Mamba2State&>(*sequence.block(block));
    const std::string layer = std::to_string(model.config().blocks[block].layer);
    // The golden state is [H, P, N].
    const size_t P = mamba->head_dim, N = mamba->state_size;
    Tensor ssm = Tensor::F32({mamba->n_heads, P, N});
    for (size_t i = 0; i < ssm.elements(); ++i)
      ssm.f32()[i] = state.ssm.f32()[(i / (P * N) * N + i % N) * P + i / N % P];
    ExpectNear(ssm.f32(), expected.tensors.at("prefill_ssm_state_" + layer), kStateTolerance,
               "SSM state of layer " + layer);
    // The golden window has one column more than is needed, [conv_dim, W], newest last.
    const Tensor& window = expected.tensors.at("prefill_conv_state_" + layer);
    const size_t W = mamba->conv_kernel, C = mamba->conv_dim();
    Tensor needed = Tensor::F32({W - 1, C});
    for (size_t t = 0; t + 1 < W; ++t) {
      for (size_t c = 0; c < C; ++c) needed.row(t)[c] = window.f32()[c * W + t + 1];
    }
    ExpectNear(state.conv.f32(), needed, kStateTolerance, "conv window of layer " + layer);
  }
}

void CheckLogits(const Model& model, const GoldenCase& expected) {
  for (const auto& [name, ids] : expected.ids) {
    if (!name.starts_with("ids_")) continue;
    const Tensor& logits = expected.tensors.at("logits_" + name.substr(4));
    ExpectNear(LogitsByForward(model, ids).data(), logits, kLogitsTolerance, "forward, " + name);
    for (const size_t slice : {size_t{1}, size_t{7}, size_t{32}}) {
      SequenceState sequence = model.NewSequence();
      ExpectNear(LogitsBySteps(model, ids, slice, &sequence).data(), logits, kLogitsTolerance,
                 "steps of " + std::to_string(slice) + ", " + name);
    }
  }
}

TEST(ModelGolden, HuggingFaceFoldersGiveReferenceLogitsHiddenStatesAndRecurrentStates) {
  size_t checked = 0;
  for (const std::string& name : Listing(GoldenDir() + "/models")) {
    if (!HasGoldenCase(name)) continue;
    SCOPED_TRACE(name);
    const GoldenCase expected = ReadGoldenCase(name);
    const Pretrained opened =
        OpenPretrained(GoldenDir() + "/models/" + name, {.needs_tokenizer = false});
    CheckLogits(*opened.model, expected);
    CheckHidden(*opened.model, expected);
    CheckStates(*opened.model, expected);
    ++checked;
  }
  if (checked == 0)
    GTEST_SKIP() << "no models under " << GoldenDir() << "/models: set PLANISH_GOLDEN";
}

TEST(ModelGolden, PublishedConfigSpellingGivesTheSameModel) {
  size_t checked = 0;
  for (const std::string& name : Listing(GoldenDir() + "/models")) {
    const std::string folder = GoldenDir() + "/models/" + name;
    if (!FileExists(folder + "/config.published.json")) continue;
    SCOPED_TRACE(name);
    const ModelConfig saved = ReadConfig(folder),
                      published = ReadConfig(folder + "/config.published.json");
    EXPECT_EQ(saved.blocks, published.blocks);
    EXPECT_EQ(saved.norm_eps, published.norm_eps);
    EXPECT_EQ(saved.tie_embeddings, published.tie_embeddings);
    EXPECT_EQ(saved.rope_theta, published.rope_theta);
    EXPECT_EQ(saved.rope_scaling.kind, published.rope_scaling.kind);
    EXPECT_EQ(saved.rope_scaling.factor, published.rope_scaling.factor);
    EXPECT_EQ(saved.vocab_size, published.vocab_size);
    EXPECT_EQ(saved.dtype, published.dtype);
    Model model(published);
    FillParams(name,
               HfParamSource(ReadSafetensorsFolder(folder, FileBytes::Access::kMap), Json()).get(),
               &model);
    CheckLogits(model, ReadGoldenCase(name));
    ++checked;
  }
  if (checked == 0)
    GTEST_SKIP() << "no config.published.json under " << GoldenDir()
                 << "/models: set PLANISH_GOLDEN";
}

TEST(ModelGolden, GgufFilesGiveReferenceLogits) {
  const std::string folder = GoldenDir() + "/gguf";
  std::map<std::string, Tensor> rounded;
  if (FileExists(folder + "/weight_rounded_logits.safetensors")) {
    for (const StoredTensor& tensor :
         ReadSafetensors(folder + "/weight_rounded_logits.safetensors", FileBytes::Access::kRead)
             .tensors) {
      rounded[tensor.name] = Tensor::ToF32(tensor.view);
    }
  }
  size_t checked = 0;
  for (const std::string& file : Listing(folder, ".gguf")) {
    SCOPED_TRACE(file);
    const std::string stem = file.substr(0, file.size() - 5),
                      name = stem.substr(0, stem.rfind('.'));
    if (!HasGoldenCase(name)) continue;
    const GoldenCase expected = ReadGoldenCase(name);
    const Pretrained opened = OpenPretrained(folder + "/" + file);
    if (stem.ends_with(".f32")) CheckLogits(*opened.model, expected), ++checked;
    for (const auto& [key, logits] : rounded) {
      if (!key.starts_with(stem + ".logits_")) continue;
      const auto& ids = expected.ids.at("ids_" + key.substr(stem.size() + 8));
      ExpectNear(LogitsByForward(*opened.model, ids).data(), logits, kLogitsTolerance,
                 "forward, " + key);
      SequenceState sequence = opened.model->NewSequence();
      ExpectNear(LogitsBySteps(*opened.model, ids, 1, &sequence).data(), logits, kLogitsTolerance,
                 "single steps, " + key);
      ++checked;
    }
  }
  if (checked == 0) GTEST_SKIP() << "no GGUF files under " << folder << ": set PLANISH_GOLDEN";
}

}  // namespace
}  // namespace planish
