// SPDX-License-Identifier: Apache-2.0
// `planish prune` from outside: the published search from a name alone, a real model cut and opened again, errors in one line.
#include <algorithm>

#include "base/file.h"
#include "golden_case.h"
#include "run_program.h"

namespace planish::testing {
namespace {

const std::string kNano = PLANISH_SOURCE_DIR "/models/planish-nano";

TEST(PruneVerb, PlansThePublishedSearchFromTheNameAlone) {
  const Json plan = JsonOf({"prune", "-m", "nano-12b-v2", "--plan", "--target-memory", "19.66GiB",
                            "--context", "131072", "--hidden", "4480", "--mamba-heads", "128",
                            "--mamba-head-dim", "80", "--blocks", "56", "--top", "1000", "--json"});
  EXPECT_GT(Member(plan, "feasible").AsInt(), 0);
  EXPECT_LT(Member(plan, "feasible").AsInt(), Member(plan, "points").AsInt());
  // Of the shapes that are 4480 wide with 27 + 4 + 25 blocks only the largest is no part of another.
  bool has_larger = false;
  for (const Json& shape : Member(plan, "candidates").AsArray()) {
    EXPECT_LE(static_cast<double>(Member(shape, "total_bytes").AsInt()), 19.66 * (1 << 30));
    has_larger |= Member(shape, "mamba_blocks").AsInt() == 27 &&
                  Member(shape, "ffn_blocks").AsInt() == 25 &&
                  Member(shape, "ffn").AsInt() >= 15680;
  }
  EXPECT_TRUE(has_larger);
  const Json exact = JsonOf({"prune", "-m", "nano-12b-v2", "--plan", "--hidden", "4480", "--ffn",
                             "15680", "--blocks", "56", "--top", "1000", "--json"});
  bool has_nine = false;
  for (const Json& shape : Member(exact, "candidates").AsArray())
    has_nine |= Member(shape, "parameters").AsInt() == 8'888'227'328;
  EXPECT_TRUE(has_nine);
}

TEST(PruneVerb, CutsPlanishNano) {
  if (!FileExists(kNano + "/model.safetensors")) GTEST_SKIP() << kNano << " is not here";
  const TemporaryDir work;
  const Json found = JsonOf({"prune",
                             "-m",
                             kNano,
                             "-o",
                             work / "child",
                             "--data",
                             PLANISH_SOURCE_DIR "/README.md",
                             "--samples",
                             "3",
                             "--seq-len",
                             "64",
                             "--score-samples",
                             "1",
                             "--target-params",
                             "70%",
                             "--top",
                             "2",
                             "--depth-score",
                             "influence",
                             "--json"});
  const Json& best = Member(found, "candidates").AsArray().at(0);
  const int64_t parameters = Member(Member(best, "plan"), "parameters").AsInt();
  EXPECT_LE(static_cast<double>(parameters),
            0.7 * static_cast<double>(Member(Member(found, "parent"), "parameters").AsInt()));
  EXPECT_GT(Member(best, "kl").AsDouble(), 0);
  EXPECT_EQ(Member(JsonOf({"plan", work / "child", "--json"}), "parameters").AsInt(), parameters);
  const Outcome again = RunProgram({"prune", "-m", kNano, "-o", work / "child", "--data",
                                    PLANISH_SOURCE_DIR "/README.md", "--ffn", "64"});
  EXPECT_EQ(again.status, 2);
  EXPECT_NE(again.err.find("exists already"), std::string::npos) << again.err;
}

TEST(PruneVerb, ALatencyIsSearchedWithCostsThatAreKept) {
  if (!FileExists(kNano + "/model.safetensors")) GTEST_SKIP() << kNano << " is not here";
  const TemporaryDir work;
  const std::string costs = work / "costs.json";
  const auto plan = [&](const std::string& target) {
    return std::vector<std::string>{"prune",
                                    "-m",
                                    kNano,
                                    "--plan",
                                    "--target-latency",
                                    target,
                                    "-b",
                                    "2",
                                    "--context",
                                    "64",
                                    "-t",
                                    "1",
                                    "--top",
                                    "3",
                                    "--costs",
                                    costs,
                                    "-q",
                                    "--cost-samples",
                                    "3",
                                    "--json"};
  };
  // Figures of this machine mean nothing in a test, but twice the parent's time is enough for the parent itself.
  const Json first = JsonOf(plan("200%"));
  const double parent = Member(Member(first, "parent_step_s"), "median").AsDouble();
  EXPECT_GT(parent, 0);
  EXPECT_EQ(Member(first, "feasible").AsInt(), Member(first, "points").AsInt());
  const Json& largest = Member(first, "candidates").AsArray().at(0);
  EXPECT_EQ(Member(Member(largest, "step_s"), "median").AsDouble(), parent);
  const std::string table = ReadFile(costs, 1 << 24);
  const Json second = JsonOf(plan(fmt::format("{}ms", 2e3 * parent)));
  EXPECT_EQ(Member(second, "feasible").AsInt(), Member(first, "feasible").AsInt());
  EXPECT_EQ(ReadFile(costs, 1 << 24), table) << "all was known";
  const Outcome impossible = RunProgram(plan("0.1%"));
  EXPECT_EQ(impossible.status, 2);
  EXPECT_EQ(Lines(impossible.err).size(), 1u) << impossible.err;
  EXPECT_NE(impossible.err.find("the fastest one's decode step takes"), std::string::npos)
      << impossible.err;
}

TEST(PruneVerb, ErrorsAreOneLineWithTheirStatus) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"prune", "-m", "nano-9b-v2", "--plan"}, "what to prune to"},
      {{"prune", "-m", "nano-9b-v2", "--plan", "--target-params", "lots"}, "--target-params"},
      {{"prune", "-m", "nano-9b-v2", "--plan", "--target-params", "1M"}, "within the budget"},
      {{"prune", "-m", "nano-9b-v2", "--plan", "--target-latency", "soon"}, "--target-latency"},
      {{"prune", "-m", "nano-9b-v2", "--plan", "--hidden", "9000"}, "--hidden"},
      {{"prune", "-m", "qwen3-8b", "--plan", "--mamba-heads", "8"}, "--mamba-heads"},
      {{"prune", "-m", "nano-9b-v2", "--plan", "--drop", "1", "--blocks", "3"}, "--drop"},
      {{"prune", "-m", "nano-9b-v2", "--plan", "--drop", "56"}, "--drop"},
      {{"prune", "-m", "nano-9b-v2", "--ffn", "64"}, "-o"},
      {{"prune", "-m", "nano-9b-v2", "--ffn", "64", "-o", "x"}, "--data"}};
  for (const auto& [arguments, part] : cases) {
    const Outcome outcome = RunProgram(arguments);
    EXPECT_EQ(outcome.status, 2) << part;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err;
  }
}

}  // namespace
}  // namespace planish::testing
