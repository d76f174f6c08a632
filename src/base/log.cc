// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <chrono>
#include <cstdio>
#include <ctime>

#include "base/log_format.h"

namespace planish {
namespace {

LogLevel g_level = LogLevel::kInfo;
LogFormat g_format = LogFormat::kText;

const char* Name(LogLevel level) {
  static constexpr const char* kNames[] = {"quiet", "warning", "info", "debug"};
  return kNames[static_cast<size_t>(level)];
}

}  // namespace

void SetLogLevel(LogLevel level) { g_level = level; }
LogLevel GetLogLevel() { return g_level; }
void SetLogFormat(LogFormat format) { g_format = format; }

std::string UtcTime() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
  const std::time_t seconds = ms / 1000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  return fmt::format("{}.{:03}Z", text, ms % 1000);
}

void LogRecord(LogLevel level, std::string_view text, const Json& members) {
  if (level > g_level) return;
  if (g_format == LogFormat::kText) {
    fmt::print(stderr, "planish: {}{}\n", level == LogLevel::kWarning ? "warning: " : "", text);
    return;
  }
  Json line = Json::MakeObject();
  line.Set("time", UtcTime());
  line.Set("level", Name(level));
  line.Set("message", std::string(text));
  if (members.is_object()) {
    for (const auto& [key, value] : members.AsObject()) line.Set(key, value);
  }
  fmt::print(stderr, "{}\n", DumpJson(line));
}

void LogLine(LogLevel level, std::string_view text) { LogRecord(level, text, {}); }

}  // namespace planish
