// SPDX-License-Identifier: Apache-2.0
// From a parent and a text to children on disk: they open, their figures are those of comparing them anew, a run that was cut off
// goes on where it was, and what cannot be done is refused before anything is written.
#include "compress/prune.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/testing.h"
#include "compress/compared_file.h"
#include "compress/compress_testing.h"
#include "compress/kept_hidden.h"

namespace planish {
namespace {

using testing::TemporaryDir;
using testing::TinyModel;

class PruneTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string text;
    Random random(3);
    for (int line = 0; line < 160; ++line) {
      text += R"({"text": ")";
      for (int i = 0; i < 60; ++i) text += static_cast<char>('a' + random.Below(26));
      text += "\"}\n";
    }
    WriteFile(folder_ / "text.jsonl", text);
  }
  PruneRequest Request() const {
    PruneRequest request;
    request.calibration = {.inputs = {folder_ / "text.jsonl"},
                           .samples = 6,
                           .seq_len = 24,
                           .seed = 1,
                           .held_out = 0.25};
    request.score_samples = 3;
    request.depth_samples = 2;
    request.depth_tokens = 16;
    request.type = DType::kF32;
    request.grid.width_limit = request.grid.depth_limit = 0;
    request.grid.min_attention = 1;
    return request;
  }
  void ExpectRefused(const Pretrained& parent, const PruneRequest& request,
                     const std::string& part) const {
    try {
      Prune(parent, request, folder_ / "refused");
      ADD_FAILURE() << "accepted, expected a complaint about " << part;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kUsage);
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
    EXPECT_FALSE(FileExists(folder_ / "refused"));
    EXPECT_FALSE(FileExists(folder_ / "refused.part"));
  }

  TemporaryDir folder_;
  testing::Threads one_{1};  // thousands of tiny regions
};

TEST_F(PruneTest, AFolderOfSomebodyElseIsNotTouched) {
  const Pretrained parent = TinyModel(testing::kTinyHybrid, 2);
  MakeDirectories(folder_ / "refused.part");
  WriteFile(folder_ / "refused.part/mine", "kept");
  PruneRequest request = Request();
  request.grid.fixed_blocks = 1;
  try {
    Prune(parent, request, folder_ / "refused");
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("in the way"), std::string::npos) << error.what();
  }
  EXPECT_EQ(ReadFile(folder_ / "refused.part/mine", 100), "kept");
}

TEST_F(PruneTest, ChildrenOfABudgetOpenAndTheirFiguresAreTrue) {
  const Pretrained parent = TinyModel(testing::kTinyHybrid, 2);
  PruneRequest request = Request();
  request.budget.parameters = MakePlan(parent.config, {}).parameters * 3 / 4;
  request.grid.hidden_step = request.grid.ffn_step = 8;
  request.grid.width_limit = 0.5;
  request.grid.depth_limit = 0.25;
  request.grid.depth_step = 1;
  request.top = 3;
  request.write = 2;
  const PruneOutcome outcome = Prune(parent, request, folder_ / "out");
  ASSERT_EQ(outcome.shapes.size(), 3u);
  EXPECT_FALSE(FileExists(folder_ / "out.part"));
  const CalibrationRows held_out = ReadHeldOut(parent, request.calibration, 3);
  for (size_t i = 0; i < 3; ++i) {
    const ScoredShape& scored = outcome.shapes[i];
    EXPECT_LE(scored.candidate.parameters, *request.budget.parameters);
    EXPECT_GE(scored.divergence.mean_kl(), outcome.shapes[i > 0 ? i - 1 : 0].divergence.mean_kl());
    if (i >= 2) continue;
    EXPECT_EQ(scored.folder, folder_ / (i == 0 ? "out" : "out/candidate-2"));
    const Pretrained child = OpenPretrained(scored.folder);
    EXPECT_EQ(MakePlan(child.config, {}).parameters, scored.candidate.parameters);
    const Divergence anew = CompareModels(*child.model, *parent.model, held_out.rows);
    EXPECT_EQ(anew.kl, scored.divergence.kl);
    EXPECT_EQ(anew.nll, scored.divergence.nll);
    EXPECT_GT(anew.kl, 0);
  }
  const Json json = ParseJson(ReadFile(folder_ / "out/prune.json", 1 << 20), "prune.json");
  EXPECT_EQ(json.Find("candidates")->AsArray().size(), 3u);
  EXPECT_EQ(json.Find("candidates")->AsArray()[0].Find("kl")->AsDouble(),
            outcome.shapes[0].divergence.mean_kl());
  EXPECT_EQ(json.Find("next")->AsArray().size(), 2u);
  const std::string page = ReadFile(folder_ / "out/prune.html", 1 << 22);
  EXPECT_NE(page.find("candidate-2"), std::string::npos);

  // A second target from the scores alone, without any text.
  PruneRequest second = Request();
  second.calibration.inputs.clear();
  second.importance = folder_ / "out/importance.json";
  second.grid.fixed.ffn = 16;
  const PruneOutcome narrow = Prune(parent, second, folder_ / "narrow");
  EXPECT_EQ(narrow.shapes[0].divergence.tokens, 0u);
  EXPECT_EQ(ShapeOf(OpenPretrained(folder_ / "narrow").config).ffn, 16u);
  EXPECT_EQ(narrow.importance.hidden, outcome.importance.hidden);
}

