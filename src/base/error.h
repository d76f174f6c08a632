// SPDX-License-Identifier: Apache-2.0
// The two ways to fail. Error: the world is wrong (file, flag, request); thrown, and caught only in cli/command_line.cc, per
// request or per record. PLANISH_CHECK: we are wrong; prints where and aborts. Kernels use PLANISH_DCHECK only.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace planish {

// Exit statuses of every verb; documented in docs/architecture.md and in `planish --help`.
enum class ExitCode : int {
  kOk = 0,
  kFailure = 1,     // failure while running
  kUsage = 2,       // flag, environment, recipe
  kBadFile = 3,     // bad or unsupported input file
  kNoMemory = 4,    // would not fit in memory; the message says what would
  kNetwork = 5,     // network or bind
  kNonFinite = 16,  // training stopped on NaN or infinity, with a checkpoint saved
  kMismatch = 17,   // a training step computed twice differed: hardware or a race
  kLocked = 19,     // run folder in use by another process
  kInterrupted = 130,
};

// One line for the user: what() says what is wrong, where, what was found and expected; hint() what to try (may be empty).
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, std::string message, std::string hint = {})
      : std::runtime_error(std::move(message)), code_(code), hint_(std::move(hint)) {}
  ExitCode code() const { return code_; }
  const std::string& hint() const { return hint_; }

 private:
  ExitCode code_;
  std::string hint_;
};

template <typename... Args>
Error BadFile(fmt::format_string<Args...> format, Args&&... args) {
  return Error(ExitCode::kBadFile, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
Error UsageError(fmt::format_string<Args...> format, Args&&... args) {
  return Error(ExitCode::kUsage, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
Error RuntimeError(fmt::format_string<Args...> format, Args&&... args) {
  return Error(ExitCode::kFailure, fmt::format(format, std::forward<Args>(args)...));
}

// Text from outside, made safe for one line of a message: control characters and non-UTF-8 bytes escaped, cut after
// `limit` bytes.
std::string Quoted(std::string_view text, size_t limit = 80);

[[noreturn]] void CheckFailed(const char* condition, const char* file, int line,
                              const std::string& detail);

#define PLANISH_CHECK(condition, ...)                                                        \
  do {                                                                                       \
    if (!(condition)) [[unlikely]]                                                           \
      ::planish::CheckFailed(#condition, __FILE__, __LINE__, ::fmt::format("" __VA_ARGS__)); \
  } while (false)

#ifdef PLANISH_DEBUG
#define PLANISH_DCHECK(condition, ...) PLANISH_CHECK(condition, ##__VA_ARGS__)
#else
#define PLANISH_DCHECK(condition, ...) \
  do {                                 \
  } while (false)
#endif

}  // namespace planish
