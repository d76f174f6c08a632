// SPDX-License-Identifier: Apache-2.0
#include "train/recipe.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/testing.h"

namespace planish {
namespace {

const std::string kValid = R"(
name = "tiny"
[model]
config = "shapes/config.json"
[[data.phases]]
datasets = [{ path = "a.tok", weight = 3 }, { path = "/abs/b.tok", name = "bee" }]
[batch]
seq_len = 64
tokens = 1_024
micro_samples = 4
[schedule]
lr = 3e-3
tokens = 3e6
warmup_steps = 10
)";

Recipe Parse(const std::string& text, const std::vector<std::string>& settings = {}) {
  return ParseRecipe(text, "tiny.toml", "/recipes/tiny", settings);
}

std::string MessageOf(const std::string& text, const std::vector<std::string>& settings = {}) {
  try {
    Parse(text, settings);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage);
    return error.what() + (error.hint().empty() ? "" : ". Try: " + error.hint());
  }
  return "no error";
}

TEST(Recipe, GivenKeysReplaceDefaultsAndPathsAreThoseOfTheRecipe) {
  const Recipe r = Parse(kValid);
  EXPECT_EQ(r.name, "tiny");
  EXPECT_EQ(r.model.config, "/recipes/tiny/shapes/config.json");
  ASSERT_EQ(r.data.phases.size(), 1u);
  ASSERT_EQ(r.data.phases[0].datasets.size(), 2u);
  EXPECT_EQ(r.data.phases[0].datasets[0].path, "/recipes/tiny/a.tok");
  EXPECT_EQ(r.data.phases[0].datasets[0].weight, 3);
  EXPECT_EQ(r.data.phases[0].datasets[1].path, "/abs/b.tok");
  EXPECT_EQ(r.data.phases[0].datasets[1].name, "bee");
  EXPECT_EQ(r.batch.tokens, 1024u);
  EXPECT_EQ(r.schedule.lr, 3e-3);
  EXPECT_EQ(r.schedule.tokens, 3'000'000u);
  EXPECT_EQ(r.optimizer.beta2, 0.95) << "a default";
  EXPECT_TRUE(r.WasGiven("schedule.lr"));
  EXPECT_FALSE(r.WasGiven("optimizer.beta2"));
  EXPECT_EQ(r.origins.at("schedule.lr"), "tiny.toml:12");
}

TEST(Recipe, SettingsWinOverTheFileAndABareWordIsText) {
  const Recipe r =
      Parse(kValid, {"schedule.lr=1e-4", "precision.mode=f32", "name=other run",
                     "schedule.min_lr = 1e-5", "data.phases=[{datasets=[{path='x.tok'}]}]"});
  EXPECT_EQ(r.schedule.lr, 1e-4);
  EXPECT_EQ(r.precision.mode, Precision::kF32);
  EXPECT_EQ(r.name, "other run");
  EXPECT_EQ(r.schedule.min_lr, 1e-5);
  EXPECT_EQ(r.origins.at("schedule.lr"), "--set schedule.lr");
  EXPECT_EQ(r.data.phases[0].datasets[0].path,
            (std::filesystem::current_path() / "x.tok").string());
  EXPECT_NE(MessageOf(kValid, {"schedule.lr"}).find("--set 'schedule.lr': no value"),
            std::string::npos);
  EXPECT_NE(MessageOf(kValid, {"schedule.learn=1"}).find("unknown key 'schedule.learn'"),
            std::string::npos);
}

TEST(Recipe, APublishedConfigStaysAName) {
  EXPECT_EQ(Parse(kValid, {"model.config=nano-9b-v2"}).model.config, "nano-9b-v2");
}

TEST(Recipe, PrintedTextReadsBackToTheSameValues) {
  const Recipe r = Parse(kValid, {"model.initializer_range=0.0123", "name='quo\"te\\'",
                                  "optimizer.groups=[{match='*norm*', frozen=true}]",
                                  "sample.prompts=['a', \"b\\n\"]"});
  const std::string text = PrintRecipe(r);
  const Recipe again = ParseRecipe(text, "recipe.toml", "/elsewhere");
  std::string second = PrintRecipe(again);
  // Only the origins in the comments differ.
  const auto without_comments = [](const std::string& all) {
    std::string kept;
    for (size_t at = 0; at < all.size();) {
      const size_t end = all.find('\n', at);
      kept += all.substr(at, std::min(all.find(" # ", at), end) - at) + "\n";
      at = end + 1;
    }
    return kept;
  };
  EXPECT_EQ(without_comments(text), without_comments(second));
  EXPECT_EQ(again.model.initializer_range, 0.0123);
  EXPECT_EQ(again.name, r.name);
  EXPECT_EQ(again.optimizer.groups.size(), 1u);
  EXPECT_TRUE(again.optimizer.groups[0].frozen);
  EXPECT_EQ(again.sample.prompts, r.sample.prompts);
  EXPECT_NE(text.find("[tiny.toml:12]"), std::string::npos) << text;
}

