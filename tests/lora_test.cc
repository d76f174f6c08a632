// SPDX-License-Identifier: Apache-2.0
// Low-rank adapters as a user meets them: `sft` beside a frozen model, `--adapter`, `merge --adapter`, `plan --train`, refusals.
#include <cmath>

#include "mpirun.h"
#include "run_program.h"
#include "tensor/safetensors.h"
#include "train/train_testing.h"

namespace planish::testing {
namespace {

std::vector<float> LogitsOf(std::vector<std::string> arguments, const std::string& file) {
  arguments.insert(arguments.begin(), "logits");
  arguments.insert(arguments.end(), {"-o", file});
  OutputOf(arguments);
  const SafetensorsFile stored = ReadSafetensors(file, FileBytes::Access::kRead);
  const Tensor logits = Tensor::ToF32(stored.tensors.at(0).view);
  return {logits.f32(), logits.f32() + logits.elements()};
}

double LargestDifference(const std::vector<float>& a, const std::vector<float>& b) {
  PLANISH_CHECK(a.size() == b.size());
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max<double>(largest, std::abs(a[i] - b[i]));
  return largest;
}

// A tiny trained model as a Q8_0 file, and an adapter trained beside it.
class Adapted {
 public:
  Adapted() {
    OutputOf({"pretrain", path("tiny.toml"), "-o", path("base"), "-q", "--set",
              "checkpoint.every_steps=0"});
    OutputOf({"convert", "-m", path("base/checkpoints/step-00000012"), "-o", model(), "--type",
              "q8_0", "-q"});
    WriteFile(recipe(), R"(
[model]
init = "base.gguf"
[lora]
rank = 4
alpha = 8
[[data.phases]]
datasets = [{ path = "masked.tok" }]
[batch]
seq_len = 64
tokens = 128
[schedule]
kind = "linear"
lr = 1e-2
epochs = 4
[checkpoint]
every_steps = 0
)");
    WriteFile(path("ids.json"), "[1, 70, 31, 255, 8, 70, 99, 100, 256, 12, 13, 14]");
  }
  std::string path(const std::string& name) const { return run_.dir() / name; }
  std::string model() const { return path("base.gguf"); }
  std::string recipe() const { return path("lora.toml"); }
  std::string adapter() const {
    return CheckpointStore(path("lora/checkpoints"), {}).NewestValid().value();
  }

