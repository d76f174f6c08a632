// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <cstdio>

namespace planish {
namespace {
LogLevel g_level = LogLevel::kInfo;
}

void SetLogLevel(LogLevel level) { g_level = level; }
LogLevel GetLogLevel() { return g_level; }

void LogLine(LogLevel level, std::string_view text) {
  if (level > g_level) return;
  fmt::print(stderr, "planish: {}{}\n", level == LogLevel::kWarning ? "warning: " : "", text);
}

}  // namespace planish
