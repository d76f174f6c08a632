// SPDX-License-Identifier: Apache-2.0
// A pseudo-terminal for tests: types what a user would type, reads what the user would see.
#pragma once

#include <poll.h>
#include <pty.h>

#include "run_program.h"

namespace planish::testing {

class Terminal {
 public:
  Terminal(const std::vector<std::string>& arguments, const std::string& state_folder) {
    std::vector<char*> argv{const_cast<char*>(PLANISH_BINARY)};
    for (const std::string& argument : arguments)
      argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    winsize size{};
    size.ws_row = 50, size.ws_col = 200;
    child_ = forkpty(&fd_, nullptr, nullptr, &size);
    PLANISH_CHECK(child_ >= 0);
    if (child_ == 0) {
      setenv("XDG_STATE_HOME", state_folder.c_str(), 1);
      setenv("TERM", "xterm", 1);
      setenv("NO_COLOR", "1", 1);
      alarm(300);
      execv(PLANISH_BINARY, argv.data());
      _exit(127);
    }
  }
  ~Terminal() {
    if (child_ > 0) {
      kill(child_, SIGKILL);
      waitpid(child_, nullptr, 0);
    }
    close(fd_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void Type(const std::string& keys) {
    PLANISH_CHECK(write(fd_, keys.data(), keys.size()) == static_cast<ssize_t>(keys.size()));
  }

  // Reads on until `text` is on the screen after everything awaited before; false if the program ends or falls silent.
  bool Shows(const std::string& text) {
    for (;;) {
      if (const size_t at = screen_.find(text, seen_); at != std::string::npos) {
        seen_ = at + text.size();
        return true;
      }
      if (!ReadMore()) return false;
    }
  }

  // That many bytes more.
  bool ShowsMore(size_t bytes) {
    seen_ += bytes;
    while (screen_.size() < seen_) {
      if (!ReadMore()) return false;
    }
    return true;
  }

  int Wait() {
    while (ReadMore()) {
    }
    int state = 0;
    waitpid(std::exchange(child_, -1), &state, 0);
    return WIFEXITED(state) ? WEXITSTATUS(state) : -WTERMSIG(state);
  }

  const std::string& screen() const { return screen_; }

 private:
  bool ReadMore() {
    pollfd waiting{fd_, POLLIN, 0};
    if (poll(&waiting, 1, /*ms=*/60'000) <= 0) return false;
    char buffer[4096];
    const ssize_t n = read(fd_, buffer, sizeof(buffer));
    if (n <= 0) return false;
    screen_.append(buffer, static_cast<size_t>(n));
    return true;
  }

  int fd_ = -1;
  pid_t child_ = -1;
  std::string screen_;
  size_t seen_ = 0;
};

}  // namespace planish::testing
