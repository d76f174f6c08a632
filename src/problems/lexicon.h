// SPDX-License-Identifier: Apache-2.0
// The words problems are made of.
#pragma once

#include <span>

#include "problems/phrase.h"

namespace planish {

std::span<const Person> People();
std::span<const Noun> SmallThings();      // one collects, buys, counts them: stickers, pencils
std::span<const Noun> Foods();            // countable ones: apples, cookies
std::span<const Noun> Containers();       // boxes, bags
std::span<const Noun> Workers();          // what a group of people is: students, guests
std::span<const char* const> Weekdays();  // Monday first
std::span<const char* const> Months();
int DaysInMonth(int month);  // 1..12, not in a leap year
std::span<const char* const> Colors();
std::span<const char* const> Words();  // ordinary words of 3 to 9 letters, for letter tasks

}  // namespace planish