TEST(Recipe, UnknownKeysNameFileLineAndTheNearest) {
  EXPECT_EQ(MessageOf(kValid + "warm_up_steps = 3\n"),
            "tiny.toml:15: unknown key 'schedule.warm_up_steps'. Try: schedule.warmup_steps");
  EXPECT_EQ(MessageOf(kValid + "[bacth]\ntokens = 3\n"),
            "tiny.toml:15: unknown key 'bacth'. Try: batch");
  EXPECT_EQ(MessageOf(kValid + "[[optimizer.groups]]\nmach = 'x'\n"),
            "tiny.toml:16: unknown key 'optimizer.groups[0].mach'. Try: optimizer.groups[0].match");
}

TEST(Recipe, WrongTypesAndRangesNameTheKeyAndWhatWasExpected) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"schedule.lr=true", "schedule.lr is 'true', expected a number in [0, 1000]"},
      {"schedule.lr=-1", "schedule.lr is '-1', expected a number"},
      {"schedule.lr=nan", "schedule.lr is 'nan', expected a number"},
      {"batch.tokens=1.5", "batch.tokens is '1.5', expected a whole number in"},
      {"batch.tokens=-4", "batch.tokens is '-4', expected a whole number in"},
      {"batch.seq_len=99999999999", "batch.seq_len is '99999999999', expected a whole number in"},
      {"precision.mode=fp4", "precision.mode is ''fp4'', expected one of f32, bf16, fp8"},
      {"precision=3", "precision is '3', expected a table"},
      {"data.phases=[1]", "data.phases is 'a list', expected a list of"},
      {"data.doc_reset=1", "data.doc_reset is '1', expected true or false"},
      {"sample.prompts=[1]", "sample.prompts is '1', expected a text in quotes"},
      {"checkpoint.keep_last=1", "checkpoint.keep_last is '1', expected a whole number in [2,"},
  };
  for (const auto& [setting, expected] : cases)
    EXPECT_NE(MessageOf(kValid, {setting}).find(expected), std::string::npos)
        << setting << ": " << MessageOf(kValid, {setting});
  EXPECT_NE(MessageOf("a = \n").find("tiny.toml:1: "), std::string::npos);
}

TEST(Recipe, KeysThatContradictAreRefusedWithBothNamed) {
  const std::vector<std::pair<std::vector<std::string>, std::vector<std::string>>> cases = {
      {{"model.init='m'"}, {"model.init (--set model.init)", "model.config (tiny.toml:4)"}},
      {{"schedule.steps=5"}, {"schedule.tokens (tiny.toml:13)", "schedule.steps"}},
      {{"schedule.epochs=1"}, {"schedule.tokens", "schedule.epochs"}},
      {{"schedule.warmup_tokens=5"}, {"schedule.warmup_tokens", "schedule.warmup_steps"}},
      {{"schedule.kind=cosine", "schedule.decay_steps=3"},
       {"schedule.decay_steps", "schedule.kind"}},
      {{"schedule.min_lr=1"}, {"schedule.min_lr", "schedule.lr"}},
      {{"schedule.decay_tokens=2_999_999"}, {"schedule.decay_tokens", "schedule.warmup_steps"}},
      {{"batch.tokens=1000"}, {"batch.tokens", "batch.seq_len"}},
      {{"batch.micro_samples=5"}, {"batch.tokens", "batch.micro_samples"}},
      {{"recompute.every=3"}, {"recompute.every", "recompute.policy"}},
      {{"data.long_examples=drop"}, {"data.long_examples", "data.mode"}},
      {{"precision.fp8=tensorwise"}, {"precision.fp8", "precision.mode"}},
      {{"eval.every_steps=3"}, {"eval.every_steps", "eval.datasets"}},
      {{"sample.every_steps=3"}, {"sample.every_steps", "sample.prompts"}},
      {{"lora.alpha=3"}, {"lora.alpha", "lora.rank"}},
      {{"lora.rank=3"}, {"lora.rank", "model.init"}},
      {{"data.over_epochs=renormalise"}, {"data.over_epochs", "data.max_epochs"}},
  };
  for (const auto& [settings, words] : cases) {
    const std::string message = MessageOf(kValid, settings);
    for (const std::string& word : words)
      EXPECT_NE(message.find(word), std::string::npos) << settings[0] << ": " << message;
  }
}

TEST(Recipe, PhasesGrowToTheEndAndHaveData) {
  const auto phases = [](const std::string& list) {
    return MessageOf(kValid, {"data.phases=" + list});
  };
  const std::string data = "datasets=[{path='x'}]";
  EXPECT_EQ(phases("[{until=0.5," + data + "},{" + data + "}]"), "no error");
  EXPECT_NE(phases("[{until=0.5," + data + "}]").find("the last phase ends at 0.5"),
            std::string::npos);
  EXPECT_NE(
      phases("[{until=0.5," + data + "},{until=0.4," + data + "}]").find("data.phases[1].until"),
      std::string::npos);
  EXPECT_NE(phases("[{}]").find("no dataset has a weight above 0"), std::string::npos);
  EXPECT_NE(phases("[{datasets=[{weight=1}]}]").find("datasets[0] has no path"), std::string::npos);
  EXPECT_NE(phases("[]").find("no phase"), std::string::npos);
}

TEST(Recipe, AMissingFileIsAUsageError) {
  EXPECT_THROW(LoadRecipe("/nonexistent/recipe.toml"), Error);
}

}  // namespace
}  // namespace planish
