// SPDX-License-Identifier: Apache-2.0
#include "model/adapter.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/random.h"
#include "base/testing.h"
#include "model/masters.h"
#include "model/pretrained.h"
#include "model/projection.h"
#include "tensor/safetensors.h"

namespace planish {
namespace {

Pretrained OpenGolden(const std::string& name) {
  return OpenPretrained(testing::GoldenDir() + "/models/" + name, {.needs_tokenizer = false});
}

// Random values in both matrices of every adapter, small beside the weights.
void Randomise(Model* model) {
  Random random(3);
  model->VisitParams([&](const Param& param) {
    if (param.role != ParamRole::kAdapter) return;
    auto* values = reinterpret_cast<float*>(param.weight->mutable_data());
    for (size_t i = 0; i < param.shape.elements(); ++i)
      values[i] = static_cast<float>(0.1 * random.Normal());
  });
}

std::vector<float> Hidden(const Model& model, const Pass* training = nullptr) {
  std::vector<int32_t> ids(40);
  for (size_t t = 0; t < ids.size(); ++t) ids[t] = static_cast<int32_t>(t * 71 % 512);
  std::vector<float> hidden(ids.size() * model.config().hidden_size);
  Workspace workspace;
  const SeqLayout layout(ids.size());
  if (training == nullptr) {
    SequenceState state = model.NewSequence();
    const StepRun run{0, ids.size(), &state};
    model.Step(ids, {&run, 1}, hidden.data(), &workspace);
  } else {
    model.Forward({.layout = layout, .workspace = &workspace, .precision = training->precision},
                  ids, hidden.data(), {}, nullptr);
  }
  return hidden;
}

double Distance(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(a[i] - b[i], 2);
    norm += std::pow(b[i], 2);
  }
  return std::sqrt(difference / norm);
}

TEST(Adapter, AFreshOneChangesNothingAndAMergedOneEqualsAnAddedOne) {
  const SeqLayout layout(40);
  const Pass exact{.layout = layout};
  for (const std::string name : {"nemotron_h_a", "qwen3_a", "deci_a"}) {
    SCOPED_TRACE(name);
    if (!FileExists(testing::GoldenDir() + "/models/" + name + "/config.json"))
      GTEST_SKIP() << "no golden models";
    Pretrained opened = OpenGolden(name);
    Model* model = opened.model.get();
    const std::vector<float> base = Hidden(*model);
    AddAdapters(model, {.rank = 3, .alpha = 6, .target_modules = {}}, 1);
    EXPECT_TRUE(HasAdapters(model));
    EXPECT_EQ(Hidden(*model), base);
    Randomise(model);
    const std::vector<float> added = Hidden(*model), forward = Hidden(*model, &exact);
    EXPECT_GT(Distance(added, base), 1e-2);
    EXPECT_LT(Distance(forward, added), 1e-5);
    MergeAdapters(model);
    EXPECT_FALSE(HasAdapters(model));
    EXPECT_LT(Distance(Hidden(*model), added), 1e-5);
  }
}

TEST(Adapter, AFolderHoldsTheSameAdapterInEitherSpelling) {
  if (!FileExists(testing::GoldenDir() + "/models/nemotron_h_a/config.json"))
    GTEST_SKIP() << "no golden models";
  const testing::TemporaryDir dir;
  Pretrained first = OpenGolden("nemotron_h_a"), second = OpenGolden("nemotron_h_a");
  const AdapterConfig config{.rank = 4,
                             .alpha = 5,
                             .target_modules = {"in_proj", "out_proj", "q_proj"},
                             .base_model = "x"};
  AddAdapters(first.model.get(), config, 1);
  Randomise(first.model.get());
  SaveAdapter(dir.path() + "/a", first.model.get(), config);
  const AdapterConfig read = LoadAdapter(dir.path() + "/a", second.model.get());
  EXPECT_EQ(read.rank, 4u);
  EXPECT_EQ(read.alpha, 5);
  EXPECT_EQ(read.base_model, "x");
  EXPECT_EQ(Hidden(*second.model), Hidden(*first.model));

  // As transformers names the modules in memory.
  std::vector<TensorToWrite> tensors;
  const SafetensorsFile file =
      ReadSafetensors(dir.path() + "/a/adapter_model.safetensors", FileBytes::Access::kRead);
  for (const StoredTensor& tensor : file.tensors) {
    std::string name = tensor.name;
    name.replace(name.find("backbone."), 9, "model.");
    tensors.push_back(ToWrite(name, tensor.view));
  }
  WriteSafetensors(dir.path() + "/a/adapter_model.safetensors", tensors);
  Pretrained third = OpenGolden("nemotron_h_a");
  LoadAdapter(dir.path() + "/a", third.model.get());
  EXPECT_EQ(Hidden(*third.model), Hidden(*first.model));
}

std::string ErrorOf(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Adapter, WhatDoesNotFitIsNamed) {
  if (!FileExists(testing::GoldenDir() + "/models/llama_a/config.json"))
    GTEST_SKIP() << "no golden models";
  const testing::TemporaryDir dir;
  Pretrained llama = OpenGolden("llama_a"), hybrid = OpenGolden("nemotron_h_a");
  EXPECT_NE(ErrorOf([&] {
              AddAdapters(llama.model.get(), {.target_modules = {"q_proj", "in_proj"}}, 1);
            }).find("no projection called 'in_proj'"),
            std::string::npos);
  const AdapterConfig config{.rank = 2, .target_modules = {"q_proj"}};
  Pretrained other = OpenGolden("llama_a");
  AddAdapters(other.model.get(), config, 1);
  SaveAdapter(dir.path(), other.model.get(), config);
  EXPECT_NE(
      ErrorOf([&] { LoadAdapter(dir.path(), hybrid.model.get()); }).find("fits no projection"),
      std::string::npos);
  const std::string path = dir.path() + "/adapter_config.json";
  const std::string good = ReadFile(path, 1 << 20);
  for (const auto& [key, value] : {std::pair<std::string, std::string>{"use_dora", "true"},
                                   {"peft_type", "\"IA3\""},
                                   {"modules_to_save", "[\"lm_head\"]"},
                                   {"r", "0"}}) {
    Json json = ParseJson(good, path);
    json.Set(key, ParseJson(value, "value"));
    WriteFile(path, DumpJson(json));
    EXPECT_NE(ErrorOf([&] { LoadAdapter(dir.path(), other.model.get()); }).find(key),
              std::string::npos)
        << key;
  }
}

}  // namespace
}  // namespace planish