 private:
  TinyRun run_;
};

TEST(Lora, MergedModelGivesTheLogitsOfModelAndAdapter) {
  const Adapted a;
  OutputOf({"sft", a.recipe(), "-o", a.path("lora"), "-q"});
  const RunLog log = ReadRunLog(a.path("lora"));
  EXPECT_LT(log.steps.back().loss, log.steps.front().loss);
  OutputOf({"merge", a.model(), "--adapter", a.adapter(), "-o", a.path("merged"), "--type", "f32",
            "-q"});
  const auto ids = [&](const std::string& model) {
    return std::vector<std::string>{"-m", model, "--ids", a.path("ids.json")};
  };
  auto with_adapter = ids(a.model());
  with_adapter.insert(with_adapter.end(), {"--adapter", a.adapter()});
  const std::vector<float> base = LogitsOf(ids(a.model()), a.path("base.logits")),
                           adapted = LogitsOf(with_adapter, a.path("adapted.logits")),
                           merged = LogitsOf(ids(a.path("merged")), a.path("merged.logits"));
  double magnitude = 0;
  for (const float x : adapted) magnitude = std::max<double>(magnitude, std::abs(x));
  // The same sums, of at most 64 products, in another order in each of four blocks and the head.
  EXPECT_LT(LargestDifference(merged, adapted), 5 * 64 * 0x1p-24 * magnitude);
  EXPECT_GT(LargestDifference(base, adapted), 1e-2 * magnitude);
  // As every verb that runs a model.
  const auto greedy_ids = [](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "generate");
    arguments.insert(arguments.end(), {"-n", "8", "--greedy", "--ignore-eos", "--json"});
    return DumpJson(*JsonOf(arguments).Find("ids"));
  };
  EXPECT_EQ(greedy_ids(with_adapter), greedy_ids(ids(a.path("merged"))));
}

TEST(Lora, TwoRanksTrainTheSameAdapterAndOneGoesOnWithIt) {
  const Adapted a;
  const auto sft = [&](const std::string& name, const std::vector<std::string>& more) {
    std::vector<std::string> arguments{
        "sft", a.recipe(), "-o", a.path(name), "-q", "--set", "batch.micro_samples=1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome outcome = RunProgram(arguments, {.environment = MpiEnvironment()});
    ASSERT_EQ(outcome.status, 0) << outcome.err;
  };
  sft("lora", {});
  sft("shared", {"--ranks", "2", "--steps", "3"});
  sft("shared", {});
  const auto weights = [&](const std::string& name) {
    const auto newest = CheckpointStore(a.path(name + "/checkpoints"), {}).NewestValid();
    return newest ? ReadFile(*newest + "/adapter_model.safetensors", 1 << 24) : "no checkpoint";
  };
  EXPECT_TRUE(weights("lora") == weights("shared"));
  EXPECT_EQ(MetricsOf(a.path("lora")), MetricsOf(a.path("shared")));
}

TEST(Lora, WhatCannotBeIsRefusedInOneLine) {
  const Adapted a;
  const auto refused = [](const std::vector<std::string>& arguments, int status,
                          const std::vector<std::string>& words) {
    const Outcome outcome = RunProgram(arguments);
    EXPECT_EQ(outcome.status, status) << outcome.err;
    EXPECT_EQ(Lines(outcome.err).size(), 1u) << outcome.err;
    for (const std::string& word : words)
      EXPECT_NE(outcome.err.find(word), std::string::npos) << word << " is not in " << outcome.err;
  };
  const auto sft = [&](const std::string& setting) {
    return std::vector<std::string>{"sft", a.recipe(), "-o", a.path("run"), "--set", setting};
  };
  refused(sft("precision.mode=fp8"), 2, {"lora.rank", "precision.mode"});
  refused(sft("lora.target_modules=['gate_proj']"), 2, {"gate_proj", "up_proj"});
  refused(sft("lora.targets=['up_proj']"), 2, {"lora.targets", "--print-config"});
  refused({"pretrain", a.path("tiny.toml"), "-o", a.path("run"), "--set", "lora.rank=4"}, 2,
          {"lora.rank", "model.init"});
  refused({"merge", a.model(), "--adapter", a.path("base"), "-o", a.path("merged")}, 3,
          {"adapter_config.json"});
  refused({"merge", a.model(), a.model(), "--adapter", a.path("lora"), "-o", a.path("merged")}, 2,
          {"one model"});
  // An adapter of a wider model.
  OutputOf({"sft", a.recipe(), "-o", a.path("lora"), "-q", "--steps", "1"});
  std::string wider = kTinyConfig;
  wider.replace(wider.find("\"intermediate_size\": 48"), 23, "\"intermediate_size\": 64");
  WriteFile(a.path("wider.json"), wider);
  OutputOf({"init", a.path("wider.json"), "-o", a.path("wider"), "-q"});
  for (const char* verb : {"merge", "logits"}) {
    const bool is_merge = verb == std::string("merge");
    refused(is_merge
                ? std::vector<std::string>{verb, a.path("wider"), "--adapter", a.adapter(), "-o",
                                           a.path("merged")}
                : std::vector<std::string>{verb, "-m", a.path("wider"), "--adapter", a.adapter(),
                                           "--ids", a.path("ids.json"), "--logprobs"},
            3, {"adapter_model.safetensors", "48", "64"});
  }
  EXPECT_FALSE(FileExists(a.path("merged/config.json")));
  // A folder with an adapter is no model.
  refused({"logits", "-m", a.adapter(), "--ids", a.path("ids.json"), "--logprobs"}, 3, {});
}

TEST(Lora, PlanSaysWhatTrainingTakes) {
  const auto plan = [](std::vector<std::string> more) {
    more.insert(more.begin(), {"plan", "nano-9b-v2", "--train", "--json"});
    return JsonOf(more);
  };
  const Json all = plan({}), lora = plan({"--lora", "16"}),
             small = plan({"--lora", "16", "--dtype", "q4_0"});
  EXPECT_EQ(all.Find("parameters")->AsInt(), 8888227328);
  EXPECT_EQ(lora.Find("parameters")->AsInt(), 8888227328);
  // Masters, moments and at least one gradient in f32.
  EXPECT_GE(all.Find("total_bytes")->AsInt(), 16 * 8888227328);
  EXPECT_LT(lora.Find("total_bytes")->AsInt(), 30 * (int64_t{1} << 30));
  EXPECT_LT(small.Find("weights_bytes")->AsInt(), lora.Find("weights_bytes")->AsInt() / 3);
  // Two passes over the frozen matrices in place of three, and the adapters'.
  const double ratio =
      lora.Find("flops_per_token")->AsDouble() / all.Find("flops_per_token")->AsDouble();
  EXPECT_GT(ratio, 2.0 / 3);
  EXPECT_LT(ratio, 0.7);
}

}  // namespace
}  // namespace planish::testing
