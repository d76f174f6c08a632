// SPDX-License-Identifier: Apache-2.0
// `planish pretrain` on several ranks: equal bits for any number of them, on one host and on several, across changes of the
// number at a resume, after the death of a rank, and refusals.
#include <chrono>
#include <cmath>
#include <fstream>
#include <thread>

#include "mpirun.h"
#include "train/train_testing.h"

namespace planish::testing {
namespace {

// Four micro-batches a step.
std::vector<std::string> Arguments(const TinyRun& run, const std::string& name,
                                   const std::string& steps = "12") {
  return {"pretrain", run.dir() / "tiny.toml", "-o",    run.dir() / name,         "-q",
          "--set",    "batch.tokens=192",      "--set", "schedule.steps=" + steps};
}

std::vector<std::string> With(std::vector<std::string> arguments,
                              const std::vector<std::string>& more) {
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

Outcome Ranks(size_t ranks, const std::vector<std::string>& arguments) {
  return Mpirun(ranks, With({PLANISH_BINARY}, arguments));
}

void ExpectSameEnd(const std::string& a, const std::string& b) {
  // The moments lie in one file a rank, so the masters, which follow from them, are compared.
  std::vector<std::string> masters;
  std::vector<double> averages;
  for (const std::string& folder : {a, b}) {
    const auto newest = CheckpointStore(folder + "/checkpoints", {}).NewestValid();
    ASSERT_TRUE(newest.has_value()) << folder;
    masters.push_back(Sha256HexOfFile(*newest + "/master.safetensors"));
    averages.push_back(VerifyCheckpoint(*newest).loss_ema);
  }
  EXPECT_EQ(masters[0], masters[1]);
  EXPECT_EQ(averages[0], averages[1]);
  EXPECT_EQ(MetricsOf(a), MetricsOf(b));
}

TEST(Ranks, OneTwoAndFourGiveTheSameBits) {
  const TinyRun run;
  OutputOf(Arguments(run, "one"));
  for (const size_t ranks : {2, 4}) {
    const std::string name = std::to_string(ranks);
    const Outcome outcome = Ranks(ranks, Arguments(run, name));
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    ExpectSameEnd(run.dir() / "one", run.dir() / name);
  }
}

TEST(Ranks, ARunGoesOnExactlyWithAnotherNumberOfThem) {
  const TinyRun run;
  OutputOf(Arguments(run, "whole"));
  OutputOf(With(Arguments(run, "changed"), {"--steps", "4"}));
  const Outcome two = Ranks(2, With(Arguments(run, "changed"), {"--steps", "8"}));
  ASSERT_EQ(two.status, 0) << two.err;
  OutputOf(Arguments(run, "changed"));
  ExpectSameEnd(run.dir() / "whole", run.dir() / "changed");
}

TEST(Ranks, ADeadRankEndsTheJobAndTheRestartContinuesExactly) {
  const TinyRun run;
  OutputOf(Arguments(run, "whole", "200"));
  std::thread killer([&] {
    // A rank is a process of this test's whose command line names the run; the log tells the moment, after two checkpoints.
    const std::string log = run.dir() / "killed/log.jsonl";
    for (int i = 0;
         i < 1200 && ReadFilePrefix(log, 1 << 20).find("\"step\":20,") == std::string::npos; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(25));
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const std::string pid = entry.path().filename();
      if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
      const std::string line = ReadFilePrefix(entry.path() / "cmdline", 4096);
      const std::string environment = ReadFilePrefix(entry.path() / "environ", 1 << 16);
      if (line.starts_with(PLANISH_BINARY) &&
          line.find(run.dir() / "killed") != std::string::npos &&
          environment.find("OMPI_COMM_WORLD_RANK=1") != std::string::npos) {
        kill(std::stoi(pid), SIGKILL);
        return;
      }
    }
    ADD_FAILURE() << "rank 1 not found";
  });
  const auto begin = std::chrono::steady_clock::now();
  const Outcome outcome = Ranks(2, Arguments(run, "killed", "200"));
  killer.join();
  EXPECT_NE(outcome.status, 0);
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(), 60);
  EXPECT_NE(outcome.err.find("signal 9"), std::string::npos) << outcome.err;
  const Outcome again = Ranks(2, Arguments(run, "killed", "200"));
  ASSERT_EQ(again.status, 0) << again.err;
  ExpectSameEnd(run.dir() / "whole", run.dir() / "killed");
}

TEST(Ranks, TheProgramStartsItsOwn) {
  const TinyRun run;
  OutputOf(Arguments(run, "one"));
  const Outcome outcome =
      RunProgram(With(Arguments(run, "two"), {"--ranks", "2", "--max-restarts", "1"}),
                 {.environment = MpiEnvironment()});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  ExpectSameEnd(run.dir() / "one", run.dir() / "two");
}

TEST(Ranks, NumbersThatCannotGiveEqualBitsAreRefused) {
  const TinyRun run;
  const Outcome outcome = Ranks(3, Arguments(run, "three"));
  EXPECT_EQ(outcome.status, 2) << outcome.err;
  EXPECT_NE(outcome.err.find("possible: 1, 2, 4"), std::string::npos) << outcome.err;
}

TEST(Ranks, HostsOfTheirOwnGiveTheSameBits) {
  const NamespaceHosts hosts(2);
  if (!hosts.is_ready()) GTEST_SKIP() << "network namespaces need root and iproute2";
  const TinyRun run;
  OutputOf(Arguments(run, "one"));
  std::vector<std::string> arguments = {"netns", "exec", hosts.Name(0), "mpirun"};
  for (const auto& part :
       {MpirunArguments(2), hosts.Arguments(), With({PLANISH_BINARY}, Arguments(run, "hosts"))})
    arguments.insert(arguments.end(), part.begin(), part.end());
  const Outcome outcome =
      RunAnyProgram("ip", arguments, {.environment = MpiEnvironment(), .limit_s = 100});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  ExpectSameEnd(run.dir() / "one", run.dir() / "hosts");
}

}  // namespace
}  // namespace planish::testing
