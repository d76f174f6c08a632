// SPDX-License-Identifier: Apache-2.0
#include "cli/ranks.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/parallel.h"

namespace planish {
namespace {

// This process's command line after the program's name.
std::vector<std::string> OwnArguments() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> words;
  for (std::string word; std::getline(file, word, '\0');) words.push_back(word);
  if (!words.empty()) words.erase(words.begin());
  return words;
}

// Without `--name VALUE` and `--name=VALUE`.
std::vector<std::string> Without(const std::vector<std::string>& arguments,
                                 const std::vector<std::string>& names) {
  std::vector<std::string> rest;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    const auto is = [&](const std::string& name) { return argument == name; };
    const auto begins = [&](const std::string& name) { return argument.starts_with(name + "="); };
    if (std::any_of(names.begin(), names.end(), is))
      ++i;  // its value
    else if (std::none_of(names.begin(), names.end(), begins))
      rest.push_back(argument);
  }
  return rest;
}

// Status of a command, 128 + signal if one ended it. Signals to this process reach the whole foreground group, mpirun included;
// it passes them on to the ranks, so waiting goes on.
int RunAndWait(const std::vector<std::string>& command) {
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const pid_t child = fork();
  if (child < 0) throw RuntimeError("cannot start {}", command[0]);
  if (child == 0) {
    execvp(argv[0], argv.data());
    _exit(127);
  }
  const auto old_int = std::signal(SIGINT, SIG_IGN);
  static volatile pid_t running = 0;
  running = child;
  const auto old_term = std::signal(SIGTERM, [](int) { kill(running, SIGTERM); });
  int state = 0;
  while (waitpid(child, &state, 0) < 0 && errno == EINTR) {
  }
  std::signal(SIGINT, old_int);
  std::signal(SIGTERM, old_term);
  return WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
}

bool IsWorthARestart(int status) {
  constexpr std::array kFinal = {ExitCode::kOk,       ExitCode::kUsage,      ExitCode::kBadFile,
                                 ExitCode::kNoMemory, ExitCode::kNonFinite,  ExitCode::kMismatch,
                                 ExitCode::kLocked,   ExitCode::kInterrupted};
  return std::none_of(kFinal.begin(), kFinal.end(),
                      [&](ExitCode code) { return status == static_cast<int>(code); }) &&
         status != 127 && status != 128 + SIGTERM;
}

}  // namespace

int RunRanks(const RankLaunch& launch) {
  const std::vector<std::string> own = Without(OwnArguments(), {"--ranks", "--max-restarts"});
  const std::string program = std::filesystem::read_symlink("/proc/self/exe");
  for (size_t attempt = 0;; ++attempt) {
    // The cores are shared out by threads, not by binding: a rank's team is as large as its share.
    const size_t threads = std::max<size_t>(1, static_cast<size_t>(ThreadCount()) / launch.ranks);
    std::vector<std::string> command = {"mpirun",
                                        "-n",
                                        std::to_string(launch.ranks),
                                        "--oversubscribe",
                                        "--bind-to",
                                        "none",
                                        "-x",
                                        "OMP_NUM_THREADS=" + std::to_string(threads)};
    if (geteuid() == 0) command.push_back("--allow-run-as-root");
    command.push_back(program);
    const std::vector<std::string> rest =
        attempt == 0 ? own : Without(own, {"--resume", "--branch-decay"});
    command.insert(command.end(), rest.begin(), rest.end());
    if (attempt > 0) command.insert(command.end(), {"--resume", "auto"});
    const int status = RunAndWait(command);
    if (status == 127)
      throw Error(ExitCode::kUsage, "--ranks: mpirun cannot be started",
                  "install Open MPI (Debian: openmpi-bin)");
    if (!IsWorthARestart(status) || attempt >= launch.max_restarts) return status;
    LogWarning("the job ended with status {}; restart {} of {} from the newest checkpoint", status,
               attempt + 1, launch.max_restarts);
  }
}

}  // namespace planish
