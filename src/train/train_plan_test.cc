// SPDX-License-Identifier: Apache-2.0
#include "train/train_plan.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "model/adapter.h"
#include "model/masters.h"
#include "model/pretrained.h"
#include "train/flat_params.h"
#include "train/loss.h"
#include "train/train_testing.h"

namespace planish {
namespace {

struct Measured {
  uint64_t kept = 0, workspace = 0;
};

// One pass of `lengths` forward, loss and back.
Measured MeasurePass(Model* model, const TrainPlanRequest& request,
                     const std::vector<size_t>& lengths, FlatParams* flat) {
  const size_t T = request.micro_tokens, D = model->config().hidden_size,
               V = model->config().vocab_size;
  std::vector<float> gradients(flat->size());
  flat->BindGradients(gradients.data());
  const SeqLayout layout = SeqLayout::Packed(lengths);
  Workspace workspace;
  workspace.Reserve(size_t{1} << 28);  // in one piece: what is taken is what is counted
  const Pass pass{.layout = layout, .workspace = &workspace, .precision = request.precision};
  std::vector<int32_t> ids(T), targets(T);
  for (size_t t = 0; t < T; ++t) ids[t] = targets[t] = static_cast<int32_t>(t * 37 % V);
  std::vector<float> hidden(T * D), d_hidden(T * D);
  Activations kept;
  model->Forward(pass, ids, hidden.data(), request.recompute, &kept);
  Measured measured{.kept = kept.bytes()};
  LossAndGradient({.hidden = hidden.data(),
                   .head = &model->head(),
                   .targets = targets.data(),
                   .T = T,
                   .precision = request.precision,
                   .workspace = &workspace},
                  nullptr, d_hidden.data(), model->head_grad());
  model->Backward(pass, ids, &kept, d_hidden.data());
  measured.workspace = workspace.peak_bytes();
  return measured;
}

std::vector<TrainPlanRequest> Requests(uint64_t tokens) {
  std::vector<TrainPlanRequest> requests;
  for (const Precision precision : {Precision::kF32, Precision::kBf16}) {
    for (const Recompute& recompute :
         {Recompute{Recompute::Kind::kNone, 1}, Recompute{Recompute::Kind::kSelective, 1},
          Recompute{Recompute::Kind::kFull, 1}, Recompute{Recompute::Kind::kFull, 3}})
      requests.push_back({.micro_tokens = tokens, .precision = precision, .recompute = recompute});
  }
  return requests;
}

// A hybrid of every kind of block, wide enough that slices of Mamba-2 are cut within documents.
ModelConfig ConfigOf(const std::string& pattern, size_t intermediate) {
  Json json = ParseJson(testing::kTinyConfig, "config");
  json.Set("hybrid_override_pattern", pattern);
  json.Set("num_hidden_layers", static_cast<int64_t>(pattern.size()));
  json.Set("intermediate_size", static_cast<int64_t>(intermediate));
  return ConfigFromJson(json, "config");
}

Pretrained MakeModel(const testing::TemporaryDir& dir, const ModelConfig& config) {
  WriteFile(dir / "config.json", DumpJson(ConfigToJson(config)));
  return OpenForTraining({.config = dir / "config.json"}, 1);
}

TEST(TrainPlan, KeptRowsAndWorkspaceAreThoseOfTheRealPassToTheByte) {
  const testing::TemporaryDir dir;
  for (const auto& [pattern, intermediate] :
       {std::pair<std::string, size_t>{"M-*-M", 48}, {"M", 16}, {"*", 16}, {"--", 400}}) {
    const Pretrained made = MakeModel(dir, ConfigOf(pattern, intermediate));
    FlatParams flat(made.model.get());
    for (const TrainPlanRequest& request : Requests(70)) {
      SCOPED_TRACE(fmt::format("{} precision {} recompute {} every {}", pattern,
                               static_cast<int>(request.precision),
                               static_cast<int>(request.recompute.kind), request.recompute.every));
      const Measured measured = MeasurePass(made.model.get(), request, {70}, &flat);
      EXPECT_EQ(measured.kept, KeptBytes(made.config, request));
      EXPECT_EQ(measured.workspace, PlanTraining(made.config, request).workspace);
    }
  }
}

TEST(TrainPlan, FamiliesWithGatedFfnAndQkNormToo) {
  for (const std::string name : {"llama_a", "qwen3_a", "deci_a"}) {
    const std::string path = testing::GoldenDir() + "/models/" + name;
    if (!FileExists(path + "/config.json")) GTEST_SKIP() << "no golden models";
    Pretrained opened = OpenPretrained(path, {.needs_tokenizer = false});
    HoldMasters(opened.model.get());
    FlatParams flat(opened.model.get());
    for (const TrainPlanRequest& request : Requests(50)) {
      SCOPED_TRACE(fmt::format("{} {}", name, static_cast<int>(request.recompute.kind)));
      const Measured measured = MeasurePass(opened.model.get(), request, {20, 30}, &flat);
      EXPECT_EQ(measured.kept, KeptBytes(opened.config, request));
      EXPECT_EQ(measured.workspace, PlanTraining(opened.config, request).workspace);
    }
  }
}

TEST(TrainPlan, FlatSpacesAreThoseOfTheTrainer) {
  const testing::TemporaryDir dir;
  const Pretrained made = MakeModel(dir, ConfigOf("M-*-", 48));
  EXPECT_EQ(PlanTraining(made.config, {.micro_tokens = 8}).trained,
            FlatParams(made.model.get()).size());
  for (const std::vector<std::string>& modules :
       {std::vector<std::string>{}, {"in_proj", "q_proj"}}) {
    const Pretrained adapted = MakeModel(dir, ConfigOf("M-*-", 48));
    AddAdapters(adapted.model.get(), {.rank = 5, .target_modules = modules}, 1);
    FlatParams flat(adapted.model.get(),
                    [](const Param& param) { return param.role == ParamRole::kAdapter; });
    const TrainPlanRequest request{
        .micro_tokens = 40, .lora_rank = 5, .lora_modules = modules, .base_bytes = 1 << 20};
    const TrainPlan plan = PlanTraining(adapted.config, request);
    EXPECT_EQ(plan.trained, flat.size());
    EXPECT_EQ(plan.moments, 8 * flat.size());
    const Measured measured = MeasurePass(adapted.model.get(), request, {40}, &flat);
    EXPECT_GE(plan.workspace, measured.workspace);
    EXPECT_LE(plan.workspace, measured.workspace + 4 * 40 * 5 + 2 * 32 * 264);
  }
}

}  // namespace
}  // namespace planish
