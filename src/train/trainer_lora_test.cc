// SPDX-License-Identifier: Apache-2.0
// Runs that train low-rank adapters beside a frozen model.
#include <gtest/gtest.h>

#include <cmath>

#include "base/parallel.h"
#include "model/adapter.h"
#include "model/export.h"
#include "model/masters.h"
#include "train/train_testing.h"

namespace planish {
namespace {

using testing::BitsOf;
using testing::MetricsOf;
using testing::TinyRun;

// A base model as `type` in a GGUF file or (bf16, f32) a folder, of a run of a few steps, so that there is much left to learn.
class LoraRun : public TinyRun {
 public:
  explicit LoraRun(DType type) {
    const TrainOptions options = Options("base");
    Trainer(MakeRecipe({"schedule.steps=3", "schedule.decay_steps=0"}), options).Run();
    Pretrained made =
        OpenPretrained(*CheckpointStore(options.folder + "/checkpoints", {}).NewestValid());
    const bool is_folder = type == DType::kBF16 || type == DType::kF32;
    base_ = dir() / (is_folder ? "frozen" : "frozen.gguf");
    if (is_folder)
      ExportHf(&made, base_, type, uint64_t{1} << 30, {});
    else
      ExportGguf(&made, base_, type, {});
  }
  Recipe MakeLora(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> settings = {
        "model={init='" + base_ + "'}",
        "lora.rank=4",
        "lora.alpha=8",
        "optimizer.weight_decay=0.0",
        "checkpoint.every_steps=6",
        "data.phases=[{datasets=[{path='" + dir().path() + "/masked.tok'}]}]"};
    settings.insert(settings.end(), more.begin(), more.end());
    std::string text = testing::kTinyRecipe;
    const size_t begin = text.find("config = "), end = text.find('\n', begin);
    text.erase(begin, end - begin);
    return ParseRecipe(text, "lora.toml", dir().path(), settings);
  }
  const std::string& base() const { return base_; }
  std::string NewestOf(const std::string& name) const {
    return *CheckpointStore(Options(name).folder + "/checkpoints", {}).NewestValid();
  }

