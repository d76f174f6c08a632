// SPDX-License-Identifier: Apache-2.0
// For the tests of the whole program: runs build/planish as a user or another program would, and keeps all that came out.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"

#ifndef __has_feature
#define __has_feature(x) 0
#endif

namespace planish::testing {

#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
inline constexpr bool kHasRealMemory = false;  // shadow memory and quarantine count as resident
#else
inline constexpr bool kHasRealMemory = true;
#endif

struct RunOptions {
  std::string input;                                             // stdin
  std::vector<std::pair<std::string, std::string>> environment;  // added to the test's own
  unsigned limit_s = 300;             // SIGALRM ends a program that hangs
  rlim_t file_bytes = RLIM_INFINITY;  // writes beyond fail with EFBIG, as on a full disk
  enum class Stdout { kKept, kClosedPipe, kFull } standard_output = Stdout::kKept;
};

struct Outcome {
  int status = 0;  // exit status, or minus the signal that ended it
  std::string out, err;
  uint64_t peak_bytes =
      0;  // largest resident size; at least that of the test itself when it forked
};

// An unnamed file: a program can fill it without anybody reading at the same time.
inline int ScratchFile(const std::string& content = {}) {
  std::FILE* file = std::tmpfile();
  PLANISH_CHECK(file != nullptr);
  const int fd = dup(fileno(file));
  std::fclose(file);
  PLANISH_CHECK(write(fd, content.data(), content.size()) == static_cast<ssize_t>(content.size()));
  lseek(fd, 0, SEEK_SET);
  return fd;
}

inline std::string TakeAll(int fd) {
  std::string text(static_cast<size_t>(lseek(fd, 0, SEEK_END)), '\0');
  PLANISH_CHECK(pread(fd, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
  close(fd);
  return text;
}

// `program` is looked for in PATH unless it holds a slash.
inline Outcome RunAnyProgram(const std::string& program, const std::vector<std::string>& arguments,
                             const RunOptions& options = {}) {
  std::vector<char*> argv{const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const int in = ScratchFile(options.input), out = ScratchFile(), err = ScratchFile();
  int closed_pipe[2] = {-1, -1};
  if (options.standard_output == RunOptions::Stdout::kClosedPipe)
    PLANISH_CHECK(pipe(closed_pipe) == 0);
  const pid_t child = fork();
  PLANISH_CHECK(child >= 0);
  if (child == 0) {
    for (const auto& [name, value] : options.environment) setenv(name.c_str(), value.c_str(), 1);
    if (options.file_bytes != RLIM_INFINITY) {
      std::signal(SIGXFSZ, SIG_IGN);  // stays ignored in the program: its writes fail instead
      const rlimit limit{options.file_bytes, options.file_bytes};
      setrlimit(RLIMIT_FSIZE, &limit);
    }
    dup2(in, STDIN_FILENO);
    dup2(err, STDERR_FILENO);
    const bool is_full = options.standard_output == RunOptions::Stdout::kFull;
    dup2(is_full               ? open("/dev/full", O_WRONLY)
         : closed_pipe[1] >= 0 ? closed_pipe[1]
                               : out,
         STDOUT_FILENO);
    if (closed_pipe[0] >= 0) close(closed_pipe[0]);
    alarm(options.limit_s);
    execvp(program.c_str(), argv.data());
    _exit(127);
  }
  for (const int fd : closed_pipe) {
    if (fd >= 0) close(fd);
  }
  int state = 0;
  rusage usage{};
  PLANISH_CHECK(wait4(child, &state, 0, &usage) == child);
  close(in);
  Outcome outcome;
  outcome.status = WIFEXITED(state) ? WEXITSTATUS(state) : -WTERMSIG(state);
  outcome.out = TakeAll(out);
  outcome.err = TakeAll(err);
  outcome.peak_bytes = static_cast<uint64_t>(usage.ru_maxrss) * 1024;
  return outcome;
}

inline Outcome RunProgram(const std::vector<std::string>& arguments,
                          const RunOptions& options = {}) {
  return RunAnyProgram(PLANISH_BINARY, arguments, options);
}

// As above for runs that must succeed.
inline std::string OutputOf(const std::vector<std::string>& arguments,
                            const RunOptions& options = {}) {
  Outcome outcome = RunProgram(arguments, options);
  EXPECT_EQ(outcome.status, 0) << ::testing::PrintToString(arguments) << ": " << outcome.err;
  return std::move(outcome.out);
}

inline Json JsonOf(const std::vector<std::string>& arguments, const RunOptions& options = {}) {
  const std::string out = OutputOf(arguments, options);
  if (out.empty()) return Json::MakeObject();  // OutputOf has reported it
  EXPECT_EQ(out.find('\n'), out.size() - 1) << "expected one line of JSON, found " << out;
  return ParseJson(out, "stdout");
}

inline std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

}  // namespace planish::testing
