// SPDX-License-Identifier: Apache-2.0
// `planish distill` as a user meets it: without a recipe, with one, from a cache, and what it refuses.
#include <thread>

#include "background_run.h"
#include "base/json.h"
#include "run_program.h"
#include "train/train_testing.h"

namespace planish::testing {
namespace {

// A tiny trained teacher, a random student of the same tokenizer, and text.
class Taught : public TinyRun {
 public:
  Taught() {
    OutputOf({"pretrain", path("tiny.toml"), "-o", path("run"), "-q", "--set",
              "checkpoint.every_steps=0"});
    OutputOf({"init", path("config.json"), "-o", student(), "-q"});
    std::string lines;
    for (uint64_t i = 0; i < 30; ++i) lines += "{\"text\": \"" + RandomText(i, 20) + "\"}\n";
    WriteFile(text(), lines);
  }
  std::string path(const std::string& name) const { return dir() / name; }
  std::string teacher() const { return path("run/checkpoints/step-00000012"); }
  std::string student() const { return path("student"); }
  std::string text() const { return path("text.jsonl"); }
  std::vector<std::string> Quick(const std::string& out,
                                 const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments = {
        "distill", "-m",        student(), "--teacher", teacher(), "--data", text(),    "--tokens",
        "960",     "--seq-len", "24",      "--lr",      "0.01",    "-o",     path(out), "-q"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
};

TEST(Distill, AFewOptionsMakeARunThatNearsTheTeacherAndCanBeGoneOnWith) {
  const Taught taught;
  const Json json =
      ParseJson(OutputOf(taught.Quick("out", {"--json", "--held-out", taught.text()})), "distill");
  const JsonReader reader(json, "distill");
  EXPECT_LT(reader.Object("last").Number("kl", 0, 100),
            reader.Object("first").Number("kl", 0, 100));
  EXPECT_GE(reader.Array("held_out").size(), 2u);
  EXPECT_TRUE(FileExists(taught.path("out/distill.json")));
  EXPECT_NE(ReadFile(taught.path("out/distill.html"), 1 << 24).find("<html"), std::string::npos);
  // The same command finds nothing left to do; other data are refused.
  OutputOf(taught.Quick("out"));
  WriteFile(taught.text(), "{\"text\": \"something else\"}\n");
  const Outcome other = RunProgram(taught.Quick("out"));
  EXPECT_EQ(other.status, 2) << other.err;
  EXPECT_NE(other.err.find("other data"), std::string::npos) << other.err;
}

// Texts that the student goes on with itself, killed in the middle of a step: answers of later steps hang on every bit of
// the weights.
TEST(Distill, AKilledRunOnOwnAnswersEndsWithTheBitsOfAnUndisturbedOne) {
  const Taught taught;
  const auto arguments = [&](const std::string& out) {
    auto all = taught.Quick(
        out, {"--on-policy", "0.5", "--kind", "reverse_kl", "--save-every", "1", "-t", "1"});
    *(std::find(all.begin(), all.end(), "--tokens") + 1) = "3840";
    return all;
  };
  OutputOf(arguments("whole"));
  BackgroundRun run(arguments("killed"));
  const std::string log = taught.path("killed/log.jsonl");
  while (!run.HasEnded() && !(FileExists(log) && ReadFilePrefix(log, 1 << 24).find("\"step\":3,") !=
                                                     std::string::npos))
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  ASSERT_EQ(run.End(SIGKILL), -SIGKILL);
  OutputOf(arguments("killed"));
  const RunBits whole = BitsOf(taught.path("whole")), killed = BitsOf(taught.path("killed"));
  EXPECT_EQ(whole.masters, killed.masters);
  EXPECT_EQ(whole.moments, killed.moments);
  EXPECT_EQ(MetricsOf(taught.path("whole")), MetricsOf(taught.path("killed")));
}

TEST(Distill, ACacheStandsInForTheTeacher) {
  const Taught taught;
  const std::string cache = taught.path("teacher.cache");
  const Json made = ParseJson(
      OutputOf(taught.Quick("out", {"--cache-teacher", cache, "--top-k", "16", "--json"})),
      "cache");
  EXPECT_TRUE(made.Find("is_complete")->AsBool());
  std::vector<std::string> arguments = taught.Quick("out", {"--cache", cache, "--json"});
  arguments.erase(arguments.begin() + 3, arguments.begin() + 5);  // no teacher
  const Json json = ParseJson(OutputOf(arguments), "distill");
  const JsonReader reader(json, "distill");
  EXPECT_LT(reader.Object("last").Number("kl", 0, 100),
            reader.Object("first").Number("kl", 0, 100));
  const Outcome again = RunProgram(taught.Quick("out", {"--cache-teacher", cache}));
  EXPECT_EQ(again.status, 2);
  EXPECT_NE(again.err.find("there already"), std::string::npos) << again.err;
}

TEST(Distill, WhatCannotBeIsRefusedInOneLine) {
  const Taught taught;
  const auto refused = [](const std::vector<std::string>& arguments, int status,
                          const std::string& word) {
    const Outcome outcome = RunProgram(arguments);
    EXPECT_EQ(outcome.status, status) << outcome.err;
    EXPECT_EQ(Lines(outcome.err).size(), 1u) << outcome.err;
    EXPECT_NE(outcome.err.find(word), std::string::npos) << word << " is not in " << outcome.err;
  };
  refused({"distill"}, 2, "recipe");
  refused(taught.Quick("out", {"--on-policy", "0.5", "--alpha", "0.1"}), 2, "distill.on_policy");
  refused(taught.Quick("out", {"--on-policy", "0.5", "--cache-teacher", "x"}), 2, "yet to draw");
  refused({"distill", "-m", taught.student()}, 2, "--teacher");
  refused({"distill", taught.path("tiny.toml"), "-o", taught.path("x")}, 2, "teacher");
  std::string wide = kTinyConfig;
  wide.replace(wide.find("264"), 3, "300");
  WriteFile(taught.path("wide.json"), wide);
  OutputOf({"init", taught.path("wide.json"), "-o", taught.path("wide"), "-q"});
  refused({"distill", "-m", taught.student(), "--teacher", taught.path("wide"), "--data",
           taught.text(), "--tokens", "960", "-o", taught.path("y"), "-q"},
          3, "300");
  refused(taught.Quick("z", {"--memory", "1MiB"}), 4, "teacher");
}

}  // namespace
}  // namespace planish::testing
