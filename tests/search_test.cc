// SPDX-License-Identifier: Apache-2.0
// `planish search` from outside: library, scores, costs, solution, models; solved again under other limits; killed and gone on
// with; what it refuses.
#include <algorithm>
#include <csignal>
#include <filesystem>
#include <map>
#include <thread>

#include "base/json.h"
#include "golden_case.h"
#include "run_program.h"
#include "train/train_testing.h"

namespace planish::testing {
namespace {

// A tiny hybrid with random weights, and text. Timings are of next to nothing, so limits are on parameters.
class Searched : public TinyRun {
 public:
  Searched() {
    OutputOf({"init", path("config.json"), "-o", path("parent"), "-q"});
    std::string lines;
    for (uint64_t i = 0; i < 60; ++i) lines += "{\"text\": \"" + RandomText(i, 20) + "\"}\n";
    WriteFile(path("text.jsonl"), lines);
  }
  std::string path(const std::string& name) const { return dir() / name; }
  std::vector<std::string> Arguments(const std::string& out,
                                     const std::vector<std::string>& more) const {
    std::vector<std::string> arguments = {"search",
                                          "-m",
                                          path("parent"),
                                          "-o",
                                          path(out),
                                          "--data",
                                          path("text.jsonl"),
                                          "--attention",
                                          "linear,none",
                                          "--ffn",
                                          "50,none",
                                          "--mamba",
                                          "heads=50%,none",
                                          "--samples",
                                          "8",
                                          "--seq-len",
                                          "24",
                                          "--score-samples",
                                          "2",
                                          "--eval-samples",
                                          "2",
                                          "--cost-samples",
                                          "3",
                                          "--copies",
                                          "1",
                                          "-b",
                                          "2",
                                          "--context",
                                          "16",
                                          "-t",
                                          "1",
                                          "-q"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
};

// Names and hashes of the children of a folder's library.
std::map<std::string, std::string> LibraryOf(const std::string& folder) {
  std::map<std::string, std::string> files;
  if (!IsDirectory(folder + "/library")) return files;
  for (const auto& entry : std::filesystem::directory_iterator(folder + "/library"))
    if (entry.path().extension() == ".safetensors")  // else one that was being written
      files[entry.path().filename()] = Sha256HexOfFile(entry.path());
  return files;
}

int64_t ParametersOf(const Json& found) {
  const Json& total = Member(Member(Member(found, "totals"), "parameters"), "total");
  return std::llround(1e6 * total.AsDouble());
}

void ExpectRefused(const std::vector<std::string>& arguments, int status,
                   const std::vector<std::string>& words) {
  const Outcome outcome = RunProgram(arguments);
  EXPECT_EQ(outcome.status, status) << outcome.err;
  EXPECT_EQ(Lines(outcome.err).size(), 1u) << outcome.err;
  for (const std::string& word : words)
    EXPECT_NE(outcome.err.find(word), std::string::npos) << word << " is not in " << outcome.err;
}

TEST(SearchVerb, FindsAModelAndASmallerOneByTheSolverAlone) {
  const Searched searched;
  const Json first = JsonOf(searched.Arguments(
      "out", {"--tokens", "500", "--max-params", "85%", "--baseline", "depth,depth-even,width",
              "--random", "4", "--measure", "--json"}));
  EXPECT_TRUE(Member(first, "is_complete").AsBool());
  EXPECT_EQ(Member(first, "children_made").AsInt(), 4);  // "none" has no parameters
  const Json& parent = Member(first, "parent_model");
  const Json& best = Member(first, "found").AsArray().at(0);
  EXPECT_EQ(Member(best, "name").AsString(), "solution_1");
  EXPECT_LE(ParametersOf(best), 0.85 * static_cast<double>(ParametersOf(parent)));
  EXPECT_GT(Member(Member(best, "divergence"), "kl_mean").AsDouble(), 0);
  EXPECT_GT(Member(Member(best, "measured_latency_s"), "median").AsDouble(), 0);
  // What was written is a model of that size that speaks.
  const std::string folder = searched.path("out/solution_1");
  EXPECT_EQ(Member(JsonOf({"plan", folder, "--json"}), "parameters").AsInt(), ParametersOf(best));
  OutputOf({"generate", "-m", folder, "the river", "-n", "3", "-t", "1", "-q"});
  EXPECT_NE(ReadFile(searched.path("out/search.html"), 1 << 24).find("<html"), std::string::npos);

  const auto library = LibraryOf(searched.path("out"));
  const std::vector<std::string> again = {"--mip-only", "--name", "tighter", "--json"};
  std::vector<std::string> tighter = again;
  tighter.insert(tighter.end(), {"--max-params", "70%"});
  const Json second = JsonOf(searched.Arguments("out", tighter));
  const Json& smaller = Member(second, "found").AsArray().at(0);
  EXPECT_LE(ParametersOf(smaller), 0.7 * static_cast<double>(ParametersOf(parent)));
  EXPECT_GE(Member(smaller, "objective").AsDouble(), Member(best, "objective").AsDouble());
  EXPECT_TRUE(FileExists(searched.path("out/tighter.html")));
  EXPECT_TRUE(FileExists(searched.path("out/tighter_1/model.safetensors")));
  EXPECT_TRUE(FileExists(folder + "/model.safetensors")) << "the first solution stays";
  EXPECT_EQ(LibraryOf(searched.path("out")), library);

  auto unmeasured = searched.Arguments("out", {"--mip-only", "--max-latency", "70%"});
  *(std::find(unmeasured.begin(), unmeasured.end(), "-b") + 1) = "4";
  ExpectRefused(unmeasured, 2, {"decode, batch 4, context 16", "decode, batch 2, context 16"});
  ExpectRefused(searched.Arguments("out", {"--mip-only", "--max-params", "1K"}), 2,
                {"parameters <= 0.001 M was asked", "is possible alone"});
}

TEST(SearchVerb, AKilledLibraryIsGoneOnWithToTheSameBytes) {
  const Searched searched;
  const auto arguments = [&](const std::string& out) {
    return searched.Arguments(out, {"--tokens", "60000", "--build-only"});
  };
  OutputOf(arguments("whole"));
  const auto whole = LibraryOf(searched.path("whole"));
  EXPECT_EQ(whole.size(), 4u);
  std::thread killer([&] {
    // The process whose command line names the folder, once it holds a child.
    const std::string folder = searched.path("killed");
    for (int i = 0; i < 30'000; ++i) {
      if (!LibraryOf(folder).empty()) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const std::string pid = entry.path().filename();
      if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
      const std::string line = ReadFilePrefix(entry.path() / "cmdline", 4096);
      if (line.starts_with(PLANISH_BINARY) && line.find(folder) != std::string::npos)
        kill(std::stoi(pid), SIGKILL);
    }
  });
  const Outcome outcome = RunProgram(arguments("killed"));
  killer.join();
  ASSERT_EQ(outcome.status, -SIGKILL) << outcome.err;
  EXPECT_LT(LibraryOf(searched.path("killed")).size(), whole.size());
  ExpectRefused(searched.Arguments("killed", {"--mip-only", "--max-params", "80%"}), 3,
                {"was interrupted", "goes on with it"});
  OutputOf(arguments("killed"));
  EXPECT_EQ(LibraryOf(searched.path("killed")), whole);
}

TEST(SearchVerb, WhatIsNoSearchIsLeftAlone) {
  const Searched searched;
  MakeDirectories(searched.path("mine"));
  WriteFile(searched.path("mine/notes.txt"), "mine");
  ExpectRefused(searched.Arguments("mine", {"--max-params", "80%"}), 2, {"no folder of a search"});
  ExpectRefused(searched.Arguments("nothing", {"--max-params", "80%", "--mip-only"}), 3,
                {"holds no search", "without --mip-only"});
  EXPECT_EQ(ReadFile(searched.path("mine/notes.txt"), 100), "mine");
  ExpectRefused(searched.Arguments("out", {}), 2, {"no limit", "--max-latency"});
  ExpectRefused(searched.Arguments("out", {"--max-latency", "soon"}), 2, {"--max-latency"});
}

}  // namespace
}  // namespace planish::testing
