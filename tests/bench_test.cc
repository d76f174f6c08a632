// SPDX-License-Identifier: Apache-2.0
// `planish bench`: the shape of what it prints and how it refuses. Speeds differ from run to run and are only positive here.
#include "golden_case.h"
#include "run_program.h"

namespace planish::testing {
namespace {

// A cache folder of its own, so that the user's figures are neither used nor replaced.
class Bench : public ::testing::Test {
 protected:
  RunOptions Options() const { return {.environment = {{"XDG_CACHE_HOME", cache_.path()}}}; }
  Json Run(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), "bench");
    arguments.insert(arguments.end(), {"--seconds", "0.05", "-o", "json"});
    return JsonOf(arguments, Options());
  }
  TemporaryDir cache_;
};

double Number(const Json& json, const std::string& key) { return Member(json, key).AsDouble(); }

TEST_F(Bench, MachineGivesPositivePeaksAndKeepsThem) {
  const Json peaks = Run({"machine", "-t", "2"});
  EXPECT_EQ(Member(peaks, "threads").AsInt(), 2);
  for (const char* key : {"read_bytes_per_s", "copy_bytes_per_s", "plain_read_bytes_per_s"}) {
    EXPECT_GT(Number(Member(peaks, key), "one_thread"), 0) << key;
    EXPECT_GT(Number(Member(peaks, key), "team"), 0) << key;
  }
  EXPECT_GT(Number(Member(Member(peaks, "operations_per_s"), "f32"), "team"), 0);
  EXPECT_GT(Number(peaks, "barrier_s"), 0);
  EXPECT_EQ(Listing(cache_ / "planish", ".json").size(), 1u);
  EXPECT_EQ(Run({"machine", "-t", "2"}), peaks) << "the second run reads the first one's figures";
  const std::string file = cache_ / "planish/" + Listing(cache_ / "planish", ".json")[0];
  WriteFile(file, "{\"format\": 1}");
  EXPECT_NE(Run({"machine", "-t", "2"}), peaks) << "a damaged file is measured again";
  EXPECT_GT(ReadFile(file, 1 << 20).size(), 100u) << "and renewed";
}

TEST_F(Bench, MachineTableNamesEveryLimit) {
  const std::string text =
      OutputOf({"bench", "machine", "-t", "2", "--seconds", "0.05", "--patterns"}, Options());
  for (const char* word : {"machine", "f32", "memory read", "memory copy", "parallel region",
                           "barrier", "scaling", "| read |"})
    EXPECT_NE(text.find(word), std::string::npos) << word << " is not in\n" << text;
}

TEST_F(Bench, ModelRowsCoverEveryCombinationWithSharesOfThePeaks) {
  const std::string model = GoldenDir() + "/models/nemotron_h_a";
  PLANISH_NEEDS_GOLDEN(model);
  const Json json = Run({"-m", model, "-p", "16,40", "-n", "4", "-d", "0,70", "-b", "1,2", "-r",
                         "2", "-t", "1,2", "--phases"});
  EXPECT_EQ(Member(Member(json, "peaks"), "threads").AsInt(), 2);
  EXPECT_EQ(Member(Member(json, "model"), "type").AsString(), "nemotron_h");
  EXPECT_GT(Member(Member(json, "model"), "parameters").AsInt(), 0);
  const Json::Array& results = Member(json, "results").AsArray();
  ASSERT_EQ(results.size(), 2u * 2 * 2 * 3);
  for (const Json& row : results) {
    SCOPED_TRACE(DumpJson(row));
    EXPECT_EQ(Member(row, "n_prompt").AsInt() == 0, Member(row, "n_gen").AsInt() == 4);
    EXPECT_EQ(Member(row, "samples_ts").AsArray().size(), 2u);
    EXPECT_EQ(Member(row, "samples_ns").AsArray().size(), 2u);
    for (const char* key : {"avg_ts", "median_ts", "avg_ns", "bytes_per_token", "flops_per_token",
                            "share_of_read", "share_of_arithmetic", "limit_ts", "share_of_limit"})
      EXPECT_GT(Number(row, key), 0) << key;
    EXPECT_GE(Number(row, "stddev_ts"), 0);
    const Json& phases = Member(row, "phases");
    EXPECT_GT(Number(Member(phases, "scan"), "ms_per_step"), 0);
    EXPECT_GT(Number(Member(phases, "head"), "calls_per_step"), 0);
    EXPECT_GE(Number(row, "regions_per_step"), 0);
  }
  const std::string text = OutputOf({"bench", "-m", model, "-p", "16", "-n", "0", "-r", "1", "-t",
                                     "2", "--seconds", "0.05", "--phases"},
                                    Options());
  EXPECT_NE(text.find("| pp16 |"), std::string::npos) << text;
  EXPECT_NE(text.find("| scan |"), std::string::npos) << text;
  EXPECT_LT(text.find("memory read"), text.find("| pp16 |")) << "the peaks come first";
}

TEST_F(Bench, WrongArgumentsAreOneLineAndStatus2) {
  const std::vector<std::vector<std::string>> wrong = {
      {},
      {"machine", "-m", "x"},
      {"engine"},
      {"machine", "machine"},
      {"-m", "x", "-p", "12,"},
      {"-m", "x", "-p", ""},
      {"-m", "x", "-b", "0"},
      {"-m", "x", "-t", "1,two"},
      {"-m", "x", "-d", "-1"},
      {"-m", "x", "-r", "0"},
      {"-m", "x", "-o", "csv"},
      {"-m", "x", "-p", "0", "-n", "0"},
      {"machine", "--seconds", "0"},
  };
  for (std::vector<std::string> arguments : wrong) {
    arguments.insert(arguments.begin(), "bench");
    const Outcome outcome = RunProgram(arguments, Options());
    SCOPED_TRACE(::testing::PrintToString(arguments) + outcome.err);
    EXPECT_EQ(outcome.status, 2);
    EXPECT_EQ(outcome.out, "");
    EXPECT_TRUE(outcome.err.starts_with("planish bench: error: "));
    EXPECT_EQ(outcome.err.find('\n'), outcome.err.size() - 1);
  }
  EXPECT_EQ(RunProgram({"bench", "-m", "/nonexistent"}, Options()).status, 3);
}

}  // namespace
}  // namespace planish::testing
