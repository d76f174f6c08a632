// SPDX-License-Identifier: Apache-2.0
// For tests of kills: build/planish in the background, to be ended by a signal at a moment of the test's choice.
#pragma once

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <vector>

#include "base/error.h"

namespace planish::testing {

class BackgroundRun {
 public:
  explicit BackgroundRun(const std::vector<std::string>& arguments) {
    std::vector<char*> argv{const_cast<char*>(PLANISH_BINARY)};
    for (const std::string& argument : arguments)
      argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    child_ = fork();
    PLANISH_CHECK(child_ >= 0);
    if (child_ == 0) {
      dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
      alarm(300);
      execv(PLANISH_BINARY, argv.data());
      _exit(127);
    }
  }
  // It stays to be waited for.
  bool HasEnded() const {
    siginfo_t info{};
    return waitid(P_PID, static_cast<id_t>(child_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == child_;
  }
  // The exit status, or minus the signal that ended it.
  int Wait() {
    int state = 0;
    PLANISH_CHECK(waitpid(child_, &state, 0) == child_);
    return WIFEXITED(state) ? WEXITSTATUS(state) : -WTERMSIG(state);
  }
  int End(int signal) {
    kill(child_, signal);
    return Wait();
  }

 private:
  pid_t child_;
};

}  // namespace planish::testing
