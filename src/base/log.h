// SPDX-License-Identifier: Apache-2.0
// Messages for people, on stderr: stdout carries results only.
#pragma once

#include <fmt/format.h>

#include <string_view>

namespace planish {

enum class LogLevel { kQuiet, kWarning, kInfo, kDebug };
void SetLogLevel(LogLevel level);
LogLevel GetLogLevel();
void LogLine(LogLevel level, std::string_view text);

template <typename... Args>
void LogWarning(fmt::format_string<Args...> format, Args&&... args) {
  LogLine(LogLevel::kWarning, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void LogInfo(fmt::format_string<Args...> format, Args&&... args) {
  LogLine(LogLevel::kInfo, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace planish