// A clock that counts parameters.
class ParameterClock : public ShapeClock {
 public:
  explicit ParameterClock(const ModelConfig& parent) : parent_(parent) {}
  double Estimate(const PruneShape& shape) override { return Of(shape); }
  std::vector<Seconds> Measure(std::span<const PruneShape> shapes) override {
    std::vector<Seconds> all;
    for (const PruneShape& shape : shapes) all.push_back({Of(shape), Of(shape), Of(shape)});
    return all;
  }

 private:
  double Of(const PruneShape& shape) const {
    return 1e-9 * static_cast<double>(MakePlan(ConfigOfShape(parent_, shape), {}).parameters);
  }
  const ModelConfig& parent_;
};

TEST_F(PruneTest, ChildrenOfALatencyAreThoseThatTheClockAllows) {
  const Pretrained parent = TinyModel(testing::kTinyHybrid, 2);
  PruneRequest request = Request();
  request.grid.hidden_step = request.grid.ffn_step = 8;
  request.grid.width_limit = 0.5;
  request.top = 2;
  request.budget.parameters = MakePlan(parent.config, {}).parameters * 3 / 4;
  const PruneOutcome by_count = Prune(parent, request, folder_ / "count");
  ParameterClock clock(parent.config);
  request.clock = &clock;
  request.budget.latency = Target{1e-9 * static_cast<double>(*request.budget.parameters), false};
  request.budget.parameters.reset();
  const PruneOutcome by_time = Prune(parent, request, folder_ / "time");
  EXPECT_EQ(ReadFile(folder_ / "count/model.safetensors", 1 << 24),
            ReadFile(folder_ / "time/model.safetensors", 1 << 24));
  const Json json = ParseJson(ReadFile(folder_ / "time/prune.json", 1 << 20), "prune.json");
  const Json& best = json.Find("candidates")->AsArray()[0];
  EXPECT_EQ(best.Find("step_s")->Find("median")->AsDouble(),
            1e-9 * static_cast<double>(by_time.shapes[0].candidate.parameters));
  EXPECT_NE(ReadFile(folder_ / "time/prune.html", 1 << 22).find("decode step"), std::string::npos);
  request.budget.latency = Target{0.1, true};
  ExpectRefused(parent, request, "the fastest one's decode step takes");

  // This machine's clock: its table stays with the child and is enough for a second one.
  request.clock = nullptr;
  request.budget.latency = Target{100, false};
  request.measure = {.samples = 3, .warm_ups = 0, .copies = 1};
  Prune(parent, request, folder_ / "here");
  const std::string costs = ReadFile(folder_ / "here/costs.json", 1 << 22);
  request.costs = folder_ / "here/costs.json";
  size_t timed = 0;
  Prune(parent, request, folder_ / "again",
        [&](const std::string& stage, size_t, size_t) { timed += stage == "costs"; });
  EXPECT_EQ(timed, 0u);
  EXPECT_EQ(ReadFile(request.costs, 1 << 22), costs);
}

