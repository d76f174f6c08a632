// SPDX-License-Identifier: Apache-2.0
// Three steps of the whole training path, batch to weights, against the golden run of torch: forward, head and loss, backward,
// norm, clip, AdamW with its groups. Case names and tolerances: golden/README.md, `train/`.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "model/golden_case.h"
#include "model/masters.h"
#include "model/pretrained.h"
#include "train/grad_norm.h"
#include "train/micro_pass.h"
#include "train/optimizer.h"

namespace planish {
namespace {

std::vector<std::string> Cases() {
  std::vector<std::string> names;
  const std::filesystem::path dir = testing::GoldenDir() + "/train";
  if (!std::filesystem::exists(dir)) return names;
  for (const auto& entry : std::filesystem::directory_iterator(dir)) {
    const std::string name = entry.path().filename().stem().stem();
    if (!entry.path().string().ends_with(".after3.safetensors")) continue;
    if (FileExists(testing::GoldenDir() + "/models/" + name + "/config.json"))
      names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

// Labels stand unshifted: position t predicts label t + 1 of its row, -100 counts not.
TokenBatch ReadBatch(const std::string& path) {
  std::map<std::string, std::vector<int32_t>> ids;
  Shape shape;  // [rows, row tokens]
  for (const StoredTensor& tensor : ReadSafetensors(path, FileBytes::Access::kRead).tensors) {
    shape = tensor.view.shape;
    ids[tensor.name].resize(tensor.view.elements());
    std::memcpy(ids[tensor.name].data(), tensor.view.data, tensor.view.bytes());
  }
  const size_t T = shape.elements(), row = shape[1];
  TokenBatch batch{.ids = ids.at("input_ids"),
                   .targets = std::vector<TokenId>(T),
                   .weights = std::vector<uint8_t>(T),
                   .document_lengths = std::vector<size_t>(shape[0], row),
                   .rows = {}};
  for (size_t t = 0; t < T; ++t) {
    const int32_t label = (t + 1) % row == 0 ? -100 : ids.at("labels")[t + 1];
    batch.targets[t] = std::max(label, 0);
    batch.weights[t] = label >= 0;
  }
  for (size_t r = 0; r < shape[0]; ++r) batch.rows.push_back({r, 0, static_cast<uint32_t>(row)});
  return batch;
}

double Loss(const LossSums& sums) { return sums.ce / static_cast<double>(sums.kept); }

TEST(TrainGolden, LossesNormsAndWeightsOfThreeStepsAgreeWithTorch) {
  if (Cases().empty()) GTEST_SKIP() << "no golden training cases";
  for (const std::string& name : Cases()) {
    SCOPED_TRACE(name);
    const std::string prefix = testing::GoldenDir() + "/train/" + name;
    const Json json = ParseJson(ReadFile(prefix + ".json", 1 << 20), prefix + ".json");
    const Json& adamw = *json.Find("optimizer");
    const auto number = [&](const char* key) { return adamw.Find(key)->AsDouble(); };
    const auto entry = [&](const char* key, size_t i) {
      return json.Find(key)->AsArray().at(i).AsDouble();
    };
    Pretrained opened =
        OpenPretrained(testing::GoldenDir() + "/models/" + name, {.needs_tokenizer = false});
    HoldMasters(opened.model.get());
    FlatParams flat(opened.model.get());
    OptimizerConfig config{.weight_decay = number("weight_decay")};
    config.adamw = {.beta1 = adamw.Find("betas")->AsArray().at(0).AsDouble(),
                    .beta2 = adamw.Find("betas")->AsArray().at(1).AsDouble(),
                    .epsilon = number("eps")};
    Optimizer optimizer(&flat, config, flat.all());
    MicroPass pass(opened.model.get(), {.precision = Precision::kF32}, 1);
    const TokenBatch batch = ReadBatch(prefix + ".batch.safetensors");
    const auto steps = static_cast<size_t>(number("steps"));
    for (size_t step = 0; step < steps; ++step) {
      std::vector<float> gradients(flat.size());
      flat.BindGradients(gradients.data());
      StepTimes times;
      const MicroResult result = pass.Train(batch, &times);
      EXPECT_NEAR(Loss(result.loss), entry("losses_before_each_step_and_after_last", step), 1e-5);
      const double mean = 1 / static_cast<double>(result.loss.kept);
      const double norm = mean * NormOf(flat, ChunkSquares(flat, flat.all(), gradients.data()));
      EXPECT_NEAR(norm / entry("grad_norm_before_clip", step), 1, 1e-5);
      optimizer.Step(gradients.data(), mean * ClipFactor(norm, number("grad_clip")), number("lr"));
      flat.ValuesChanged();
    }
    EXPECT_NEAR(Loss(pass.Evaluate(batch).loss),
                entry("losses_before_each_step_and_after_last", steps), 1e-5);
    std::map<std::string, const FlatParams::Entry*> entries;
    for (const FlatParams::Entry& param : flat.entries()) entries[param.name] = &param;
    const SafetensorsFile after =
        ReadSafetensors(prefix + ".after3.safetensors", FileBytes::Access::kRead);
    EXPECT_EQ(after.tensors.size(), entries.size());
    for (const StoredTensor& tensor : after.tensors) {
      ASSERT_TRUE(entries.contains(tensor.name)) << tensor.name;
      const Tensor want = Tensor::ToF32(tensor.view);
      ASSERT_EQ(want.elements(), entries[tensor.name]->elements) << tensor.name;
      double sum = 0, most = 0;
      for (size_t i = 0; i < want.elements(); ++i) {
        const double error =
            std::abs(static_cast<double>(entries[tensor.name]->value[i]) - want.f32()[i]);
        sum += error;
        most = std::max(most, error);
      }
      EXPECT_LE(most, 3e-4) << tensor.name;
      EXPECT_LE(sum / static_cast<double>(want.elements()), 1e-6) << tensor.name;
    }
  }
}

}  // namespace
}  // namespace planish
