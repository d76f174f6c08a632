// SPDX-License-Identifier: Apache-2.0
// `planish search` from outside: library, scores, costs, solution, models; solved again under other limits; killed and gone on
// with; what it refuses.
#include <algorithm>
#include <csignal>
#include <filesystem>
#include <map>
#include <thread>

#include "background_run.h"
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
  std::vector<std::string> arguments = searched.Arguments("out", tighter);
  *(std::find(arguments.begin(), arguments.end(), "--score-samples") + 1) = "1";
  const Json second = JsonOf(arguments);
  const Json& smaller = Member(second, "found").AsArray().at(0);
  EXPECT_LE(ParametersOf(smaller), 0.7 * static_cast<double>(ParametersOf(parent)));
  EXPECT_GE(Member(smaller, "objective").AsDouble(), Member(best, "objective").AsDouble());
  // The page tells the rows that the scores are of, not those that this call would score on.
  const auto scored_on = [&](const std::string& page) {
    const std::string html = ReadFile(searched.path(page), 1 << 24), name = "<th>scores</th><td>";
    const size_t at = html.find(name);
    return at == std::string::npos ? "" : html.substr(at, html.find("</td>", at) - at);
  };
  EXPECT_NE(scored_on("out/search.html").find("kl of text.jsonl: "), std::string::npos);
  EXPECT_EQ(scored_on("out/tighter.html"), scored_on("out/search.html"));
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
  BackgroundRun killed(arguments("killed"));
  while (LibraryOf(searched.path("killed")).empty() && !killed.HasEnded())
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  ASSERT_EQ(killed.End(SIGKILL), -SIGKILL);
  EXPECT_LT(LibraryOf(searched.path("killed")).size(), whole.size());
  ExpectRefused(searched.Arguments("killed", {"--mip-only", "--max-params", "80%"}), 3,
                {"was interrupted", "goes on with it"});
  OutputOf(arguments("killed"));
  EXPECT_EQ(LibraryOf(searched.path("killed")), whole);
}

// Kills anywhere between the first and the last child of a library, while one is trained or written, with other threads each
// time: nothing is lost or made twice, and children, index and scores end as those of an undisturbed run.
TEST(SearchVerb, FiveKillsInTheLibraryLeaveTheBytesOfAnUndisturbedRunSlow) {
  const Searched searched;
  const auto arguments = [&](const std::string& out, const char* threads) {
    auto all = searched.Arguments(out, {"--tokens", "40000", "--build-only"});
    const auto value_of = [&](const char* name) {
      return std::find(all.begin(), all.end(), name) + 1;
    };
    *value_of("--ffn") = "75,50,25,none";
    *value_of("--mamba") = "heads=50%,head_dim=50%,none";
    *value_of("-t") = threads;
    return all;
  };
  using Clock = std::chrono::steady_clock;
  const std::string whole = searched.path("whole"), killed = searched.path("killed");
  const auto begin = Clock::now();
  OutputOf(arguments("whole", "1"));
  const double whole_s = std::chrono::duration<double>(Clock::now() - begin).count();
  const auto children = LibraryOf(whole);
  ASSERT_GE(children.size(), 8u);
  Random random(7);
  size_t kills = 0, incomplete = 0, most = 0;
  for (size_t i = 0; i < 5; ++i) {
    BackgroundRun run(arguments("killed", i % 2 == 0 ? "1" : "2"));
    // So many children are there, or the first of them is being made; then any moment of the time that one takes.
    const size_t wanted = std::min(most + (i == 0 ? 0 : 1), children.size() - 1);
    while (!run.HasEnded() &&
           (!IsDirectory(killed + "/library") || LibraryOf(killed).size() < wanted))
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::this_thread::sleep_for(std::chrono::duration<double>(
        random.Uniform() * whole_s / static_cast<double>(children.size())));
    const int status = run.End(SIGKILL);
    ASSERT_TRUE(status == -SIGKILL || status == 0) << status;
    kills += status == -SIGKILL;
    const auto left = LibraryOf(killed);
    incomplete += left.size() < children.size();
    EXPECT_GE(left.size(), most) << "what was made stays";
    most = left.size();
    for (const auto& [name, hash] : left) {
      ASSERT_TRUE(children.contains(name)) << name;
      EXPECT_EQ(hash, children.at(name)) << name << " under its final name is whole";
    }
  }
  EXPECT_GE(kills, 3u);
  EXPECT_GE(incomplete, 3u) << "most kills must have come in the middle of the library";
  OutputOf(arguments("killed", "2"));
  EXPECT_EQ(LibraryOf(killed), children);
  for (const char* name : {"/block_library.json", "/scores.json"})
    EXPECT_EQ(Sha256HexOfFile(killed + name), Sha256HexOfFile(whole + name)) << name;
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