TEST_F(PruneTest, ARunThatWasCutOffGoesOn) {
  const Pretrained parent = TinyModel(testing::kTinyHybrid, 2);
  PruneRequest request = Request();
  request.grid.fixed.ffn = 24;
  request.grid.fixed_blocks = 3;
  const PruneOutcome whole = Prune(parent, request, folder_ / "whole");
  struct Stop {};
  EXPECT_THROW(Prune(parent, request, folder_ / "cut",
                     [](const std::string& stage, size_t, size_t) {
                       if (stage.starts_with("writing")) throw Stop();
                     }),
               Stop);
  EXPECT_FALSE(FileExists(folder_ / "cut"));
  bool measured = false;
  const PruneOutcome again =
      Prune(parent, request, folder_ / "cut", [&](const std::string& stage, size_t, size_t) {
        measured |= stage == "scores" || stage == "depth";
      });
  EXPECT_FALSE(measured);
  EXPECT_EQ(ReadFile(folder_ / "cut/model.safetensors", 1 << 24),
            ReadFile(folder_ / "whole/model.safetensors", 1 << 24));
  EXPECT_EQ(again.shapes[0].divergence.kl, whole.shapes[0].divergence.kl);
  EXPECT_EQ(again.shapes[0].divergence.sample_kl, whole.shapes[0].divergence.sample_kl);
  // Other weights of the same shape start anew.
  EXPECT_THROW(Prune(parent, request, folder_ / "other",
                     [](const std::string& stage, size_t, size_t) {
                       if (stage.starts_with("writing")) throw Stop();
                     }),
               Stop);
  Pretrained trained = TinyModel(testing::kTinyHybrid, 2);
  trained.model->VisitParams([](const Param& param) {
    if (param.role == ParamRole::kNorm) param.vector->f32()[0] += 0.5f;
  });
  measured = false;
  Prune(trained, request, folder_ / "other",
        [&](const std::string& stage, size_t, size_t) { measured |= stage == "scores"; });
  EXPECT_TRUE(measured);
}

TEST_F(PruneTest, DroppedBlocksOfLlamaMakeDeciLm) {
  const Pretrained parent = TinyModel(testing::kTinyLlama, 2);
  PruneRequest request = Request();
  request.drop = {2, 4};
  const PruneOutcome outcome = Prune(parent, request, folder_ / "out");
  const Pretrained child = OpenPretrained(folder_ / "out");
  EXPECT_EQ(child.config.family, Family::kDeci);
  EXPECT_EQ(DescribeBlocks(child.config), "1 attention, 3 ffn");
  EXPECT_EQ(outcome.shapes[0].dropped, request.drop);
}

TEST_F(PruneTest, LayersOfLlamaGoAsAWhole) {
  const Pretrained parent = TinyModel(testing::kTinyLlama, 2);
  for (const bool by_influence : {false, true}) {
    PruneRequest request = Request();
    request.grid.fixed_blocks = 2;
    request.depth_by_influence = by_influence;
    const std::string out = folder_ / (by_influence ? "influence" : "logits");
    const PruneOutcome outcome = Prune(parent, request, out);
    const Pretrained child = OpenPretrained(out);
    EXPECT_EQ(child.config.family, Family::kLlama);
    EXPECT_EQ(child.config.n_layers, 2u);
    ASSERT_EQ(outcome.shapes[0].dropped.size(), 2u);
    EXPECT_EQ(outcome.shapes[0].dropped[0] + 1, outcome.shapes[0].dropped[1]);
  }
}

TEST_F(PruneTest, WhatCannotBeIsRefusedFirst) {
  const Pretrained parent = TinyModel(testing::kTinyHybrid, 2);
  PruneRequest request = Request();
  request.budget.parameters = 100;
  ExpectRefused(parent, request, "within the budget");
  request = Request();
  request.drop = {4};
  ExpectRefused(parent, request, "--drop");
  request.drop = {1, 1};
  ExpectRefused(parent, request, "twice");
  request = Request();
  request.grid.fixed_blocks = 5;
  ExpectRefused(parent, request, "blocks");
  request = Request();
  request.grid.fixed.mamba_heads = 3;
  ExpectRefused(parent, request, "groups");
  MakeDirectories(folder_ / "there");
  EXPECT_THROW(Prune(parent, Request(), folder_ / "there"), Error);
}

TEST_F(PruneTest, ComparedFileLeavesOutBrokenLines) {
  const std::string path = folder_ / "compared.jsonl";
  Divergence d;
  d.nll = 1.0 / 3, d.kl = 0.125, d.tokens = 7, d.top1 = 3, d.sample_kl = {0.1, 0.2};
  ComparedFile(path).Add("a", d);
  ComparedFile(path).Add("b", d);
  const std::string text = ReadFile(path, 1 << 20);
  WriteFile(path, text.substr(0, text.size() - 20));
  const ComparedFile again(path);
  ASSERT_NE(again.Find("a"), nullptr);
  EXPECT_EQ(again.Find("a")->nll, d.nll);
  EXPECT_EQ(again.Find("a")->sample_kl, d.sample_kl);
  EXPECT_EQ(again.Find("b"), nullptr);
}

}  // namespace
}  // namespace planish
