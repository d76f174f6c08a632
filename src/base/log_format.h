// SPDX-License-Identifier: Apache-2.0
// The form of the log: text for people, or one JSON object a line for programs that collect logs.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/log.h"

namespace planish {

enum class LogFormat { kText, kJson };
void SetLogFormat(LogFormat format);

// A message with members that programs want to have apart: in JSON they stand beside time, level and message (whose names they
// must not have), in text the message says all.
void LogRecord(LogLevel level, std::string_view text, const Json& members);

// "2026-01-31T23:59:59.123Z"
std::string UtcTime();

}  // namespace planish
