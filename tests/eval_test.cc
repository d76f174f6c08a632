// SPDX-License-Identifier: Apache-2.0
// `planish eval` as a whole: a tiny model of random weights that thinks, on a file of problems.
#include <filesystem>

#include "base/file.h"
#include "golden_case.h"
#include "run_program.h"

namespace planish::testing {
namespace {

class EvalProgram : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string source = PLANISH_SOURCE_DIR "/tests/golden/models/nemotron_h_a";
    MakeDirectories(model_);
    for (const std::string& name : Listing(source))
      std::filesystem::copy_file(source + "/" + name, model_ + "/" + name);
    std::filesystem::copy_file(PLANISH_SOURCE_DIR "/recipes/planish_nano/chat_template.jinja",
                               model_ + "/chat_template.jinja");
    WriteFile(problems_,
              "{\"question\": \"What is 3 plus 4?\", \"answer\": 7, \"answer_type\": \"integer\", "
              "\"skill\": \"plus\", \"steps\": 1}\n"
              "{\"question\": \"Is 5 more than 2?\", \"answer\": \"yes\", \"skill\": \"logic\"}\n");
  }
  std::vector<std::string> Arguments(const std::vector<std::string>& more) const {
    std::vector<std::string> arguments = {
        "eval", "-m", model_, "--data", problems_, "--answer-tokens", "4", "--ctx", "96"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  TemporaryDir dir_;
  std::string model_ = dir_ / "model", problems_ = dir_ / "p.jsonl";
};

TEST_F(EvalProgram, OneCallGivesOnOffAndBudgets) {
  const std::string out = dir_ / "out";
  const Json json = JsonOf(Arguments({"--tasks", "word-problems", "--thinking", "on,off",
                                      "--budget", "0,8,-1", "-o", out, "--json"}));
  const Json& task = *json.Find("tasks")->Find("word-problems");
  EXPECT_TRUE(task.Find("accuracy")->is_number());
  EXPECT_EQ(task.Find("n")->AsInt(), 2);
  std::string names;
  for (const Json& setting : task.Find("settings")->AsArray())
    names += setting.Find("thinking")->AsString() + " ";
  EXPECT_EQ(names, "on off 8 ");
  const std::vector<std::string> samples = Listing(out, ".jsonl"), results = Listing(out, ".json");
  ASSERT_EQ(samples.size(), 1u);
  ASSERT_EQ(results.size(), 1u);
  const std::vector<std::string> lines = Lines(ReadFile(out + "/" + samples[0], 1 << 20));
  EXPECT_EQ(lines.size(), 6u);
  for (const std::string& line : lines) ParseJson(line, "sample");
  EXPECT_NE(ParseJson(ReadFile(out + "/" + results[0], 1 << 20), "results").Find("results"),
            nullptr);
}

TEST_F(EvalProgram, BatchAndThreadsChangeNoAnswer) {
  const auto samples = [&](const std::vector<std::string>& more) {
    const std::string out = dir_ / ("out" + more[1] + more[3]);
    std::vector<std::string> arguments = Arguments({"--thinking", "8", "-q", "-o", out});
    arguments.insert(arguments.end(), more.begin(), more.end());
    OutputOf(arguments);
    const std::vector<std::string> names = Listing(out, ".jsonl");
    return names.size() == 1 ? ReadFile(out + "/" + names[0], 1 << 20) : std::string();
  };
  const std::string alone = samples({"--batch", "1", "--threads", "1"});
  EXPECT_FALSE(alone.empty());
  EXPECT_EQ(samples({"--batch", "2", "--threads", "2"}), alone);
}

TEST_F(EvalProgram, WrongRequestsAreOneLine) {
  const auto expect = [&](const std::vector<std::string>& more, int status, const char* words) {
    const Outcome outcome = RunProgram(Arguments(more));
    EXPECT_EQ(outcome.status, status) << outcome.err;
    EXPECT_EQ(Lines(outcome.err).size(), 1u) << outcome.err;
    EXPECT_NE(outcome.err.find(words), std::string::npos) << outcome.err;
    EXPECT_EQ(outcome.out, "");
  };
  expect({"--tasks", "word-problem"}, 2, "word-problems");
  expect({"--thinking", "maybe"}, 2, "--thinking");
  expect({"--thinking", "-5"}, 2, "--thinking");
  expect({"--thinking", ","}, 2, "--thinking names no setting");
  expect({"--tasks", ","}, 2, "--tasks names no task");
  expect({"--samples", "3"}, 2, "--temperature");
  expect({"--tasks", "word-problems,gsm8k_boxed"}, 2, "TASK=FILE");
  expect({"--data", dir_ / "missing.jsonl"}, 2, "twice");
  WriteFile(problems_, "{\"question\": \"q\"}\n");
  expect({}, 3, "line 1: answer is missing");
  const Outcome plain =
      RunProgram({"eval", "-m", PLANISH_SOURCE_DIR "/tests/golden/models/nemotron_h_a", "--data",
                  dir_ / "none.jsonl"});
  EXPECT_EQ(plain.status, 3) << plain.err;
}

TEST_F(EvalProgram, TheDemoShowsThinkingBudgetsAndToolsAndWritesItsPage) {
  const std::string page = dir_ / "demo.html";
  const std::string out = OutputOf({"demo", "-m", model_, "--ctx", "352", "--problems", "2", "-n",
                                    "24", "-o", page, "--color", "never", "--no-compress"});
  for (const char* words : {"thinking off:", "thinking on:", "no limit", "What would you call",
                            "resident", "planish serve -m"})
    EXPECT_NE(out.find(words), std::string::npos) << words << "\n" << out;
  const std::string html = ReadFile(page, 4 << 20);
  EXPECT_NE(html.find("accuracy over the thinking budget"), std::string::npos);
  EXPECT_NE(html.find("Hermione"), std::string::npos);
}

TEST_F(EvalProgram, TheDemoPrunesDistilsAndTrainsFromScratch) {
  const std::string page = dir_ / "demo.html", temporary = dir_ / "temporary";
  MakeDirectories(temporary);
  const Outcome outcome =
      RunProgram({"demo", "-m", model_, "--ctx", "352", "--problems", "1", "-n", "8",
                  "--distill-tokens", "4096", "-o", page, "--color", "never"},
                 {.environment = {{"TMPDIR", temporary}}});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const std::string html = ReadFile(page, 4 << 20);
  for (const char* row : {"parent", "pruned", "distilled", "from scratch"}) {
    EXPECT_NE(outcome.out.find(fmt::format("   {} ", row)), std::string::npos) << outcome.out;
    EXPECT_NE(html.find(fmt::format("<th>{}</th>", row)), std::string::npos) << row;
  }
  EXPECT_TRUE(std::filesystem::is_empty(temporary)) << "folders stay behind";
}

}  // namespace
}  // namespace planish::testing
