// SPDX-License-Identifier: Apache-2.0
// Ranks as real processes under mpirun: equal sums for any number of them, on one host and on several, and how a job ends
// when a rank dies or falls silent.
#include <chrono>
#include <fstream>
#include <thread>

#include "mpirun.h"

namespace planish {
namespace {

using testing::Mpirun;
using testing::Outcome;

// What `mpi_ranks sum` printed after the number of ranks.
std::string HashOf(const Outcome& outcome) {
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  const size_t at = outcome.out.find("ranks ");
  return at == std::string::npos ? "none: " + outcome.out + outcome.err : outcome.out.substr(at);
}

TEST(Mpi, SumsAreTheSameForOneTwoAndFourRanks) {
  const std::string one = HashOf(Mpirun(1, {MPI_RANKS_BINARY, "sum", "8"}));
  EXPECT_EQ(HashOf(Mpirun(2, {MPI_RANKS_BINARY, "sum", "8"})), one);
  EXPECT_EQ(HashOf(Mpirun(4, {MPI_RANKS_BINARY, "sum", "8"})), one);
}

TEST(Mpi, RanksThatDisagreeAreRefused) {
  const Outcome outcome = Mpirun(2, {MPI_RANKS_BINARY, "differ"});
  EXPECT_EQ(outcome.status, 2) << outcome.err;
  EXPECT_NE(outcome.err.find("program version differs between ranks"), std::string::npos)
      << outcome.err;
}

// Runs `wait` on two ranks, sends the signal to rank 1, and gives the outcome and how long it took.
std::pair<Outcome, double> AfterSignal(int signal) {
  const std::string file =
      (std::filesystem::temp_directory_path() / ("planish_mpi_wait_" + std::to_string(getpid())))
          .string();
  double seconds = 0;
  std::thread killer([&] {
    pid_t pid = 0;
    for (int i = 0; i < 600 && pid == 0; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      std::ifstream(file + ".1") >> pid;
    }
    EXPECT_NE(pid, 0) << "rank 1 never started";
    if (pid != 0) kill(pid, signal);
    const auto begin = std::chrono::steady_clock::now();
    while (pid != 0 && seconds < 60 && FileExists(file + ".0")) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    }
    if (pid != 0 && signal == SIGSTOP) kill(pid, SIGKILL);
  });
  Outcome outcome = Mpirun(2, {MPI_RANKS_BINARY, "wait", file}, {}, {.limit_s = 60});
  std::remove((file + ".0").c_str());
  killer.join();
  std::remove((file + ".1").c_str());
  return {std::move(outcome), seconds};
}

TEST(Mpi, ADeadRankEndsTheJob) {
  const auto [outcome, seconds] = AfterSignal(SIGKILL);
  EXPECT_NE(outcome.status, 0);
  EXPECT_LT(seconds, 30);
  EXPECT_NE(outcome.err.find("signal 9"), std::string::npos) << outcome.err;
}

TEST(Mpi, ASilentRankEndsTheJobAndIsNamed) {
  const auto [outcome, seconds] = AfterSignal(SIGSTOP);
  EXPECT_NE(outcome.status, 0);
  EXPECT_LT(seconds, 30);
  EXPECT_NE(outcome.err.find("rank 1 on"), std::string::npos) << outcome.err;
}

TEST(Mpi, SumsAreTheSameOnHostsOfTheirOwn) {
  const testing::NamespaceHosts hosts(2);
  if (!hosts.is_ready()) GTEST_SKIP() << "network namespaces need root and iproute2";
  const std::string one = HashOf(Mpirun(1, {MPI_RANKS_BINARY, "sum", "4"}));
  std::vector<std::string> arguments = {"netns", "exec", hosts.Name(0), "mpirun"};
  for (const auto& part : {testing::MpirunArguments(2), hosts.Arguments(),
                           std::vector<std::string>{MPI_RANKS_BINARY, "sum", "4"}})
    arguments.insert(arguments.end(), part.begin(), part.end());
  EXPECT_EQ(HashOf(testing::RunAnyProgram(
                "ip", arguments, {.environment = testing::MpiEnvironment(), .limit_s = 60})),
            one);
}

}  // namespace
}  // namespace planish
