// SPDX-License-Identifier: Apache-2.0
// Times of day, durations and dates as people write them: "2:30 p.m.", "14:30", "noon"; "1 hour and 45 minutes"; "March 5,
// 2024", "5th of March", "2024-03-05", "3/5/2024" (month first).
#pragma once

#include <optional>
#include <string_view>

#include "eval/number.h"

namespace planish {

struct ClockTime {
  // kOpen: "2:30" may be in either half of the day; kHalf: am, pm, noon; kFull: 24 hours, as "14:30" and "02:30".
  enum class Form { kOpen, kHalf, kFull };
  int seconds = 0;  // of the day; an open time is taken for the first half
  Form form = Form::kOpen;
  size_t begin = 0, end = 0;  // bytes of the text it was found in
};
// The first or last time of a text.
std::optional<ClockTime> FirstTime(std::string_view text);
std::optional<ClockTime> LastTime(std::string_view text);
// The same second of the day; an open `key` also accepts either half of the day where `found` names one.
bool SameTime(const ClockTime& found, const ClockTime& key);

// In seconds; weeks to seconds, at least one unit. Empty if the text does not begin with one.
std::optional<Rational> ParseDuration(std::string_view text);

struct CalendarDate {
  int year = 0, month = 0, day = 0;  // 0: not said
  int weekday = 0;                   // 1 Monday to 7 Sunday, 0: not said
  size_t begin = 0, end = 0;         // bytes of the text it was found in
};
std::optional<CalendarDate> FirstDate(std::string_view text);
std::optional<CalendarDate> LastDate(std::string_view text);
// What `key` says is what `found` must say.
bool SameDate(const CalendarDate& found, const CalendarDate& key);

}  // namespace planish
