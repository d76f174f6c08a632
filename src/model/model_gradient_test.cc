// SPDX-License-Identifier: Apache-2.0
// Gradients of whole models: the golden ones of every case there is, and that computing blocks again changes no bit.
#include <gtest/gtest.h>

#include <filesystem>

#include "model/golden_case.h"
#include "model/masters.h"
#include "model/pretrained.h"

namespace planish {
namespace {

using Gradients = std::map<std::string, Tensor>;

// Zeroed buffers for all parameters.
Gradients BindGradients(Model* model) {
  Gradients gradients;
  model->VisitParams([&](const Param& param) {
    gradients[param.name] = Tensor::ZerosF32(param.shape);
    *param.grad = gradients[param.name].f32();
  });
  return gradients;
}

struct Batch {
  std::vector<int32_t> ids;
  std::vector<int32_t> targets;  // of every position, -100: none
  SeqLayout layout{1};
};

// Mean cross entropy over the kept targets, in double; all gradients are added.
double LossAndGradients(const Model& model, const Batch& batch, Precision precision,
                        const Recompute& recompute) {
  const size_t T = batch.layout.tokens(), D = model.config().hidden_size,
               V = model.config().vocab_size;
  Workspace workspace;
  const Pass pass{.layout = batch.layout, .workspace = &workspace, .precision = precision};
  std::vector<float> hidden(T * D), logits(T * V), d_hidden(T * D);
  Activations kept;
  model.Forward(pass, batch.ids, hidden.data(), recompute, &kept);
  model.Head(hidden.data(), T, logits.data());
  const auto* head = reinterpret_cast<const float*>(model.head().data());
  const auto count = static_cast<double>(
      std::count_if(batch.targets.begin(), batch.targets.end(), [](int32_t t) { return t >= 0; }));
  double loss = 0;
  for (size_t t = 0; t < T; ++t) {
    if (batch.targets[t] < 0) continue;
    const float* row = logits.data() + t * V;
    const double top = *std::max_element(row, row + V);
    double sum = 0;
    for (size_t v = 0; v < V; ++v) sum += std::exp(row[v] - top);
    loss += (top + std::log(sum) - row[batch.targets[t]]) / count;
    std::vector<double> d(D);
    for (size_t v = 0; v < V; ++v) {
      const double p = std::exp(row[v] - top) / sum;
      const double dlogit = (p - (static_cast<int32_t>(v) == batch.targets[t])) / count;
      for (size_t i = 0; i < D; ++i) {
        d[i] += dlogit * head[v * D + i];
        model.head_grad()[v * D + i] += static_cast<float>(dlogit * hidden[t * D + i]);
      }
    }
    for (size_t i = 0; i < D; ++i) d_hidden[t * D + i] = static_cast<float>(d[i]);
  }
  model.Backward(pass, batch.ids, &kept, d_hidden.data());
  return loss;
}

Batch ReadBatch(const std::string& path) {
  std::map<std::string, std::vector<int32_t>> ids;
  Shape shape;
  for (const StoredTensor& tensor : ReadSafetensors(path, FileBytes::Access::kRead).tensors) {
    shape = tensor.view.shape;
    ids[tensor.name].resize(tensor.view.elements());
    std::memcpy(ids[tensor.name].data(), tensor.view.data, tensor.view.bytes());
  }
  Batch batch{.ids = ids.at("input_ids"),
              .targets = {},
              .layout = SeqLayout::Packed(std::vector<size_t>(shape[0], shape[1]))};
  const std::vector<int32_t>& labels = ids.at("labels");
  for (size_t i = 0; i < labels.size(); ++i)
    batch.targets.push_back((i + 1) % shape[1] == 0 ? -100 : labels[i + 1]);
  return batch;
}

std::vector<std::string> GoldenTrainCases() {
  std::vector<std::string> names;
  const std::filesystem::path dir = testing::GoldenDir() + "/train";
  if (!std::filesystem::exists(dir)) return names;
  for (const auto& entry : std::filesystem::directory_iterator(dir)) {
    const std::string file = entry.path().filename();
    if (file.ends_with(".grads.safetensors")) names.push_back(file.substr(0, file.find('.')));
  }
  std::sort(names.begin(), names.end());
  return names;
}

TEST(ModelGradientGolden, LossAndEveryGradientAgreeWithAutograd) {
  size_t checked = 0;
  for (const std::string& name : GoldenTrainCases()) {
    SCOPED_TRACE(name);
    const std::string prefix = testing::GoldenDir() + "/train/" + name;
    if (!FileExists(testing::GoldenDir() + "/models/" + name + "/config.json")) continue;
    Pretrained opened =
        OpenPretrained(testing::GoldenDir() + "/models/" + name, {.needs_tokenizer = false});
    HoldMasters(opened.model.get());
    const Batch batch = ReadBatch(prefix + ".batch.safetensors");
    const Gradients found = BindGradients(opened.model.get());
    const double loss = LossAndGradients(*opened.model, batch, Precision::kF32, {});
    const Json json = ParseJson(ReadFile(prefix + ".json", 1 << 20), prefix + ".json");
    EXPECT_NEAR(loss,
                json.Find("losses_before_each_step_and_after_last")->AsArray().at(0).AsDouble(),
                1e-5);
    for (const StoredTensor& tensor :
         ReadSafetensors(prefix + ".grads.safetensors", FileBytes::Access::kRead).tensors) {
      const Tensor want = Tensor::ToF32(tensor.view);
      ASSERT_TRUE(found.contains(tensor.name)) << tensor.name;
      double difference = 0, norm = 0;
      for (size_t i = 0; i < want.elements(); ++i) {
        const double w = want.f32()[i];
        difference += std::pow(found.at(tensor.name).f32()[i] - w, 2);
        norm += w * w;
      }
      EXPECT_LE(std::sqrt(difference / norm), 1e-4) << tensor.name;  // golden/README.md, Training
      ++checked;
    }
  }
  if (checked == 0) GTEST_SKIP() << "no golden training cases";
}

TEST(ModelGradient, ComputingBlocksAgainChangesNoBit) {
  for (const std::string name : {"nemotron_h_a", "deci_a"}) {
    const std::string path = testing::GoldenDir() + "/models/" + name;
    if (!FileExists(path + "/config.json")) GTEST_SKIP() << "no golden models";
    Pretrained opened = OpenPretrained(path, {.needs_tokenizer = false});
    HoldMasters(opened.model.get());
    Batch batch{.ids = {}, .targets = {}, .layout = SeqLayout::Packed({70, 1, 29})};
    for (size_t t = 0; t < 100; ++t) {
      batch.ids.push_back(static_cast<int32_t>(t * 37 % 512));
      batch.targets.push_back(static_cast<int32_t>(t * 37 % 499));
    }
    for (const Precision precision : {Precision::kF32, Precision::kBf16}) {
      std::vector<Gradients> all;
      using Kind = Recompute::Kind;
      for (const Recompute& recompute :
           {Recompute{Kind::kNone}, Recompute{Kind::kSelective}, Recompute{Kind::kFull, 1},
            Recompute{Kind::kFull, 3}, Recompute{Kind::kFull, 100}}) {
        all.push_back(BindGradients(opened.model.get()));
        LossAndGradients(*opened.model, batch, precision, recompute);
      }
      for (const Gradients& gradients : all) {
        for (const auto& [tensor, gradient] : gradients) {
          EXPECT_EQ(std::memcmp(gradient.data(), all[0].at(tensor).data(), gradient.bytes()), 0)
              << name << " " << tensor;
        }
      }
    }
  }
}

}  // namespace
}  // namespace planish