 private:
  std::string base_;
};

std::string BytesOfBase(Model* model) {
  std::string bytes;
  model->VisitParams([&](const Param& param) {
    if (param.role == ParamRole::kAdapter) return;
    if (param.vector != nullptr)
      bytes.append(reinterpret_cast<const char*>(param.vector->f32()),
                   param.shape.elements() * sizeof(float));
    else
      bytes.append(reinterpret_cast<const char*>(param.weight->data()), param.weight->bytes());
  });
  return Sha256Hex(bytes);
}

std::vector<float> Hidden(const Model& model) {
  std::vector<int32_t> ids(40);
  for (size_t t = 0; t < ids.size(); ++t) ids[t] = static_cast<int32_t>(t * 71 % 256);
  std::vector<float> hidden(ids.size() * model.config().hidden_size);
  Workspace workspace;
  const SeqLayout layout(ids.size());
  model.Forward({.layout = layout, .workspace = &workspace, .precision = Precision::kF32}, ids,
                hidden.data(), {}, nullptr);
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

TEST(TrainerLora, TheFrozenModelKeepsItsBytesAndTheAdapterLearns) {
  for (const DType type : {DType::kF32, DType::kBF16, DType::kQ8_0}) {
    SCOPED_TRACE(Name(type));
    const LoraRun run(type);
    const std::string before =
        Sha256HexOfFile(run.base() + (IsDirectory(run.base()) ? "/model.safetensors" : ""));
    Trainer trainer(run.MakeLora({"schedule.steps=30", "schedule.decay_steps=10",
                                  "schedule.lr=0.03", "checkpoint.every_steps=30"}),
                    run.Options("lora"));
    const std::string bytes = BytesOfBase(trainer.model().model.get());
    EXPECT_EQ(trainer.Run(), TrainEnd::kFinished);
    EXPECT_EQ(BytesOfBase(trainer.model().model.get()), bytes);
    EXPECT_EQ(Sha256HexOfFile(run.base() + (IsDirectory(run.base()) ? "/model.safetensors" : "")),
              before);
    const RunLog log = ReadRunLog(run.Options("lora").folder);
    ASSERT_EQ(log.steps.size(), 30u);
    EXPECT_LT(log.steps.back().loss, 0.85 * log.steps[0].loss);
  }
}

TEST(TrainerLora, ItsCheckpointIsAPeftFolderThatOpensAndMergesToTheSameLogits) {
  for (const DType type : {DType::kBF16, DType::kQ8_0}) {
    SCOPED_TRACE(Name(type));
    const LoraRun run(type);
    Trainer trainer(run.MakeLora({"lora.rank_stabilised=true",
                                  "lora.target_modules=['in_proj', 'q_proj', 'down_proj']"}),
                    run.Options("lora"));
    trainer.Run();
    const std::string folder = run.NewestOf("lora");
    EXPECT_FALSE(FileExists(folder + "/model.safetensors"));
    Pretrained opened = OpenPretrained(run.base());
    const std::vector<float> base = Hidden(*opened.model);
    const AdapterConfig config = LoadAdapter(folder, opened.model.get());
    EXPECT_EQ(config.rank, 4u);
    EXPECT_TRUE(config.rank_stabilised);
    const std::vector<float> trained = Hidden(*trainer.model().model);
    EXPECT_GT(Distance(trained, base), 1e-3);
    EXPECT_EQ(Hidden(*opened.model), trained);
    MergeAdapters(opened.model.get());
    // Sums of some 100 products in another order, five blocks deep.
    EXPECT_LT(Distance(Hidden(*opened.model), trained), 1e-5);
  }
}

TEST(TrainerLora, AResumedRunGivesTheBitsOfAnUninterruptedOne) {
  const LoraRun run(DType::kQ8_0);
  Trainer(run.MakeLora(), run.Options("whole")).Run();
  TrainOptions options = run.Options("parts");
  for (const uint64_t stop : {4, 5, 0}) {
    options.stop_at_step = stop;
    SetThreadCount(stop == 4 ? 1 : 2);
    Trainer(run.MakeLora(), options).Run();
  }
  SetThreadCount(0);
  const std::string whole = run.Options("whole").folder;
  EXPECT_EQ(BitsOf(whole).masters, BitsOf(options.folder).masters);
  EXPECT_EQ(BitsOf(whole).moments, BitsOf(options.folder).moments);
  EXPECT_EQ(MetricsOf(whole), MetricsOf(options.folder));
  EXPECT_EQ(Sha256HexOfFile(run.NewestOf("whole") + "/adapter_model.safetensors"),
            Sha256HexOfFile(run.NewestOf("parts") + "/adapter_model.safetensors"));
}

TEST(TrainerLora, GradientsOfAdaptersBesideQuantisedWeightsAreThoseBesideTheirFloats) {
  const LoraRun run(DType::kQ8_0);
  const std::vector<std::string> settings = {"precision.mode=f32", "schedule.steps=3",
                                             "schedule.decay_steps=0", "schedule.warmup_steps=0"};
  Trainer(run.MakeLora(settings), run.Options("quantised")).Run();
  Pretrained opened = OpenPretrained(run.base());
  ExportHf(&opened, run.dir() / "floats", DType::kF32, uint64_t{1} << 30, {});
  std::vector<std::string> floats = settings;
  floats.push_back("model.init=" + (run.dir() / "floats"));
  Trainer(run.MakeLora(floats), run.Options("floats")).Run();
  const auto a = ReadRunLog(run.Options("quantised").folder).steps;
  const auto b = ReadRunLog(run.Options("floats").folder).steps;
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_NEAR(a[i].loss, b[i].loss, 1e-5 * b[i].loss);
    EXPECT_NEAR(a[i].grad_norm, b[i].grad_norm, 1e-4 * b[i].grad_norm);
  }
}

TEST(TrainerLora, AnAdapterDoesNotGoOnBesideAnotherModelOfTheSameShape) {
  const LoraRun run(DType::kQ8_0);
  TrainOptions options = run.Options("lora");
  options.stop_at_step = 2;
  Trainer(run.MakeLora(), options).Run();
  Pretrained opened = OpenPretrained(run.base());
  ExportHf(&opened, run.dir() / "same_values", DType::kF32, uint64_t{1} << 30, {});
  try {
    Trainer(run.MakeLora({"model.init=" + (run.dir() / "same_values")}), options).Run();
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("another model"), std::string::npos) << error.what();
  }
  Trainer(run.MakeLora(), options).Run();
}

TEST(TrainerLora, ModulesThatTheModelLacksAreNamed) {
  const LoraRun run(DType::kF32);
  try {
    Trainer(run.MakeLora({"lora.target_modules=['gate_proj']"}), run.Options("lora"));
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("gate_proj"), std::string::npos);
  }
}

}  // namespace
}  // namespace planish
